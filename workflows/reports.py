"""The pages of participants and sessions: after a run, and again from what is on disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.exceptions import InputOutputError, NothingSelected

if TYPE_CHECKING:
    from bids_harmony.bids.run_records import RunRecord, Unit
    from bids_harmony.settings import Settings

__all__ = ["write_pages", "write_pages_again"]

logger = logging.getLogger(__name__)


def write_pages(settings: Settings, log_dir: Path) -> None:
    """Write the pages of all that a run worked on, and its methods text.

    What goes wrong here is said in the log and spoils no harmonization.

    Parameters
    ----------
    settings : Settings
    log_dir : Path
        ``logs/<run>``, whose ``status.json`` names the scans.
    """
    from bids_harmony.bids.run_records import read_runs, unit_of
    from bids_harmony.bids.scan_records import read_scans
    from bids_harmony.reports.methods_text import done_by_scans, planned, write_citation

    try:
        labels = json.loads((log_dir / "status.json").read_text(encoding="utf-8"))["scans"]
        units = {unit for label in labels if (unit := unit_of(label)) is not None}
        runs = read_runs(settings.output_dir, units)
        _write(settings, units, runs)
        scans = [scan for unit in units for scan in read_scans(settings.output_dir, unit, runs)]
        write_citation(settings.output_dir, done_by_scans(scans) if scans else planned(settings))
    except Exception as error:
        _say(error, "The pages of this run")


def write_pages_again(settings: Settings) -> None:
    """Write the pages of all selected participants and sessions of the output folder.

    Parameters
    ----------
    settings : Settings
        ``participant_labels`` and ``session_labels`` select.

    Raises
    ------
    NothingSelected
        When the output folder has nothing of them.
    InputOutputError
        When a page could not be made; the others were.
    """
    from bids_harmony.bids.run_records import read_runs
    from bids_harmony.bids.scan_records import find_units

    runs = read_runs(settings.output_dir)
    units = find_units(
        settings.output_dir, runs, settings.participant_labels, settings.session_labels
    )
    if not units:
        raise NothingSelected(
            "There is nothing to make a page of",
            where=str(settings.output_dir),
            expected="harmonized images, or logs of a run that tried to make some",
            hint="Run without --reports-only first, or select other participants or sessions.",
        )
    if failed := _write(settings, units, runs):
        raise InputOutputError(
            "Pages could not be made", got=", ".join(failed), hint="The log says why."
        )


def _write(settings: Settings, units: Collection[Unit], runs: Sequence[RunRecord]) -> list[str]:
    """Write pages; returns the labels of those that could not be made."""
    from bids_harmony.bids.run_records import read_runs, runs_of_units
    from bids_harmony.bids.scan_records import find_units
    from bids_harmony.reports.person import write_person_page
    from bids_harmony.reports.subject import write_subject_page
    from bids_harmony.reports.view import write_view_page

    own_runs = runs_of_units(runs)

    def write(unit: Unit) -> bool:
        try:
            path = write_subject_page(
                settings.output_dir,
                unit,
                own_runs.get(unit, ()),
                level=settings.report_output_level,
            )
            logger.info("%s: page %s", unit.label, path)
            if settings.report_3d:
                view = write_view_page(
                    settings.output_dir, settings.bids_dir, unit, own_runs.get(unit, ()),
                    settings.report_3d, level=settings.report_output_level,
                )  # fmt: skip
                logger.info("%s: view in three dimensions %s", unit.label, view or "of no image")
        except Exception as error:
            _say(error, f"The page of {unit.label}")
            return False
        return True

    # Most of a page's time is scaling and packing pictures, which lets go of the interpreter.
    ordered = sorted(units, key=lambda unit: unit.label)
    with ThreadPoolExecutor(settings.nprocs) as pool:
        failed = [
            unit.label
            for unit, made in zip(ordered, pool.map(write, ordered), strict=True)
            if not made
        ]
    for subject in sorted({unit.subject for unit in units if unit.session}):
        try:
            # Sessions may be jobs of their own: whoever ends last writes it of all.
            sessions = find_units(settings.output_dir, runs, (subject,))
            theirs = runs_of_units(read_runs(settings.output_dir, set(sessions)))
            whole = write_person_page(
                settings.output_dir, sessions, theirs, level=settings.report_output_level
            )
            if whole is not None:
                logger.info("sub-%s: page of all sessions %s", subject, whole)
        except Exception as error:
            _say(error, f"The page of the sessions of sub-{subject}")
            failed.append(f"sub-{subject}")
    return failed


def _say(error: Exception, what: str) -> None:
    logger.error("%s could not be made: %s: %s", what, type(error).__name__, error)
    logger.debug("%s", what, exc_info=error)
