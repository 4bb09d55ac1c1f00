"""Age, sex, group: what a dataset says of its participants, for every scan of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from bids_harmony.bids.site_tables import SITE_COLUMNS
from bids_harmony.bids.table import read_tsv
from bids_harmony.group.outputs import Output
from bids_harmony.pointers import is_named

__all__ = ["Covariates", "read_covariates"]

#: Values of every scan by name: numbers (NaN where missing) or words ("" where missing).
Covariates = Mapping[str, Sequence[float] | Sequence[str]]

#: A column of more different words is a list of remarks, not a group.
_MOST_LEVELS = 6
_MISSING = {"", "n/a", "nan", "na"}
# Columns that say where a row belongs or when, not who somebody is.
_NOT_ABOUT_PEOPLE = {"participant_id", "session_id", "acq_time", "species", *SITE_COLUMNS}


def read_covariates(bids_dir: Path, outputs: Sequence[Output]) -> Covariates:
    """Columns of ``participants.tsv`` and ``sessions.tsv``; the session's word counts more.

    Columns of one value, of ids and of remarks are left out.

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
    people = {row.get("participant_id", ""): row for row in _table(bids_dir / "participants.tsv")}
    rows: list[dict[str, str]] = []
    for output in outputs:
        unit = f"sub-{output.participant}"
        row = dict(people.get(unit, {}))
        sessions = _table(bids_dir / unit / f"{unit}_sessions.tsv") if output.session else []
        for session in sessions:
            if session.get("session_id") == f"ses-{output.session}":
                row |= session
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    found: dict[str, Sequence[float] | Sequence[str]] = {}
    for name in names:
        if name.lower() in _NOT_ABOUT_PEOPLE:
            continue
        cells = ["" if (v := row.get(name, "")).lower() in _MISSING else v for row in rows]
        values = _numbers(cells) or cells
        different = {value for value in values if value not in ("",) and value == value}
        words = isinstance(values[0], str)
        if len(different) > 1 and not (words and len(different) > _MOST_LEVELS):
            found[name] = values
    return found


def _numbers(cells: Sequence[str]) -> list[float]:
    """The cells as numbers, NaN where they are not finite; empty where one is a word."""
    try:
        values = [float(cell) if cell else math.nan for cell in cells]
    except ValueError:
        return []
    return [value if math.isfinite(value) else math.nan for value in values]


def _table(path: Path) -> list[dict[str, str]]:
    return read_tsv(path) if is_named(path) else []
