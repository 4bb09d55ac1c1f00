"""What a run would do, in a table; and what stands in its way."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bids_harmony.bids.dataset import Problem, ScanSelection, sites_of
from bids_harmony.bids.derivative import write_json
from bids_harmony.bids.inventory import read_json_object
from bids_harmony.bids.naming import harmonized_path, raw_layout_root
from bids_harmony.cli.overview import (
    covariates_by_site,
    reused_words,
    scanner_words,
    scanners_of_sites,
    shared_words,
)
from bids_harmony.exceptions import ExitCode, NotFetched
from bids_harmony.settings import Settings
from bids_harmony.sites.names import same_site

__all__ = [
    "confounded_covariates",
    "format_plan",
    "record_problems",
    "report_problems",
    "worst_code",
]

logger = logging.getLogger(__name__)


def format_plan(
    settings: Settings, selection: ScanSelection, *, refused: ScanSelection | None = None
) -> str:
    """The plan as text: each scan, its site and why, its outputs; contradictions and problems.

    Parameters
    ----------
    settings : Settings
    selection : ScanSelection
    refused : ScanSelection, optional
        The same before scans were refused that do have a site: they are listed without an output.

    Returns
    -------
    str
    """
    from bids_harmony.workflows.spaces import written_spaces

    target = settings.target_site if settings.analysis_level == "participant" else None
    header = ["scan", "site", "evidence", "scanner"] + (["target", "output"] if target else [])
    used = {scan.path for scan in selection.scans}
    selection = replace(selection, scans=refused.scans) if refused else selection
    rows = []
    for scan in selection.scans:
        site = scan.site
        row = [scan.label, site.site, site.source, scanner_words(scan)]
        if target and scan.path not in used:
            row += ["-", "cannot be used, see below"]
        elif target:
            own = " (its own site)" if same_site(site.site, target) else ""
            outputs = [
                harmonized_path(settings.output_dir, scan, target, space=space)
                for space in written_spaces(scan, settings)
            ]
            row += [
                target + own,
                " ".join(o.relative_to(settings.output_dir).as_posix() for o in outputs),
            ]
        rows.append(row)
    parts = [_table([header, *rows])]
    counts = ", ".join(f"{site} {n}" for site, n in sites_of(selection.scans).items())
    parts.append(f"Scans per site: {counts or 'none'}")
    if selection.scans:
        parts.append("\n".join(["Scanners of each site:", *_scanners(selection)]))
    if settings.profile_filter and selection.scans:
        parts.append(_who_shows(settings.profile_filter, settings, selection))
    told = [f"  warning: {text}" for text in selection.warnings] + [
        f"  {scan.label}: {text}" for scan in selection.scans for text in scan.site.contradictions
    ]
    parts.append("\n".join(["Contradictions:", *told]) if told else "Contradictions: none")
    mixed = [f"  {text}" for text in confounded_covariates(settings, selection)]
    parts.append(
        "\n".join(["Covariates that differ between sites:", *mixed])
        if mixed
        else "Covariates that differ between sites: none"
    )
    if selection.notes:
        parts.append("\n".join(["Passed over:", *(f"  {note}" for note in selection.notes)]))
    if settings.longitudinal:
        parts.append(f"Sessions that share a space: {shared_words(selection.scans)}")
    if settings.derivatives:
        parts.append(f"Reused of derivatives: {reused_words(settings, selection.scans)}")
    left_out = [f"  {problem.label}: {problem.error}" for problem in selection.problems]
    parts.append("\n".join(["Cannot be used:", *left_out]) if left_out else "Cannot be used: none")
    if target and settings.output_layout == "raw":
        parts.append(
            f"The same images as a raw dataset: {raw_layout_root(settings.output_dir, target)}"
        )
    parts.append(
        f"Output folder: {settings.output_dir}\nThis was a dry run; nothing was written"
        + (f" but {settings.plan_page}." if settings.plan_page else ".")
    )
    return "\n\n".join(parts)


def confounded_covariates(settings: Settings, selection: ScanSelection) -> list[str]:
    """Covariates that cannot be told from the sites in the selected scans, with the numbers.

    Raises
    ------
    UsageError, MissingInput, DataError
        As `bids.covariates.covariate_columns`.
    """
    return [
        f"{name} and site cannot be told apart (share {found.share:.2f}): {by_site}. What sites "
        "differ in is changed only as far as people who are alike in it support; look at "
        "SiteEvidence in the sidecars."
        for name, found, by_site in covariates_by_site(settings, selection.scans)
        if found.confounded
    ]


def report_problems(settings: Settings, selection: ScanSelection) -> None:
    """Say in the log what cannot be used, where statements of a site contradict each other, and
    which covariates cannot be told from sites."""
    for text in confounded_covariates(settings, selection):
        logger.warning("%s", text)
    for problem in selection.problems:
        logger.error("%s is left out: %s", problem.label, problem.error)
    for text in (*selection.notes, *selection.warnings):
        logger.warning("%s", text)
    for scan in selection.scans:
        for text in scan.site.contradictions:
            logger.warning("%s: %s; taken: %s", scan.label, text, scan.site.site)
    logger.info(
        "Scans per site: %s",
        ", ".join(f"{s} {n}" for s, n in sites_of(selection.scans).items()) or "none",
    )


def record_problems(log_dir: Path | None, problems: Iterable[Problem]) -> None:
    """Add what was left out to the scans in the run's ``status.json``.

    Parameters
    ----------
    log_dir : Path or None
        ``logs/<run>``; None writes nothing.
    problems : iterable of Problem
    """
    left_out = {
        problem.label: {
            "state": "failed",
            "error": type(problem.error).__name__,
            "message": str(problem.error),
            "exit_code": int(problem.error.exit_code),
        }
        for problem in problems
    }
    if log_dir is None or not left_out:
        return
    path = log_dir / "status.json"
    record = read_json_object(path) if path.is_file() else {}
    scans = record.get("scans", {})
    write_json(path, record | {"scans": (scans if isinstance(scans, dict) else {}) | left_out})


def worst_code(code: ExitCode, problems: Iterable[Problem]) -> ExitCode:
    """One exit code for a run: that of its failures when they agree, else "unspecified".

    Where content was not fetched this comes first: until it is, nothing else can be judged.
    """
    problems = list(problems)
    if any(isinstance(problem.error, NotFetched) for problem in problems):
        return ExitCode.MISSING_INPUT
    codes = {problem.error.exit_code for problem in problems} | (
        {code} if code != ExitCode.DONE else set()
    )
    if not codes:
        return ExitCode.DONE
    return codes.pop() if len(codes) == 1 else ExitCode.UNSPECIFIED


def _who_shows(query: str, settings: Settings, selection: ScanSelection) -> str:
    """How many of the selected people may show their sites."""
    from bids_harmony.bids.people_filter import who_fits

    units = [(scan.subject, scan.session) for scan in selection.scans]
    fits = who_fits(settings.bids_dir, query, units)
    of_site: dict[str, dict[str, bool]] = {}
    for scan, fit in zip(selection.scans, fits, strict=True):
        people = of_site.setdefault(scan.site.site, {})
        people[scan.subject] = people.get(scan.subject, False) or fit
    counts = [f"{s} {sum(own.values())} of {len(own)}" for s, own in sorted(of_site.items())]
    return f"People with {query}, who show how sites look: {', '.join(counts)}"


def _scanners(selection: ScanSelection) -> list[str]:
    """Of each site the scanners within and what tells it."""
    lines = []
    for site, told in scanners_of_sites(selection.scans).items():
        lines += [f"  {site}", *(f"    {words}" for words in told)]
    return lines


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
