"""What tables state of sites: in the usual columns, or in those that ``--site-column`` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bids_harmony.bids.census import Census
from bids_harmony.bids.site_tables import (
    SITE_COLUMNS,
    SiteTables,
    Told,
    map_rows,
    plain_column,
    read_columns,
)
from bids_harmony.bids.table import read_tsv
from bids_harmony.bids.table_notes import about_nobody, without_session
from bids_harmony.exceptions import BidsHarmonyError, DataError, UsageError
from bids_harmony.io.pointers import is_named
from bids_harmony.settings import Settings
from bids_harmony.sites.names import name_key

__all__ = ["join_columns", "read_tables"]


def read_tables(settings: Settings, census: Census) -> SiteTables:
    """Sites in the dataset's tables; a bad table of one subject is that subject's problem.

    Parameters
    ----------
    settings : Settings
    census : Census
        People and their tables.

    Raises
    ------
    UsageError
        When no table says anything in a column of ``--site-column``.
    MissingInput, InputOutputError, DataError
        When a table that speaks of all cannot be used: content that was not fetched is not absent.
    """
    site_map, wrong, notes = _map_of_sites(settings, census)
    if not settings.site_columns:
        found = read_columns(settings.bids_dir, census, SITE_COLUMNS)
        errors = {**found.errors, **wrong}
        # What is said first is told first.
        return replace(found, site_map=site_map, errors=errors, notes=(*found.notes, *notes))
    parts = {
        column: read_columns(settings.bids_dir, census, (plain_column(column),))
        for column in settings.site_columns
    }
    joined = join_columns(parts, census)
    option = f"--site-column {' '.join(settings.site_columns)}"
    for column, own in parts.items():
        if joined or own.sites:
            continue
        raise UsageError(
            "No table says anything in this column",
            where=option,
            expected="a column of participants.tsv, sessions.tsv or scans.tsv: "
            + (", ".join(_columns(settings.bids_dir, census)) or "there are none"),
            got=column,
        )
    errors = {k: e for own in parts.values() for k, e in own.errors.items()} | wrong
    told = dict.fromkeys(note for own in parts.values() for note in own.notes)
    if lacking := len(census.images) - len(joined):
        notes.append(
            f"{option}: {lacking} of {len(census.images)} images are not told in all of these "
            "columns; labels and sidecars tell their sites"
        )
    return SiteTables(site_map, errors=errors, notes=(*told, *notes), joined=joined)


def _map_of_sites(
    settings: Settings, census: Census
) -> tuple[dict[tuple[str, str | None], str], dict[str, BidsHarmonyError], list[str]]:
    if not settings.site_map:
        return {}, {}, []
    site_map, wrong = map_rows(settings.site_map)
    named = list(dict.fromkeys([*(subject for subject, _ in site_map), *wrong]))
    name = f"--site-map {settings.site_map.name}"
    notes = [*about_nobody(named, census.tables, name), *without_session(site_map, census, name)]
    return site_map, wrong, notes


def join_columns(parts: Mapping[str, SiteTables], census: Census) -> dict[str, Told]:
    """Sites that several columns name together, each from the most specific table that has it.

    Parameters
    ----------
    parts : mapping of str to SiteTables
        What the tables say in each column.
    census : Census

    Returns
    -------
    dict of str to (where, site)
        By file; images of which a column says nothing are missing. ``study`` ABC and ``site`` 1
        are the site ``ABC-1``.

    Raises
    ------
    DataError
        Two sites would have one name.
    """
    joined: dict[str, Told] = {}
    made_of: dict[str, tuple[str, ...]] = {}
    for file, image in census.images.items():
        told = [
            next(iter(own.stated(image.subject, image.session, file)), None)
            for own in parts.values()
        ]
        known = [hit for hit in told if hit]
        if len(known) < len(parts):
            continue
        names = tuple(site for _, site in known)
        # 01 and 1 are one site, also within a name.
        site = "-".join(map(name_key, names)) if len(names) > 1 else names[0]
        before = made_of.setdefault(site, names)
        if tuple(map(name_key, before)) != tuple(map(name_key, names)):
            raise DataError(
                "Two sites would have one name",
                where=f"--site-column {' '.join(parts)}: {file}",
                got=f"{site}, of {' and '.join(before)} as of {' and '.join(names)}",
                hint="Name the sites with --site-map.",
            )
        joined[file] = " + ".join(where for where, _ in known), site
    return joined


def _columns(root: Path, census: Census) -> list[str]:
    """Columns of the tables that may name a site, but for those that name people and files."""
    paths = [root / "participants.tsv", *(p for own in census.tables.values() for p in own)]
    names = {
        name for path in paths if is_named(path) for row in read_tsv(path)[:1] for name in row
    }
    return sorted(names - {"participant_id", "session_id", "filename"})
