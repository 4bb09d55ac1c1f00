"""The tables that name sites: participants, sessions, scans, and ``--site-map``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bids_harmony.bids.site import SiteTables, canonical_site, read_site_map, site_column
from bids_harmony.bids.table import read_tsv, scans_tables, sessions_tables
from bids_harmony.exceptions import BidsHarmonyError
from bids_harmony.pointers import is_named
from bids_harmony.settings import Settings

__all__ = ["read_subject_tables", "read_tables"]


def read_tables(
    settings: Settings, subjects: Iterable[str]
) -> tuple[SiteTables, dict[str, BidsHarmonyError]]:
    """Sites in the dataset's tables; a bad table of one subject is that subject's problem.

    Parameters
    ----------
    settings : Settings
    subjects : iterable of str
        Those whose own tables (``sessions.tsv``, ``scans.tsv``) are read.

    Returns
    -------
    tables : SiteTables
    errors : dict of subject to error

    Raises
    ------
    MissingInput, DataError
        When a table that speaks of all cannot be used: content that was not fetched is not absent.
    """
    root = settings.bids_dir
    participants: dict[str, tuple[str, str]] = {}
    if is_named(root / "participants.tsv"):
        for row in read_tsv(root / "participants.tsv"):
            if hit := _stated(row):
                participants[row.get("participant_id", "").removeprefix("sub-")] = hit
    sessions: dict[tuple[str, str], tuple[str, str]] = {}
    scans: dict[str, tuple[str, str]] = {}
    errors: dict[str, BidsHarmonyError] = {}
    for subject in subjects:
        try:
            own_sessions, own_scans = read_subject_tables(root, subject)
            sessions |= own_sessions
            scans |= own_scans
        except BidsHarmonyError as error:
            errors[subject] = error
    site_map = read_site_map(settings.site_map) if settings.site_map else {}
    return SiteTables(site_map, participants, sessions, scans), errors


def read_subject_tables(
    root: Path, subject: str
) -> tuple[dict[tuple[str, str], tuple[str, str]], dict[str, tuple[str, str]]]:
    """Sites in a subject's ``sessions.tsv`` and ``scans.tsv``, as `SiteTables` has them.

    Raises
    ------
    MissingInput, DataError
        When one of them cannot be used.
    """
    folder = root / f"sub-{subject}"
    sessions: dict[tuple[str, str], tuple[str, str]] = {}
    scans: dict[str, tuple[str, str]] = {}
    for table in sessions_tables(folder):
        for row in read_tsv(table):
            if hit := _stated(row):
                sessions[subject, row.get("session_id", "").removeprefix("ses-")] = hit
    for table in scans_tables(folder):
        for row in read_tsv(table):
            if hit := _stated(row):
                # Joined as text: a row may say "/etc" or "..", and then names no scan.
                within = table.parent.relative_to(root).as_posix()
                scans[f"{within}/{row.get('filename', '')}"] = hit
    return sessions, scans


def _stated(row: Mapping[str, str]) -> tuple[str, str] | None:
    column = site_column(row)
    site = canonical_site(row[column]) if column else None
    return (column, site) if column and site else None
