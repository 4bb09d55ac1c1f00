"""Age, sex, group: what a dataset says of its participants, for every scan of a table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from bids_harmony.bids.carried import is_of_people
from bids_harmony.bids.covariates import MISSING, MOST_LEVELS, column_numbers, session_rows
from bids_harmony.bids.site_tables import site_columns
from bids_harmony.group.outputs import Output

__all__ = ["Covariates", "read_covariates"]

logger = logging.getLogger(__name__)

#: Values of every scan by name: numbers (NaN where missing) or words ("" where missing).
Covariates = Mapping[str, Sequence[float] | Sequence[str]]

# Columns that say where a row belongs or when, not who somebody is.
_NOT_ABOUT_PEOPLE = {"participant_id", "session_id", "acq_time", "species"}


def read_covariates(
    bids_dir: Path, outputs: Sequence[Output], named: Sequence[str] = ()
) -> Covariates:
    """Columns of ``participants.tsv`` and ``sessions.tsv``; the session's word counts more.

    Age, sex, hand, group and diagnosis by their usual names, and what the user names: nobody can
    foresee what another column tells of a person. Columns of one value and of remarks are left
    out; those that nobody named are told by their names. Numbers are read as people write
    them: ``89+`` as 89, ``34,5`` as 34.5, ``34 years`` as 34. What is read otherwise than it
    stands there, or not at all in a column of numbers, is told.

    Parameters
    ----------
    bids_dir : Path
    outputs : sequence of Output
    named : sequence of str
        Further columns, as ``--covariates``.

    Returns
    -------
    mapping of name to one value per output

    Raises
    ------
    MissingInput, DataError
        When a table cannot be read, or its content was not fetched.
    """
    units = [(output.participant, output.session) for output in outputs]
    rows = session_rows(bids_dir, units)
    names = dict.fromkeys(name for row in rows for name in row)
    found: dict[str, Sequence[float] | Sequence[str]] = {}
    left_out = []
    for name in names:
        if name.lower() in _NOT_ABOUT_PEOPLE or site_columns({name: ""}):
            continue
        if not (is_of_people(name) or name in named):
            left_out.append(name)
            continue
        cells = ["" if (v := row.get(name, "")).lower() in MISSING else v for row in rows]
        values = column_numbers(name, cells, [f"sub-{output.participant}" for output in outputs])
        different = set(cells) - {""} if values is None else {v for v in values if v == v}
        if len(different) > 1 and not (values is None and len(different) > MOST_LEVELS):
            found[name] = cells if values is None else values
    if left_out:
        logger.info(
            "Columns that are in no table of the group: %s; --covariates takes those it names",
            ", ".join(left_out),
        )
    return found
