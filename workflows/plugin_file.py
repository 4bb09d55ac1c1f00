"""Nipype plugin files: processors and memory, as fMRIPrep reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bids_harmony.exceptions import DataError, UsageError
from bids_harmony.io.reading import read_text, shown

__all__ = ["read_plugin_file"]

#: Arguments of the plugins that may be given, and of what type.
ARGUMENTS: dict[str, tuple[type, ...]] = {
    "n_procs": (int,),
    "memory_gb": (int, float),
    "n_gpu_procs": (int,),
    "raise_insufficient": (bool,),
    "scheduler": (str,),
    "maxtasksperchild": (int,),
    "non_daemon": (bool,),
}
_LEAST = {"n_procs": 1, "memory_gb": 0.1}
_MOST_BYTES = 2**16


def read_plugin_file(path: Path | None) -> dict[str, Any]:
    """Read `plugin_args`; the plugin itself is always ours.

    Parameters
    ----------
    path : Path or None
        YAML; None gives nothing.

    Returns
    -------
    dict
        Of `ARGUMENTS`; others make no sense here and are left out.

    Raises
    ------
    MissingInput, InputOutputError
        When the file is not there or cannot be read.
    UsageError
        When it is not YAML, or asks for another plugin than MultiProc or Linear.
    """
    if path is None:
        return {}
    import yaml

    try:
        content = yaml.safe_load(read_text(path, holds="plugin file", most=_MOST_BYTES))
    except (yaml.YAMLError, DataError, ValueError, RecursionError) as error:
        # Dates that do not exist are a ValueError.
        raise UsageError(
            "The plugin file is not YAML", where=str(path), got=str(error)[:1000]
        ) from error
    plugin = content.get("plugin", "MultiProc") if isinstance(content, dict) else None
    if plugin not in ("MultiProc", "Linear"):
        raise UsageError(
            "The plugin file asks for a plugin that is not supported",
            where=str(path),
            expected="plugin: MultiProc or Linear",
            # Aliases make a short file endless when it is written out.
            got=shown(plugin),
        )
    given = content.get("plugin_args") or {}
    if not isinstance(given, dict):
        raise _wrong(path, "plugin_args", "a table", given)
    found = {name: given[name] for name in ARGUMENTS if name in given}
    for name, value in found.items():
        allowed = ARGUMENTS[name]
        sound = isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))
        if not sound or (not isinstance(value, str) and not _LEAST.get(name, 0) <= value < 10**6):
            raise _wrong(path, name, " or ".join(kind.__name__ for kind in allowed), value)
    return found | ({"n_procs": 1} if plugin == "Linear" else {})


def _wrong(path: Path, name: str, expected: str, got: Any) -> UsageError:
    return UsageError(
        "An argument of the plugin file makes no sense",
        where=f"{path}: {name}",
        expected=expected,
        got=shown(got),
    )
