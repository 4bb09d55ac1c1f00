"""The tables that name sites: participants, sessions, scans, and ``--site-map``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bids_harmony.bids.census import Census
from bids_harmony.bids.table import keyed_rows, label_of
from bids_harmony.bids.table_notes import about_nobody, about_other_files, without_session
from bids_harmony.exceptions import BidsHarmonyError, DataError
from bids_harmony.io.pointers import is_named
from bids_harmony.sites.names import canonical_site, name_key

__all__ = [
    "SITE_COLUMNS",
    "SiteTables",
    "Told",
    "map_rows",
    "plain_column",
    "read_columns",
    "read_site_map",
    "site_columns",
]

SITE_COLUMNS = ("site", "site_id", "center", "centre", "scanner")
# A column of such a name may have been meant.
_LIKE_A_SITE = re.compile(r"site|scanner|cent(?:er|re)|hospital|institut")

#: Column and site.
Told = tuple[str, str]


@dataclass(frozen=True)
class SiteTables:
    """Sites that tables state, by what they describe.

    Attributes
    ----------
    site_map : mapping
        (subject, session or None) to site, from ``--site-map``.
    participants : mapping
        (subject, session or None) to (column, site).
    sessions : mapping
        (subject, session) to (column, site).
    scans : mapping
        File name relative to the dataset root to (column, site).
    errors : mapping
        What is wrong with the tables of single subjects.
    notes : tuple of str
        What else the user should know: rows about nobody, columns that are not read.
    joined : mapping
        File name relative to the dataset root to (where, site), where several columns or one of
        another name tell the site; then the three tables before are empty.
    """

    site_map: Mapping[tuple[str, str | None], str] = field(default_factory=dict)
    participants: Mapping[tuple[str, str | None], Told] = field(default_factory=dict)
    sessions: Mapping[tuple[str, str], Told] = field(default_factory=dict)
    scans: Mapping[str, Told] = field(default_factory=dict)
    errors: Mapping[str, BidsHarmonyError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    joined: Mapping[str, Told] = field(default_factory=dict)

    @property
    def sites(self) -> frozenset[str]:
        """Every site that a table names."""
        named = [
            site
            for table in (self.participants, self.sessions, self.scans, self.joined)
            for _, site in table.values()
        ]
        return frozenset(named) | frozenset(self.site_map.values())

    def stated(self, subject: str, session: str | None, filename: str) -> Iterator[Told]:
        """What tables say of a scan, as (where, site), the most specific first."""
        for key in dict.fromkeys([(subject, session), (subject, None)]):
            if key in self.site_map:
                yield "--site-map", self.site_map[key]
                break
        if hit := self.joined.get(filename):
            yield hit
        if hit := self.scans.get(filename):
            yield f"scans.tsv: {hit[0]}", hit[1]
        if session and (hit := self.sessions.get((subject, session))):
            yield f"sessions.tsv: {hit[0]}", hit[1]
        for key in dict.fromkeys([(subject, session), (subject, None)]):
            if hit := self.participants.get(key):
                yield f"participants.tsv: {hit[0]}", hit[1]
                break


def read_columns(root: Path, census: Census, columns: Sequence[str]) -> SiteTables:
    """What the dataset's tables say in the first of some columns that says anything.

    A bad table of one subject is that subject's problem.

    Parameters
    ----------
    root : Path
    census : Census
        People and their tables.
    columns : sequence of str
        In lower case, with ``_`` for all but letters and digits.

    Raises
    ------
    MissingInput, InputOutputError, DataError
        When a table that speaks of all cannot be used: content that was not fetched is not absent.
    """
    errors: dict[str, BidsHarmonyError] = {}
    notes: list[str] = []
    participants: dict[tuple[str, str | None], Told] = {}
    path = root / "participants.tsv"
    if is_named(path):
        rows = keyed_rows(path, "participant_id")
        if not rows:
            notes.append(f"{path.name} has no rows")
        participants = _by_person(rows, str(path), errors, columns)
        if columns == SITE_COLUMNS:
            notes += _unread_columns(rows, path.name)
        notes += about_nobody(_people(rows), census.tables, path.name, all_matter=False)
    sessions: dict[tuple[str, str], Told] = {}
    scans: dict[str, Told] = {}
    for subject, paths in census.tables.items():
        try:
            for path in paths:
                if path.name.endswith("_sessions.tsv"):
                    own = _sessions(subject, path, columns)
                    sessions |= own
                    notes += without_session(own, census, path.name)
                else:
                    own_scans = _scans(path, root, columns)
                    scans |= own_scans
                    notes += about_other_files(own_scans, census, path.name)
        except BidsHarmonyError as error:
            errors[subject] = error
    return SiteTables({}, participants, sessions, scans, errors, tuple(notes))


def read_site_map(path: Path) -> dict[tuple[str, str | None], str]:
    """Read ``--site-map``: ``participant_id``, optionally ``session_id``, and a site column.

    Raises
    ------
    MissingInput, DataError
        When the file is not there, lacks a column, or says two things of one scan.
    """
    table, errors = map_rows(path)
    if errors:
        raise next(iter(errors.values()))
    return table


def site_columns(row: Mapping[str, object], columns: Sequence[str] = SITE_COLUMNS) -> list[str]:
    """Columns of a table that name sites, as `SITE_COLUMNS` has them; ``Site ID`` is site_id."""
    by_name: dict[str, str] = {}
    for name in row:
        by_name.setdefault(plain_column(name), name)
    return [by_name[name] for name in columns if name in by_name]


def plain_column(column: str) -> str:
    """The name of a column in lower case, ``_`` for all but letters and digits."""
    return re.sub(r"[\W_]+", "_", column.casefold())


def map_rows(
    path: Path,
) -> tuple[dict[tuple[str, str | None], str], dict[str, BidsHarmonyError]]:
    """As `read_site_map`; what is said twice of a person is listed instead of raised."""
    rows = keyed_rows(path, "participant_id")
    if rows and not site_columns(rows[0]):
        raise DataError(
            "The site map lacks a column",
            where=str(path),
            got=", ".join(rows[0]),
            expected="participant_id, optionally session_id, and site",
        )
    errors: dict[str, BidsHarmonyError] = {}
    table = {key: site for key, (_, site) in _by_person(rows, str(path), errors).items()}
    return table, errors


def _by_person(
    rows: Sequence[Mapping[str, str]],
    where: str,
    errors: dict[str, BidsHarmonyError],
    columns: Sequence[str] = SITE_COLUMNS,
) -> dict[tuple[str, str | None], Told]:
    """Sites by subject and session; who has two of them gets an error and no site."""
    table: dict[tuple[str, str | None], Told] = {}
    column = _told_column(rows, columns)
    for row in rows:
        hit = _stated(row, column)
        if hit is None:
            continue
        subject = label_of(row["participant_id"], "sub")
        session = label_of(_cell(row, "session_id"), "ses")
        key = (subject, session if canonical_site(session) else None)
        before = table.setdefault(key, hit)
        if name_key(before[1]) != name_key(hit[1]):
            errors[subject] = DataError(
                "Two rows give one participant two sites",
                where=f"{where}: sub-{subject}",
                got=f"{before[1]} and {hit[1]}",
                hint="Say which session each row is about in a column session_id, or leave one.",
            )
    return {key: hit for key, hit in table.items() if key[0] not in errors}


def _sessions(subject: str, path: Path, columns: Sequence[str]) -> dict[tuple[str, str], Told]:
    table = {}
    rows = keyed_rows(path, "session_id")
    column = _told_column(rows, columns)
    for row in rows:
        if hit := _stated(row, column):
            table[subject, label_of(row["session_id"], "ses")] = hit
    return table


def _scans(path: Path, root: Path, columns: Sequence[str]) -> dict[str, Told]:
    # Joined as text: a row may say "/etc" or "..", and then names no scan.
    within = path.parent.relative_to(root).as_posix()
    table = {}
    rows = keyed_rows(path, "filename")
    column = _told_column(rows, columns)
    for row in rows:
        if hit := _stated(row, column):
            table[f"{within}/{row['filename']}"] = hit
    return table


def _told_column(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str | None:
    """The first column of sites in which anything is said."""
    for name in site_columns(rows[0], columns) if rows else ():
        if any(canonical_site(row[name]) for row in rows):
            return name
    return None


def _stated(row: Mapping[str, str], column: str | None) -> Told | None:
    site = canonical_site(row[column]) if column else None
    return (column, site) if column and site else None


def _people(rows: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(label_of(row["participant_id"], "sub") for row in rows))


def _unread_columns(rows: Sequence[Mapping[str, str]], name: str) -> list[str]:
    """Columns that seem to name a site where none has a name that is read."""
    if not rows or site_columns(rows[0]):
        return []
    meant = [n for n in rows[0] if _LIKE_A_SITE.search(n.casefold())]
    if not any(canonical_site(row[n]) for row in rows for n in meant):
        return []
    return [
        f"{name}: {', '.join(map(repr, meant))} is not read as the site; the column has to be "
        f"called one of {', '.join(SITE_COLUMNS)}"
    ]


def _cell(row: Mapping[str, str], name: str) -> str:
    return next((cell for key, cell in row.items() if key.casefold() == name), "")
