"""Age, sex, group: what the tables of a dataset say of people, for sessions of any list."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bids_harmony.bids.table import keyed_rows, label_of
from bids_harmony.exceptions import UsageError
from bids_harmony.io.pointers import is_named

__all__ = [
    "AUTO",
    "DEFAULT_COVARIATES",
    "MISSING",
    "MOST_LEVELS",
    "Unit",
    "check_covariates",
    "column_numbers",
    "covariate_columns",
    "session_rows",
]

logger = logging.getLogger(__name__)

AUTO = "auto"
#: Taken where they are there and known of everybody.
DEFAULT_COVARIATES = ("age", "sex")
#: A column of more different words is a list of remarks, not a group.
MOST_LEVELS = 6
#: A column of which this share is numbers is one of numbers, with words where something is amiss.
_MOSTLY = 0.8
MISSING = {"", "n/a", "nan", "na", "null", "unknown", "-", "?", "."}
# "89+" is how BIDS writes ages that would give somebody away.
_BOUND = re.compile(r"(?:[<>\u2264\u2265]=?\s*)?([+-]?\d+(?:\.\d+)?)\s*\+?")
_YEARS = re.compile(r"(\d+(?:\.\d+)?)\s*(?:y|yr|yrs|years?)(?:\s*old)?", re.IGNORECASE)
_COMMA = re.compile(r"([+-]?\d+),(\d+)")
_SHOWN = 5

#: Subject and session, without prefixes.
Unit = tuple[str, str | None]


def session_rows(bids_dir: Path, units: Sequence[Unit]) -> list[dict[str, str]]:
    """Rows of ``participants.tsv`` and ``sessions.tsv``; the session's word counts more.

    Parameters
    ----------
    bids_dir : Path
    units : sequence of (subject, session or None)
        Labels without ``sub-`` and ``ses-``.

    Returns
    -------
    list of dict
        One for each unit; empty where no table knows it.

    Raises
    ------
    MissingInput, DataError
        When a table cannot be read, or its content was not fetched.
    """
    people: dict[tuple[str, str], dict[str, str]] = {}
    for row in _table(bids_dir / "participants.tsv", "participant_id"):
        # Some tables have a row for each session.
        people[_label(row, "participant_id", "sub"), _label(row, "session_id", "ses")] = row
    rows = []
    for subject, session in units:
        row = dict(people.get((subject, ""), {})) | people.get((subject, session or ""), {})
        path = bids_dir / f"sub-{subject}" / f"sub-{subject}_sessions.tsv"
        for visit in _table(path, "session_id") if session else []:
            if _label(visit, "session_id", "ses") == session:
                row |= visit
        rows.append(row)
    return rows


def _label(row: Mapping[str, str], column: str, entity: str) -> str:
    label = label_of(row.get(column, ""), entity)
    return "" if label.lower() in MISSING else label


def covariate_columns(
    bids_dir: Path, units: Sequence[Unit], names: Sequence[str]
) -> dict[str, list[float]]:
    """Covariates as numbers; words become a column of 0 and 1 for each level but the first.

    Parameters
    ----------
    bids_dir : Path
    units : sequence of (subject, session or None)
        All among whom levels are looked for.
    names : sequence of str
        Columns; `AUTO` takes `DEFAULT_COVARIATES` as far as they are known of all units.

    Returns
    -------
    dict of str to list of float
        NaN where a value is missing. Columns of one value are left out.

    Raises
    ------
    UsageError
        A column that was asked for is in no table, or holds remarks.
    MissingInput, DataError
        As `session_rows`.
    """
    if not (names and units):
        return {}
    rows = session_rows(bids_dir, units)
    auto = tuple(names) == (AUTO,)
    found: dict[str, list[float]] = {}
    for name in DEFAULT_COVARIATES if auto else names:
        cells = ["" if (v := row.get(name, "")).lower() in MISSING else v for row in rows]
        if auto and not all(cells):
            continue
        if not any(cells):
            _check_known(name, bids_dir, rows)
            continue
        numbers = column_numbers(name, cells, [f"sub-{subject}" for subject, _ in units])
        columns = _levels(name, cells) if numbers is None else {name: numbers}
        found |= {key: values for key, values in columns.items() if _varies(values)}
    return found


def check_covariates(bids_dir: Path, units: Sequence[Unit], names: Sequence[str]) -> None:
    """Refuse covariates that somebody asks for and no table has.

    Raises
    ------
    UsageError
        With the columns that there are.
    MissingInput, DataError
        As `session_rows`.
    """
    rows = session_rows(bids_dir, units)
    for name in names:
        if name != AUTO:
            _check_known(name, bids_dir, rows)


def column_numbers(name: str, cells: Sequence[str], people: Sequence[str]) -> list[float] | None:
    """The cells as numbers, NaN where they are none; None where the column holds words."""
    # 1,234 may be a thousand; where another cell has 34,5 it is not.
    decimal = any((m := _COMMA.fullmatch(cell)) and len(m[2]) != 3 for cell in cells)
    read = [_number(cell, decimal=decimal) for cell in cells]
    filled = [value is not None for value, cell in zip(read, cells, strict=True) if cell]
    different = {cell for cell in cells if cell}
    mostly = filled and sum(filled) >= _MOSTLY * len(filled) and len(different) > MOST_LEVELS
    if not (all(filled) or mostly):
        return None
    values = [math.nan if v is None or not math.isfinite(v) else v for v in read]
    otherwise = {
        (person, cell): value
        for person, cell, value in zip(people, cells, values, strict=True)
        if cell and not _is_plain(cell)
    }
    if otherwise:
        shown = [
            f"{cell!r} of {person} as {value:g}" if value == value else f"{cell!r} of {person} not"
            for (person, cell), value in list(otherwise.items())[:_SHOWN]
        ]
        more = ", ..." if len(otherwise) > _SHOWN else ""
        logger.warning("participants, column %s: read %s%s", name, ", ".join(shown), more)
    return values


def _number(cell: str, *, decimal: bool) -> float | None:
    """What somebody who wrote a cell meant; NaN for an empty one, None for a word."""
    if not cell or _is_plain(cell):
        return float(cell or math.nan)
    if (comma := _COMMA.fullmatch(cell)) and (decimal or len(comma[2]) != 3):
        return float(f"{comma[1]}.{comma[2]}")
    told = _BOUND.fullmatch(cell) or _YEARS.fullmatch(cell)
    return float(told[1]) if told else None


def _is_plain(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _levels(name: str, cells: Sequence[str]) -> dict[str, list[float]]:
    levels = sorted(set(cells) - {""})
    if len(levels) > MOST_LEVELS:
        raise UsageError(
            "A covariate has too many different words",
            where=f"--covariates {name}",
            expected=f"numbers, or at most {MOST_LEVELS} words",
            got=f"{len(levels)}: {', '.join(levels[:4])}, ...",
        )
    return {
        f"{name}={level}": [math.nan if not cell else float(cell == level) for cell in cells]
        for level in levels[1:]
    }


def _varies(values: Sequence[float]) -> bool:
    return len({value for value in values if not math.isnan(value)}) > 1


def _check_known(name: str, bids_dir: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Refuse a column that is in no table; one that is missing for these people alone may be."""
    everyone = _table(bids_dir / "participants.tsv", "participant_id")
    there = {key for row in [*rows, *everyone[:1]] for key in row}
    if name not in there:
        there -= {"participant_id", "session_id"}
        raise UsageError(
            "No table of the dataset has this covariate",
            where=f"--covariates {name}",
            expected="a column of participants.tsv or sessions.tsv: "
            + (", ".join(sorted(there)) or "none"),
            got=name,
        )


def _table(path: Path, key: str) -> list[dict[str, str]]:
    return keyed_rows(path, key) if is_named(path) else []
