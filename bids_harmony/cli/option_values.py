"""What the values of options are read as, and how their defaults are shown."""

from __future__ import annotations

import argparse
import re
from dataclasses import MISSING, fields
from math import ceil
from pathlib import Path
from typing import Any

from bids_harmony.settings import Settings

__all__ = [
    "Nothing",
    "add_flag",
    "named_path",
    "parse_label",
    "parse_memory_mb",
    "shown_default",
]

_MIB_PER_UNIT = {"K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}


def parse_label(text: str, prefix: str) -> str:
    """A BIDS label without its prefix (``sub-01`` becomes ``01``).

    Raises
    ------
    argparse.ArgumentTypeError
        When it holds anything but letters and digits.
    """
    label = text.removeprefix(f"{prefix}-")
    if not re.fullmatch(r"[0-9a-zA-Z+]+", label):
        raise argparse.ArgumentTypeError(f"{text!r} is not a BIDS label (letters and digits only)")
    return label


def parse_memory_mb(text: str, *, bare: str = "M") -> int:
    """Memory in MB from a number with an optional unit.

    Parameters
    ----------
    text : str
        Such as ``8G``, ``8GB``, ``8GiB``, ``500000K`` or ``8000``.
    bare : str
        Unit of a number without one.

    Returns
    -------
    int
        MB (2**20 bytes), rounded up.

    Raises
    ------
    argparse.ArgumentTypeError
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT])?(?:i?B)?", text.strip(), re.IGNORECASE)
    size = ceil(float(match[1]) * _MIB_PER_UNIT[(match[2] or bare).upper()]) if match else 0
    if size <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a memory size (number with K, M, G or T)"
        )
    return size


def shown_default(name: str, record: type = Settings) -> str:
    """The default of an option as help shows it; its one home is the settings record.

    Parameters
    ----------
    name : str
        Field of the record.
    record : type
        `Settings` or `TrainingSettings`.

    Returns
    -------
    str
        Empty where there is none.
    """
    value = next(item.default for item in fields(record) if item.name == name)
    if value is MISSING or value is None:
        return ""
    return f"(default: {' '.join(value) if isinstance(value, tuple) else value})"


class Nothing(argparse.Action):
    """An option that is accepted and does nothing."""

    def __call__(self, *_: Any) -> None:
        """Accept the flag and forget it."""


def add_flag(group: argparse._ArgumentGroup, dest: str, name: str, *, help: str) -> None:
    """An on/off option that can also be switched off again, against the settings file."""
    group.add_argument(name, dest=dest, action=argparse.BooleanOptionalAction, help=help)


def named_path(text: str) -> tuple[str, Path]:
    """Name and path of ``NAME=PATH``; a path alone is named by its last part."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else (Path(text).name, Path(text))
