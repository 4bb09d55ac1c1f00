"""Which people a query on the dataset's tables takes: ``group == 'control'``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.bids.covariates import (
    MISSING,
    MOST_LEVELS,
    Unit,
    column_numbers,
    session_rows,
)
from bids_harmony.bids.table import keyed_rows
from bids_harmony.exceptions import NothingSelected, UsageError
from bids_harmony.io.pointers import is_named

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_people_filter", "columns_told", "who_fits"]

OPTION = "--profile-filter"
#: A settings file may come from elsewhere: a query asks, and does nothing.
_MAY_CALL = {
    "abs", "between", "contains", "endswith", "eq", "fullmatch", "ge", "gt", "isin", "isna",
    "isnull", "le", "len", "lower", "lt", "match", "ne", "notna", "notnull", "round",
    "startswith", "str", "strip", "upper",
}  # fmt: skip
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_CALL = re.compile(r"(?<![\d.])\.\s*([^\W\d]\w*)")
# What pandas raises for a query that is none, or that asks for what a column is not.
_WRONG = (
    SyntaxError, NameError, TypeError, ValueError, AttributeError, LookupError,
    NotImplementedError, RecursionError,
)  # fmt: skip


def who_fits(bids_dir: Path, query: str, units: Sequence[Unit]) -> list[bool]:
    """Tell of each session whether its person is one of those that a query takes.

    Parameters
    ----------
    bids_dir : Path
    query : str
        As `pandas.DataFrame.query` takes it, on the columns of ``participants.tsv`` and, where
        there are sessions, of ``sessions.tsv``, whose word counts more. A column is one of numbers
        or of text for all people of the dataset alike.
    units : sequence of (subject, session or None)

    Returns
    -------
    list of bool
        In the order of the units. A missing value is equal to nothing.

    Raises
    ------
    UsageError
        The query cannot be understood, or is no question; the message has the columns.
    MissingInput, DataError
        As `covariates.session_rows`.
    """
    everyone = _everyone(bids_dir)
    rows = [
        {"participant_id": f"sub-{subject}"} | row
        for (subject, _), row in zip(units, session_rows(bids_dir, units), strict=True)
    ]
    frame = _frame([*everyone, *rows])
    calls = set(_CALL.findall(_QUOTED.sub("", query)))
    if "@" in _QUOTED.sub("", query) or (calls := calls - _MAY_CALL):
        raise _misunderstood(query, frame, f"it asks for {', '.join(sorted(calls)) or '@'}")
    try:
        answer = frame.eval(query, engine="python", local_dict={}, global_dict={})
    except _WRONG as error:
        raise _misunderstood(query, frame, str(error)) from error
    kinds = {type(value).__name__ for value in getattr(answer, "tolist", lambda: [answer])()}
    if getattr(answer, "shape", ()) != (len(frame),) or kinds - {"bool"}:
        raise _misunderstood(query, frame, "it does not answer yes or no for each person")
    return [bool(fits) for fits in answer.tolist()[len(everyone) :]]


def check_people_filter(bids_dir: Path, query: str, units: Sequence[Unit]) -> None:
    """Refuse a query that `who_fits` cannot ask, or that nobody fits.

    Parameters
    ----------
    bids_dir : Path
    query : str
    units : sequence of (subject, session or None)
        Of whom there are scans.

    Raises
    ------
    NothingSelected
        Nobody of them fits.
    UsageError, MissingInput, DataError
        As `who_fits`; or no table says anything of people.
    """
    if not _everyone(bids_dir) and not any(session_rows(bids_dir, units)):
        raise UsageError(
            "There is no table that says anything of people",
            where=OPTION,
            expected="rows in participants.tsv",
            got=query,
        )
    if not any(who_fits(bids_dir, query, units)):
        people = len({subject for subject, _ in units})
        raise NothingSelected(
            "Nobody fits the query, so that no scan would show how a site looks",
            where=OPTION,
            expected="some of the people who were scanned to fit",
            got=f"{query}, which none of {people} fits",
            hint=f"The columns are {columns_told(bids_dir, units)}. Ask for other people, or "
            "leave the option out: then all show their sites.",
        )


def columns_told(bids_dir: Path, units: Sequence[Unit] = ()) -> str:
    """The columns that a query may name, with the words of those that group people."""
    rows = zip(units, session_rows(bids_dir, units), strict=True)
    of_units = [{"participant_id": f"sub-{subject}"} | row for (subject, _), row in rows]
    return _told(_frame([*_everyone(bids_dir), *of_units]))


def _everyone(bids_dir: Path) -> list[dict[str, str]]:
    path = bids_dir / "participants.tsv"
    return keyed_rows(path, "participant_id") if is_named(path) else []


def _frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Columns of numbers and of text, as covariates are read; None where nothing is said."""
    import pandas as pd

    people = [row.get("participant_id", "") for row in rows]
    columns: dict[str, Sequence[float] | Sequence[str | None]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        cells = ["" if (v := row.get(name, "")).lower() in MISSING else v for row in rows]
        numbers = column_numbers(name, cells, people) if any(cells) else None
        columns[name] = [cell or None for cell in cells] if numbers is None else numbers
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=float if _are_numbers(values) else object)
            for name, values in columns.items()
        }
    )


def _are_numbers(values: Iterable[object]) -> bool:
    return all(isinstance(value, float) for value in values)


def _misunderstood(query: str, frame: pd.DataFrame, why: str) -> UsageError:
    return UsageError(
        "The query on people cannot be answered",
        where=OPTION,
        expected=f"a question on the columns {_told(frame) or '(there are none)'}",
        got=f"{query}: {why}",
        hint="Write it as pandas does: \"group == 'control' and age < 60\"; a name with blanks "
        "stands in `backticks`.",
    )


def _told(frame: pd.DataFrame) -> str:
    """Columns, and the words of those that group people: logs tell nothing of single persons."""
    parts = []
    for name in frame:
        values = [v for v in frame[name] if v is not None and v == v]
        levels = sorted(set(values)) if values and isinstance(values[0], str) else []
        if values and isinstance(values[0], float):
            parts.append(f"{name} (numbers)")
        elif 0 < len(levels) <= MOST_LEVELS and len(levels) < len(set(frame["participant_id"])):
            parts.append(f"{name} ({', '.join(map(repr, levels))})")
        else:
            parts.append(str(name))
    return ", ".join(parts)
