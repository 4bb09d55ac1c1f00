"""What values of settings are read as, and which are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Any

from bids_harmony.exceptions import UsageError

__all__ = [
    "DWI_FITS",
    "check_choice",
    "check_choices",
    "check_device",
    "check_fits",
    "check_memory",
    "check_not_negative",
    "check_positive",
    "check_share",
    "named_path",
    "parse_label",
    "parse_memory_mb",
    "parse_reference",
]

# Models that are fitted to diffusion series.
DWI_FITS = ("tensor", "noddi", "force")
_LEAST_MB = 256
_MIB_PER_UNIT = {"K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}


def parse_label(text: str, prefix: str) -> str:
    """A BIDS label without its prefix (``sub-01`` becomes ``01``).

    Raises
    ------
    ValueError
        When it holds anything but letters and digits.
    """
    label = text.removeprefix(f"{prefix}-")
    if not re.fullmatch(r"[0-9a-zA-Z+]+", label):
        raise ValueError(f"{text!r} is not a BIDS label (letters and digits only)")
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
    ValueError
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT])?(?:i?B)?", text.strip(), re.IGNORECASE)
    size = ceil(float(match[1]) * _MIB_PER_UNIT[(match[2] or bare).upper()]) if match else 0
    if size <= 0:
        raise ValueError(f"{text!r} is not a memory size (number with K, M, G or T)")
    return size


def parse_reference(text: str) -> bool:
    """Whether sessions share a space, in the words of fMRIPrep's
    ``--subject-anatomical-reference``.

    Raises
    ------
    ValueError
    """
    known = {"unbiased": True, "sessionwise": False}
    if text not in known:
        raise ValueError(
            f"{text!r}: no session is the one that the others are brought to; write unbiased or "
            "sessionwise"
        )
    return known[text]


def named_path(text: str) -> tuple[str, Path]:
    """Name and path of ``NAME=PATH``; a path alone is named by its last part."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else (Path(text).name, Path(text))


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise UsageError unless the value is one of the choices."""
    if value not in choices:
        raise UsageError("Unknown choice", where=name, expected=" or ".join(choices), got=value)


def check_choices(name: str, values: Iterable[str], choices: tuple[str, ...]) -> None:
    """Raise UsageError unless each value is one of the choices."""
    for value in values:
        check_choice(name, value, choices)


def check_device(name: str, value: str) -> None:
    """Raise UsageError unless it names a processor, a graphics card, or leaves it open."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        check_choice(name, value, ("auto", "cpu", "cuda", "cuda:N"))


def check_fits(name: str, value: tuple[str, ...]) -> None:
    """Raise UsageError unless the models are known and all others are beside the tensor."""
    check_choices(name, value, DWI_FITS)
    if value and "tensor" not in value:
        raise UsageError(
            "Models of neurites are fitted beside the tensor only",
            where="--dwi-fits",
            expected="tensor, beside it noddi or force or both, or nothing",
            got=" ".join(value),
        )


def check_memory(name: str, value: int) -> None:
    """Raise UsageError for less MB than the program takes; 0 asks for what there is."""
    check_not_negative(name, value)
    if 0 < value < _LEAST_MB:
        # "--mem 8" is 8 MB, in which Nipype would wait for ever to begin its first step.
        raise UsageError(
            "Less memory than the program itself takes",
            where="--mem",
            expected=f"at least {_LEAST_MB} MB",
            got=f"{value} MB",
            hint=f"A bare number is MB; gigabytes are written --mem {value}G.",
        )


def check_positive(name: str, value: float) -> None:
    """Raise UsageError unless the value is above zero."""
    if not value > 0:
        raise UsageError("Value must be above zero", where=name, got=str(value))


def check_not_negative(name: str, value: float) -> None:
    """Raise UsageError if the value is below zero."""
    if value < 0:
        raise UsageError("Value below zero", where=name, got=str(value))


def check_share(name: str, value: float, *, zero: bool = False) -> None:
    """Raise UsageError unless the value is in (0, 1], or in [0, 1] with `zero`."""
    if not (0 < value <= 1 or (zero and value == 0)):
        raise UsageError(
            "Share out of range",
            where=name,
            expected=f"0 {'<=' if zero else '<'} {name} <= 1",
            got=str(value),
        )
