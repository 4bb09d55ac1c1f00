"""Settings files: those that users hand in, and those that the package ships."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from bids_harmony.exceptions import DataError, MissingInput, UsageError
from bids_harmony.io.reading import read_text
from bids_harmony.settings.run import Settings
from bids_harmony.settings.toml import typed_fields

__all__ = ["SHIPPED_CONFIGS", "read_settings_file"]

# Settings that the package ships: the paper's training, and that of `make demo`.
SHIPPED_CONFIGS = ("demo", "paper")
_CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "data" / "configs"


def read_settings_file(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings, to be overridden by the command line.

    Parameters
    ----------
    path : Path
        A file that a user wrote, or ``logs/<run>/settings.toml`` of an earlier run. Its table
        ``provenance`` (what that run was) is left behind. A bare name is one of `SHIPPED_CONFIGS`.

    Returns
    -------
    dict
        Field names and values for `Settings.from_dict`.

    Raises
    ------
    MissingInput, InputOutputError, UsageError
        When the file is not there, cannot be read, is not TOML, or names something that is no
        setting.
    """
    if str(path) in SHIPPED_CONFIGS and not path.exists():
        path = _CONFIG_FOLDER / f"{path}.toml"
    if not os.path.lexists(path):
        raise MissingInput(
            "The settings file does not exist",
            where=str(path),
            expected=f"a TOML file, or one of {', '.join(SHIPPED_CONFIGS)}",
        )
    try:
        record = tomllib.loads(read_text(path, holds="settings file"))
    except (tomllib.TOMLDecodeError, DataError) as error:
        raise UsageError(
            "The settings file is not TOML", where=str(path), got=str(error)
        ) from error
    except (ValueError, RecursionError) as error:
        # Numbers of too many digits; lists in lists in lists.
        raise UsageError(
            "The settings file cannot be read", where=str(path), got=str(error)
        ) from error
    record.pop("provenance", None)
    return typed_fields(Settings, record, str(path))
