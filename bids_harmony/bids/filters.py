"""Filter files: PyBIDS filters per modality, as fMRIPrep reads them.

PyBIDS itself keeps only ``run`` as a number; ``chunk``, ``echo``, ``flip`` and ``inv`` are text to
it, so that 1 would not find ``chunk-01``. So the comparison is done here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_harmony.exceptions import NothingSelected, UsageError
from bids_harmony.io.reading import read_json, shown
from bids_harmony.settings import DERIVED, MODALITIES

__all__ = ["fits", "read_derivative_filters", "read_filter_file", "selected_sessions"]

_ABSENT = "Query.NONE"
_ANY = ("*", "Query.ANY", "Query.REQUIRED")
# Entities whose labels BIDS defines as whole numbers, with or without zeros before them.
_NUMBERED = ("chunk", "echo", "flip", "inv", "run", "split")
# "t1" is meant as one of ours, "bold", "t2star" and "fmap" are not.
_ALIKE = 0.65
_PREFIXES = {"session": "ses-", "subject": "sub-"}


def read_filter_file(path: Path) -> dict[str, dict[str, Any]]:
    """Read ``--bids-filter-file``.

    Parameters
    ----------
    path : Path
        JSON of the form ``{"t1w": {"session": "01", "acquisition": null}, "t2w": {...}}``; the
        case of the modality does not count, modalities that we do not treat (``bold``) are passed
        over, one that is a misspelling of ours (``t1``) is refused.

    Returns
    -------
    dict
        Modality (``T1w``) to filters: entity to text, number, list, None (the entity is absent) or
        ``"*"`` (any).

    Raises
    ------
    MissingInput, InputOutputError, DataError, UsageError
        When the file is not there, cannot be read, is not JSON, or is no table of tables of plain
        values.
    """
    record = read_json(path, holds="filter file")
    if not isinstance(record, Mapping) or not all(isinstance(v, Mapping) for v in record.values()):
        raise UsageError(
            "The filter file has the wrong form",
            where=str(path),
            expected='{"t1w": {"entity": value}, ...}',
        )
    by_name = {name.casefold(): name for name in MODALITIES}
    filters: dict[str, dict[str, Any]] = {}
    for key, entities in record.items():
        modality = by_name.get(key.casefold())
        if modality is None:
            if meant := difflib.get_close_matches(key.casefold(), by_name, 1, _ALIKE):
                raise UsageError(
                    "The filter file has a modality that there is not",
                    where=str(path),
                    expected=by_name[meant[0]],
                    got=key,
                )
            continue
        if entities.get("suffix", modality) != modality:
            raise UsageError(
                "A filter of one modality asks for another",
                where=f"{path}: {key}",
                expected=f"suffix {modality}",
                got=shown(entities["suffix"]),
            )
        kept = {
            name: value
            for name, value in entities.items()
            if name not in ("suffix", "datatype", "extension")
        }
        filters[modality] = _checked(kept, f"{path}: {key}")
    return filters


def read_derivative_filters(path: Path) -> dict[str, dict[str, Any]]:
    """Read ``--deriv-filter-file``.

    Parameters
    ----------
    path : Path
        JSON of the form ``{"mask": {"desc": "brain"}, "transform": {...}, "tissues": {...}}``.

    Returns
    -------
    dict
        As `read_filter_file`, by what is taken.

    Raises
    ------
    MissingInput, InputOutputError, DataError, UsageError
        As `read_filter_file`.
    """
    record = read_json(path, holds="filter file")
    wrong = not isinstance(record, Mapping) or not all(
        key in DERIVED and isinstance(value, Mapping) for key, value in record.items()
    )
    if wrong:
        raise UsageError(
            "The filter file has the wrong form",
            where=str(path),
            expected=f'{{"mask": {{"entity": value}}, ...}} for {", ".join(DERIVED)}',
            got=shown(", ".join(map(str, record)) if isinstance(record, Mapping) else record),
        )
    return {key: _checked(value, f"{path}: {key}") for key, value in record.items()}


def _checked(entities: Mapping[str, Any], where: str) -> dict[str, Any]:
    for name, value in entities.items():
        if not all(isinstance(v, str | int | float | None) for v in _listed(value)):
            raise UsageError(
                "A filter is no text, number, list of these, or null",
                where=f"{where}: {name}",
                got=shown(value),
            )
    return {name: _plain(value) for name, value in entities.items()}


def selected_sessions(asked: Sequence[str], filters: Mapping[str, Any], *, where: str) -> Any:
    """Which sessions are asked for: the intersection of ``--session-label`` and the filter.

    Parameters
    ----------
    asked : sequence of str
        ``--session-label`` without prefix; empty means all.
    filters : mapping
        Filters of one modality.
    where : str
        The modality, for the message.

    Returns
    -------
    list of str, None or "*"
        In the language of the filter file; ``"*or absent"`` when nothing restricts the session.

    Raises
    ------
    NothingSelected
        When both name sessions and share none.
    """
    if "session" not in filters:
        return list(asked) if asked else "*or absent"
    value = filters["session"]
    if not asked or value == "*":
        return list(asked) if asked else value
    named = [] if value is None else [str(v).removeprefix("ses-") for v in _listed(value)]
    both = [session for session in asked if session in named]
    if not both:
        raise NothingSelected(
            "--session-label and the filter file share no session",
            where=where,
            expected=f"one of {', '.join(asked)}",
            got="no session" if value is None else ", ".join(named),
        )
    return both


def fits(filters: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Whether a file is one that filters ask for.

    Parameters
    ----------
    filters : mapping
        Of one modality, as `read_filter_file` gives them.
    labels : mapping
        The file's entities, and the fields of its sidecar, which filters may name as well.

    Returns
    -------
    bool
        Numbered entities (``run``, ``echo``, ...) and filters that are numbers compare as numbers:
        1 finds ``01``. All else compares as text.
    """
    return all(_fits(name, value, labels.get(name)) for name, value in filters.items())


def _fits(name: str, wanted: Any, label: Any) -> bool:
    if wanted == "*":
        return label is not None
    return any(_same(name, one, label) for one in _listed(wanted))


def _same(name: str, wanted: Any, label: Any) -> bool:
    if wanted is None or label is None:
        return wanted is label
    if wanted == "*" or wanted == label:
        return True
    one, other = (str(value).removeprefix(_PREFIXES.get(name, "")) for value in (wanted, label))
    if name in _NUMBERED or not isinstance(wanted, str):
        try:
            return float(one) == float(other)
        except ValueError:
            pass
    return one == other


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if value == _ABSENT:
        return None
    if isinstance(value, str) and value in _ANY:
        return "*"
    return value


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
