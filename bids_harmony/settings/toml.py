"""Records of settings to and from the tables of a TOML file."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

from bids_harmony.exceptions import UsageError
from bids_harmony.io.reading import shown
from bids_harmony.settings.metadata import Setting, settings_of

__all__ = ["plain_dict", "toml_table", "typed_fields"]


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
    known = settings_of(cls)
    values = {}
    for name, value in record.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise UsageError(
                "There is no such setting",
                where=where,
                got=name,
                hint=f"Did you mean {near[0]}?" if near else "",
            )
        values[name] = _typed(known[name], value, where)
    for name in values:
        kind: type = known[name].type
        if is_dataclass(kind):
            values[name] = typed_fields(kind, values[name], where)
    return values


def _typed(setting: Setting, value: Any, where: str) -> Any:
    hint, kind = setting.hint, setting.type
    if value is None and setting.optional:
        return None
    if get_origin(hint) is tuple:
        value = (value,) if isinstance(value, str | Path) else value
        ok = isinstance(value, list | tuple) and all(isinstance(v, str | kind) for v in value)
        value = tuple(kind(v) for v in value) if ok else value
    elif get_origin(hint) is Mapping and kind is Path:
        ok = isinstance(value, Mapping) and all(isinstance(v, str | Path) for v in value.values())
        value = {key: Path(v) for key, v in value.items()} if ok else value
    elif get_origin(hint) is Mapping:
        try:
            value = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError) as error:
            raise UsageError(
                "The filters are not JSON", where=f"{where}: {setting.name}", got=str(error)
            ) from error
        ok = isinstance(value, Mapping) and all(isinstance(v, Mapping) for v in value.values())
    elif is_dataclass(kind):
        if is_dataclass(value):
            value = {f.name: getattr(value, f.name) for f in fields(value)}
        ok = isinstance(value, Mapping)
    elif kind is float:
        ok = isinstance(value, int | float) and not isinstance(value, bool)
        ok = ok and abs(value) <= sys.float_info.max  # no infinity, no NaN
        value = float(value) if ok else value
    elif kind is Path:
        ok = isinstance(value, str | Path)
        value = Path(value) if ok else value
    else:
        ok = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not ok:
        wanted = kind if kind in (bool, int) else hint
        raise UsageError(
            "A setting has the wrong type",
            where=f"{where}: {setting.name}",
            expected=getattr(wanted, "__name__", str(wanted)).replace("pathlib.", ""),
            got=f"{shown(value)} ({type(value).__name__})",
        )
    return value


def toml_table(record: Any) -> dict[str, Any]:
    """A record as TOML can hold it: no None, nothing empty or machine's, paths as text."""
    table = {}
    for name, item in settings_of(record.__class__).items():
        value, machine = getattr(record, name), item.option.machine
        if not (value is None or value == {} or (machine and value == machine(record))):
            table[name] = _toml_value(value)
    return table


def _toml_value(value: Any) -> Any:
    if is_dataclass(value):
        return toml_table(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_toml_value(v) for v in value]
    if isinstance(value, Mapping) and all(isinstance(v, Mapping) for v in value.values()):
        # TOML has no null, and null means "absent" in filters: they travel as JSON text.
        return json.dumps(plain_dict(value), sort_keys=True)
    return {k: _toml_value(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def plain_dict(value: Any) -> Any:
    """Nested read-only mappings as dicts, which can be pickled and written as JSON."""
    if isinstance(value, Mapping):
        return {key: plain_dict(v) for key, v in value.items()}
    return value
