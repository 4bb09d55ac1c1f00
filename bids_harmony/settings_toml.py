"""Records of settings to and from the tables of a TOML file."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from bids_harmony.exceptions import UsageError
from bids_harmony.io.reading import shown

__all__ = ["plain_dict", "toml_value", "typed_fields"]


def typed_fields(cls: type, record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check a table against the fields of a record and turn text and lists into paths and tuples.

    Parameters
    ----------
    cls : dataclass
    record : mapping
        Field names and values as TOML or argparse gives them.
    where : str
        The table's name for messages.

    Returns
    -------
    dict
        Values of the types that the record's fields have; nested tables stay tables.

    Raises
    ------
    UsageError
        On a name that is no field, or a value of another type.
    """
    hints = get_type_hints(cls)
    values = {}
    for name, value in record.items():
        if name not in hints:
            near = get_close_matches(name, hints, n=1)
            raise UsageError(
                "There is no such setting",
                where=where,
                got=name,
                hint=f"Did you mean {near[0]}?" if near else "",
            )
        values[name] = _as_type(name, value, hints[name], where)
    return values


def _as_type(name: str, value: Any, hint: Any, where: str) -> Any:
    if value is None and NoneType in get_args(hint):
        return None
    wanted = str(hint)
    hint = next((kind for kind in get_args(hint) if kind in (bool, int)), hint)
    if hint is bool:
        ok = isinstance(value, bool)
    elif hint is int:
        ok = isinstance(value, int) and not isinstance(value, bool)
    elif hint is float:
        ok = isinstance(value, int | float) and not isinstance(value, bool)
        ok = ok and abs(value) <= sys.float_info.max  # no infinity, no NaN
        value = float(value) if ok else value
    elif wanted.startswith("tuple["):
        kind: type[Any] = Path if "Path" in wanted else str
        value = (value,) if isinstance(value, str | Path) else value
        ok = isinstance(value, list | tuple) and all(isinstance(v, str | kind) for v in value)
        value = tuple(kind(v) for v in value) if ok else value
    elif name == "bids_filters":
        try:
            value = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError) as error:
            raise UsageError(
                "The filters are not JSON", where=f"{where}: {name}", got=str(error)
            ) from error
        ok = isinstance(value, Mapping) and all(isinstance(v, Mapping) for v in value.values())
    elif name == "derivatives":
        ok = isinstance(value, Mapping) and all(isinstance(v, str | Path) for v in value.values())
        value = {key: Path(v) for key, v in value.items()} if ok else value
    elif name == "training":
        ok = isinstance(value, Mapping) or is_dataclass(value)
        if is_dataclass(value):
            value = {f.name: getattr(value, f.name) for f in fields(value)}
    elif "Path" in wanted:
        ok = isinstance(value, str | Path)
        value = Path(value) if isinstance(value, str) else value
    else:
        ok = isinstance(value, str)
    if not ok:
        raise UsageError(
            "A setting has the wrong type",
            where=f"{where}: {name}",
            expected=_type_name(hint),
            got=f"{shown(value)} ({type(value).__name__})",
        )
    return value


def _type_name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)).replace("pathlib.", "")


def toml_value(value: Any) -> Any:
    """A value as TOML can hold it: paths as text, tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [toml_value(v) for v in value]
    if isinstance(value, Mapping):
        return {key: toml_value(v) for key, v in value.items()}
    return value


def plain_dict(value: Any) -> Any:
    """Nested read-only mappings as dicts, which can be pickled and written as JSON."""
    if isinstance(value, Mapping):
        return {key: plain_dict(v) for key, v in value.items()}
    return value
