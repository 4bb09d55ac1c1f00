"""What earlier jobs left in the output folder, looked at before a run: nothing of it is
overwritten unread, and no run finds out at its end that it cannot add its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bids_harmony.bids.dataset import Problem, ScanSelection
from bids_harmony.bids.dataset_files import target_description
from bids_harmony.bids.derivative import read_table
from bids_harmony.bids.naming import (
    harmonized_description,
    harmonized_path,
    mask_path,
    raw_layout_path,
    raw_layout_root,
    scans_table_path,
    table_paths,
    transform_path,
)
from bids_harmony.bids.scan import Scan
from bids_harmony.bids.table import scans_tables, sessions_tables
from bids_harmony.exceptions import BidsHarmonyError, CannotCreateOutput
from bids_harmony.imaging.reference import REFERENCE
from bids_harmony.io.pointers import check_content, is_named
from bids_harmony.settings import Settings

__all__ = ["check_dataset_files", "leave_out_unread"]


def check_dataset_files(settings: Settings, target: str) -> None:
    """Check that the files at the root of the output, which every job completes, can be read.

    Raises
    ------
    MissingInput
        When the content of one was not fetched.
    CannotCreateOutput
        When a table is none that rows can be added to, or images of another site have the names
        that the run would give.
    """
    output = settings.output_dir
    for name in ("dataset_description.json", "README.md", ".bidsignore", "descriptions.json"):
        _check(output / name)
    path = output / "descriptions.tsv"
    label = f"desc-{harmonized_description(target)}"
    told = read_table(path, "desc_id").get(label, {}).get("description", "")
    # The second one was written up to version 0.1.0.
    words = target_description(target, mean=settings.to_mean)
    own = (words, f"Harmonized to the look of site {target}")
    if told and not told.startswith(tuple(f"{words} (method " for words in own)):
        raise CannotCreateOutput(
            "Images harmonized to this site would have the names of another's",
            where=str(path),
            expected=f"{label} for {target}",
            got=told,
            hint="Choose another output folder, or give the site another name with --site-map.",
        )
    if settings.output_layout == "raw":
        root = raw_layout_root(output, target)
        for name in ("dataset_description.json", "README.md", "sessions.json", "scans.json"):
            _check(root / name)
        read_table(root / "participants.tsv", "participant_id")


def leave_out_unread(settings: Settings, selection: ScanSelection, target: str) -> ScanSelection:
    """Make a problem of every scan whose output is there but cannot be read.

    Parameters
    ----------
    settings : Settings
    selection : ScanSelection
    target : str
        Site to which the scans are harmonized.

    Returns
    -------
    ScanSelection
    """
    if not settings.output_dir.is_dir():
        return selection
    scans, problems = [], list(selection.problems)
    tables: dict[tuple[str, str | None], BidsHarmonyError | None] = {}
    for scan in selection.scans:
        unit = (scan.subject, scan.session)
        if unit not in tables:
            tables[unit] = _table_error(settings, scan, target)
        error = tables[unit] or _file_error(settings, scan, target)
        if error:
            problems.append(Problem(scan.label, scan.path, error))
        else:
            scans.append(scan)
    return replace(selection, scans=tuple(scans), problems=tuple(problems))


def _table_error(settings: Settings, scan: Scan, target: str) -> BidsHarmonyError | None:
    """Of the tables that hold the rows of a person or session."""
    try:
        own = scans_table_path(settings.output_dir, scan.subject, scan.session)
        read_table(own, "filename")
        # Pages and tables are made from all sidecars of the unit.
        for path in sorted([*own.parent.glob("*.json"), *own.parent.glob("*/*.json")]):
            check_content(path)
        if settings.output_layout == "raw":
            folder = raw_layout_root(settings.output_dir, target) / f"sub-{scan.subject}"
            for table in sessions_tables(folder):
                read_table(table, "session_id")
            for table in scans_tables(folder):
                read_table(table, "filename")
    except BidsHarmonyError as error:
        return error
    return None


def _file_error(settings: Settings, scan: Scan, target: str) -> BidsHarmonyError | None:
    try:
        for path in _files(settings, scan, target):
            _check(path)
    except BidsHarmonyError as error:
        return error
    return None


def _files(settings: Settings, scan: Scan, target: str) -> Iterator[Path]:
    output = settings.output_dir
    image = harmonized_path(output, scan, target)
    yield from (
        image,
        harmonized_path(output, scan, target, space=REFERENCE),
        mask_path(output, scan),
        transform_path(output, scan, to=REFERENCE),
    )
    if scan.gradients:
        yield from table_paths(image)
    if settings.output_layout == "raw":
        yield raw_layout_path(output, scan, target, settings.bids_dir)


def _check(path: Path) -> None:
    if is_named(path):
        check_content(path)
