"""What a run would do, in a table; and what stands in its way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from bids_harmony.bids.dataset import ScanSelection, sites_of
from bids_harmony.bids.naming import harmonized_path
from bids_harmony.cli.overview import (
    covariates_by_site,
    further_words,
    scanner_words,
    scanners_of_sites,
)
from bids_harmony.cli.problems import told_once
from bids_harmony.settings import Settings
from bids_harmony.sites.names import same_site

__all__ = ["confounded_covariates", "format_plan", "report_problems"]

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
    told = [f"  warning: {text}" for text in selection.warnings] + [
        f"  {scan.label}: {text}" for scan in selection.scans for text in scan.site.contradictions
    ]
    parts.append("\n".join(["Contradictions:", *told]) if told else "Contradictions: none")
    mixed = [f"  {text}" for text in confounded_covariates(settings, selection)]
    none = (
        "not looked at, since not all people were selected" if settings.selects_people else "none"
    )
    parts.append(
        "\n".join(["Covariates that differ between sites:", *mixed])
        if mixed
        else f"Covariates that differ between sites: {none}"
    )
    if selection.notes:
        parts.append("\n".join(["Passed over:", *(f"  {note}" for note in selection.notes)]))
    parts += [f"{name}: {words}" for name, words in further_words(settings, selection.scans)]
    left_out = [f"  {', '.join(own)}: {reason}" for own, reason in told_once(selection.problems)]
    parts.append("\n".join(["Cannot be used:", *left_out]) if left_out else "Cannot be used: none")
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
    for labels, reason in told_once(selection.problems):
        logger.error("Left out: %s: %s", ", ".join(labels), reason)
    for text in (*selection.notes, *selection.warnings):
        logger.warning("%s", text)
    for scan in selection.scans:
        for text in scan.site.contradictions:
            logger.warning("%s: %s; taken: %s", scan.label, text, scan.site.site)
    logger.info(
        "Scans per site: %s",
        ", ".join(f"{s} {n}" for s, n in sites_of(selection.scans).items()) or "none",
    )


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
