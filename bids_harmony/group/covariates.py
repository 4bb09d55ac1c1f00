"""Age, sex, group: what a dataset says of its participants, for every scan of a table."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bids_harmony.bids.site_tables import site_columns
from bids_harmony.bids.table import keyed_rows
from bids_harmony.group.outputs import Output
from bids_harmony.pointers import is_named

__all__ = ["Covariates", "read_covariates"]

logger = logging.getLogger(__name__)

#: Values of every scan by name: numbers (NaN where missing) or words ("" where missing).
Covariates = Mapping[str, Sequence[float] | Sequence[str]]

#: A column of more different words is a list of remarks, not a group.
_MOST_LEVELS = 6
#: A column of which this share is numbers is one of numbers, with words where something is amiss.
_MOSTLY = 0.8
_MISSING = {"", "n/a", "nan", "na", "null", "unknown", "-", "?", "."}
# Columns that say where a row belongs or when, not who somebody is.
_NOT_ABOUT_PEOPLE = {"participant_id", "session_id", "acq_time", "species"}
# "89+" is how BIDS writes ages that would give somebody away.
_BOUND = re.compile(r"(?:[<>\u2264\u2265]=?\s*)?([+-]?\d+(?:\.\d+)?)\s*\+?")
_YEARS = re.compile(r"(\d+(?:\.\d+)?)\s*(?:y|yr|yrs|years?)(?:\s*old)?", re.IGNORECASE)
_COMMA = re.compile(r"([+-]?\d+),(\d+)")
_SHOWN = 5


def read_covariates(bids_dir: Path, outputs: Sequence[Output]) -> Covariates:
    """Columns of ``participants.tsv`` and ``sessions.tsv``; the session's word counts more.

    Columns of one value, of ids and of remarks are left out. Numbers are read as people write
    them: ``89+`` as 89, ``34,5`` as 34.5, ``34 years`` as 34. What is read otherwise than it
    stands there, or not at all in a column of numbers, is told.

    Parameters
    ----------
    bids_dir : Path
    outputs : sequence of Output

    Returns
    -------
    mapping of name to one value per output

    Raises
    ------
    MissingInput, DataError
        When a table cannot be read, or its content was not fetched.
    """
    people: dict[tuple[str, str], dict[str, str]] = {}
    for row in _table(bids_dir / "participants.tsv", "participant_id"):
        # Some tables have a row for each session.
        people[_label(row, "participant_id", "sub"), _label(row, "session_id", "ses")] = row
    rows: list[dict[str, str]] = []
    for output in outputs:
        unit, session = f"sub-{output.participant}", output.session or ""
        row = dict(people.get((output.participant, ""), {}))
        row |= people.get((output.participant, session), {})
        path = bids_dir / unit / f"{unit}_sessions.tsv"
        for visit in _table(path, "session_id") if output.session else []:
            if _label(visit, "session_id", "ses") == session:
                row |= visit
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    found: dict[str, Sequence[float] | Sequence[str]] = {}
    for name in names:
        if name.lower() in _NOT_ABOUT_PEOPLE or site_columns({name: ""}):
            continue
        cells = ["" if (v := row.get(name, "")).lower() in _MISSING else v for row in rows]
        values = _numbers(name, cells, [f"sub-{output.participant}" for output in outputs])
        different = set(cells) - {""} if values is None else {v for v in values if v == v}
        if len(different) > 1 and not (values is None and len(different) > _MOST_LEVELS):
            found[name] = cells if values is None else values
    return found


def _label(row: Mapping[str, str], column: str, entity: str) -> str:
    label = row.get(column, "").removeprefix(f"{entity}-")
    return "" if label.lower() in _MISSING else label


def _numbers(name: str, cells: Sequence[str], people: Sequence[str]) -> list[float] | None:
    """The cells as numbers, NaN where they are none; None where the column holds words."""
    # 1,234 may be a thousand; where another cell has 34,5 it is not.
    decimal = any((m := _COMMA.fullmatch(cell)) and len(m[2]) != 3 for cell in cells)
    read = [_number(cell, decimal=decimal) for cell in cells]
    filled = [value is not None for value, cell in zip(read, cells, strict=True) if cell]
    different = {cell for cell in cells if cell}
    mostly = filled and sum(filled) >= _MOSTLY * len(filled) and len(different) > _MOST_LEVELS
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


def _table(path: Path, key: str) -> list[dict[str, str]]:
    return keyed_rows(path, key) if is_named(path) else []
