"""Level ``participant``: harmonize the selected scans."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bids_harmony.bids.dataset import ScanSelection, find_scans, sites_of
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.earlier_output import check_dataset_files, leave_out_unread
from bids_harmony.bids.people_filter import check_people_filter
from bids_harmony.bids.raw_layout import check_raw_layout
from bids_harmony.bids.site import SITE_OPTIONS
from bids_harmony.bids.site_search import search_site
from bids_harmony.bids.table import read_tsv
from bids_harmony.cli.folders import check_output_links
from bids_harmony.cli.known_sites import model_sites
from bids_harmony.cli.overview import warn_of_useless
from bids_harmony.cli.plan import format_plan, report_problems
from bids_harmony.cli.plan_page import write_plan
from bids_harmony.cli.problems import record_problems, report_end, report_plan, worst_code
from bids_harmony.exceptions import ExitCode, NotFetched, SiteError, UsageError
from bids_harmony.methods import learns_sites
from bids_harmony.settings import METHODS, Settings
from bids_harmony.sites.names import MEAN_SITE, clean_name, find_name

__all__ = ["find_target", "look_ahead", "run"]

logger = logging.getLogger(__name__)

#: Name of the target site where only images were given.
GIVEN_SITE = "reference"


def run(settings: Settings, *, log_dir: Path | None = None) -> ExitCode:
    """Find scans and sites, check the target, and harmonize, or with ``--dry-run`` show the plan.

    Both refuse the same scans with the same code, but for what only voxels tell.

    With ``--reports-only`` or ``--boilerplate-only`` only texts are written.

    Parameters
    ----------
    settings : Settings
    log_dir : Path, optional
        ``logs/<run>``; None in a dry run.

    Returns
    -------
    ExitCode
        `DONE` when every selected scan was harmonized.
    """
    if settings.report_3d:
        from bids_harmony.reports.view import read_niivue

        # Not after hours.
        read_niivue(settings.report_3d)
    if (settings.reports_only or settings.boilerplate_only) and not settings.dry_run:
        return _write_texts(settings)
    settings, found, selection = look_ahead(settings)
    write_plan(settings, selection, refused=found)
    if settings.dry_run:
        print(format_plan(settings, selection, refused=found))
        report_plan(selection, done="harmonized")
        return worst_code(ExitCode.DONE, selection.problems)
    report_problems(settings, selection)
    # Before the pages are made, which show them.
    record_problems(log_dir, selection.problems)
    code = ExitCode.DONE
    # Without a usable scan nothing is written: the problems are the whole answer.
    if selection.scans and not (settings.stop_on_first_crash and selection.problems):
        from bids_harmony.workflows.base import run_participant

        assert log_dir is not None  # only a dry run has none, and it ended above
        write_dataset_files(settings)
        code = ExitCode(run_participant(settings, selection.scans, log_dir=log_dir))
    report_end(log_dir, done="harmonized")
    return worst_code(code, selection.problems)


def look_ahead(settings: Settings) -> tuple[Settings, ScanSelection, ScanSelection]:
    """All that can be known before anything is written.

    Returns
    -------
    settings, found, selection
        Settings with the target site as it is spelt; scans that have a site; and without those
        that will be refused, which are among the problems.

    Raises
    ------
    BidsHarmonyError
        What stands in the way of all scans.
    """
    from bids_harmony.workflows.forecast import foresee
    from bids_harmony.workflows.plugin_file import read_plugin_file
    from bids_harmony.workflows.precomputed import leave_out_without_masks
    from bids_harmony.workflows.spaces import templates_of

    if not settings.write_slurm:
        # Scripts for a cluster may need what this machine does not have.
        templates_of(settings)
    check_raw_layout(settings)
    trained = model_sites(settings)
    selection = find_scans(settings, known_sites=trained)
    if settings.profile_filter:
        check_people_filter(settings.bids_dir, settings.profile_filter, selection.sites.units)
    target = find_target(settings, selection, trained)
    settings = replace(settings, target_site=target)
    check_dataset_files(settings, target)
    found = leave_out_without_masks(settings, leave_out_unread(settings, selection, target))
    found = warn_of_useless(settings, found)
    check_output_links(settings.output_dir, sorted({scan.subject for scan in found.scans}))
    read_plugin_file(settings.plugin_file)
    return settings, found, foresee(settings, found)


def _write_texts(settings: Settings) -> ExitCode:
    if settings.boilerplate_only:
        from bids_harmony.reports.methods_text import planned, write_citation

        logger.info("Methods text: %s", write_citation(settings.output_dir, planned(settings)))
    if settings.reports_only:
        from bids_harmony.workflows.reports import write_pages_again

        write_pages_again(settings)
    return ExitCode.DONE


def _check_mean(settings: Settings, selection: ScanSelection, trained: Sequence[str]) -> None:
    """See that the mean of all sites can be meant, and made."""
    sites = selection.sites
    names = {*trained, *sites.counts, *sites.names, *sites_of(selection.scans)}
    if called := find_name(MEAN_SITE, names):
        other = [name for name in called if name != MEAN_SITE]
        raise SiteError(
            "It may be the mean of all sites, or the site of that name",
            where="--target-site",
            got=f"{MEAN_SITE}, and a site called {called[0]}",
            hint=(f"For the site, write --target-site {other[0]}. " if other else "")
            + "For the mean, give the site another name with --site-map.",
        )
    if not learns_sites(settings.method):
        raise UsageError(
            f"The method {settings.method} knows only the sites that it was trained for",
            where=f"--target-site {MEAN_SITE}",
            expected=", ".join(name for name in METHODS if learns_sites(name)),
            got=settings.method,
        )


def find_target(settings: Settings, selection: ScanSelection, trained: Sequence[str] = ()) -> str:
    """The target site as it is spelt in the model or the dataset.

    The model's sites are looked at first, then those of the selected scans, then, because a
    target's own scans usually belong to other people, those of the whole dataset.

    Parameters
    ----------
    settings : Settings
        With a `target_site`, or with `target_images`.
    selection : ScanSelection
    trained : sequence of str
        Sites of the model.

    Raises
    ------
    SiteError
        When there is no such site; the message lists those that there are. When the mean of all
        sites is asked for and a site is called so.
    UsageError
        When the method cannot go to the mean.
    NotFetched
        When it may be the site of scans whose content is not here.
    """
    asked = clean_name(settings.target_site)
    if settings.target_images:
        from bids_harmony.workflows.site_scans import target_modalities

        target_modalities(settings)
        return asked or GIVEN_SITE
    if settings.to_mean:
        _check_mean(settings, selection, trained)
        return MEAN_SITE
    meant = selection.sites.meant(asked, trained)
    if len(meant) > 1:
        raise SiteError(
            "The target site may be one of several",
            where="--target-site",
            got=asked,
            expected="one of: " + ", ".join(meant),
            hint="A site is a scanner; --site-means institution makes one site of all scanners "
            "that have one name.",
        )
    for site in meant:
        # --source-site renames the selected scans: that a site is claimed does not mean that scans
        # show it.
        present = {} if settings.source_site else sites_of(selection.scans)
        if site in trained or site in present or search_site(settings, site, selection.sites):
            return site
    everybody = find_scans(settings, whole_dataset=True, sites=selection.sites)
    unread = [p for p in everybody.problems if isinstance(p.error, NotFetched)]
    if unread:
        raise NotFetched(
            "No scan that is here is of the target site",
            where="--target-site",
            got=f"{asked}; {len(unread)} scans or subjects that were not fetched",
            hint=f"The first, {unread[0].label}: {unread[0].error}",
        )
    present = selection.sites.counts
    if not present:
        raise _no_sites(settings, selection, trained)
    counts = ", ".join(f"{site} ({n} scan{'s' if n > 1 else ''})" for site, n in present.items())
    raise SiteError(
        "The target site does not exist",
        where="--target-site",
        got=asked,
        expected=f"a site of the dataset: {counts}"
        + (f"; or of the model: {', '.join(trained)}" if trained else ""),
    )


def _no_sites(settings: Settings, selection: ScanSelection, trained: Sequence[str]) -> SiteError:
    """The error where nothing tells the site of any scan, with all the ways to tell it."""
    path = settings.bids_dir / "participants.tsv"
    columns = list(next(iter(read_tsv(path)), ())) if path.is_file() else []
    notes = [note.text for note in selection.sites.notes]
    return SiteError(
        "Nothing tells the site of any scan, so that the target site is none of the dataset's",
        where=str(settings.bids_dir),
        expected="sites from sidecars (InstitutionName, StationName, DeviceSerialNumber, or "
        "vendor and model), tables or session labels"
        + (f"; or a site of the model: {', '.join(trained)}" if trained else ""),
        got="; ".join(
            [
                f"--target-site {settings.target_site}",
                f"participants.tsv with {', '.join(columns)}"
                if columns
                else "no participants.tsv",
                *notes,
                *map(str, list(selection.sites.errors.values())[:1]),
            ]
        ),
        hint=SITE_OPTIONS,
    )
