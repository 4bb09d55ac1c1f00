"""Arguments of the Python door: one or many, as many as the scans, and of a known kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage

from bids_harmony.exceptions import DataError, UsageError
from bids_harmony.io.names import MODALITIES, file_stem

__all__ = [
    "STRUCTURAL",
    "as_affines",
    "as_many",
    "check_count",
    "check_modality",
    "check_name",
    "is_image",
    "is_single",
    "picked",
]

#: What the Python door takes; diffusion series need tables beside them.
STRUCTURAL = tuple(name for name in MODALITIES if name != "dwi")


def is_image(value: object) -> bool:
    """Whether something is one path, nibabel image or array of two dimensions and more."""
    return isinstance(value, str | os.PathLike | SpatialImage) or (
        hasattr(value, "__array__") and getattr(value, "ndim", 0) > 1
    )


def is_single(images: object) -> bool:
    """Whether one image came, and not several."""
    return is_image(images) or not isinstance(images, Iterable)


def as_many(values: Any, count: int, what: str) -> list[Any]:
    """A value for each scan.

    Parameters
    ----------
    values : object
        None stands for None everywhere; one image or word for one scan.
    count : int
        Scans.
    what : str
        Named in messages.

    Raises
    ------
    UsageError
        Another number of values than of scans.
    """
    if values is None:
        return [None] * count
    found = [values] if is_single(values) else list(values)
    if len(found) != count:
        raise UsageError(
            f"Images and {what} must be as many",
            where=what,
            expected=f"{count}, one for each image",
            got=str(len(found)),
        )
    return found


def as_affines(affines: Any, count: int) -> list[Any]:
    """An affine for each scan, of one each or of one for all.

    Raises
    ------
    UsageError
        Another number of affines than of scans.
    """
    try:
        shared = np.asarray(affines, dtype=np.float64).shape == (4, 4)
    except (TypeError, ValueError):  # some are there and some are not
        shared = False
    if shared:
        return [affines] * count
    return as_many(None if affines is None else list(affines), count, "affines")


def check_modality(modality: object) -> None:
    """Refuse what is no structural contrast.

    Raises
    ------
    UsageError
    """
    if modality not in STRUCTURAL:
        dwi = modality == "dwi"
        raise UsageError(
            "Unknown modality",
            where="modality",
            expected=", ".join(STRUCTURAL),
            got=repr(modality),
            hint="Diffusion series have gradient tables: use the command line." if dwi else "",
        )


def check_name(path: Path | None, modality: str) -> None:
    """Refuse a file whose name says that it is of another modality.

    Raises
    ------
    UsageError
    """
    suffix = file_stem(path).rpartition("_")[2] if path else ""
    if suffix in MODALITIES and suffix != modality:
        raise UsageError(
            f"The image is taken for {modality}, but its name says {suffix}",
            where=str(path),
            hint=f'Say modality="{suffix}".' if suffix in STRUCTURAL else "",
        )


def check_count(images: Sequence[Any]) -> None:
    """Refuse an empty list.

    Raises
    ------
    DataError
    """
    if not images:
        raise DataError("There are no images", expected="one and more", got="none")


def picked(
    what: str, values: Sequence[Any] | None, rows: Sequence[int], count: int
) -> list[Any] | None:
    """Values of some of the scans.

    Parameters
    ----------
    what : str
        Named in messages.
    values : sequence, optional
        One for each scan; None gives None.
    rows : sequence of int
        Which of them.
    count : int
        Scans.

    Raises
    ------
    UsageError
        Another number of values than of scans.
    """
    if values is None:
        return None
    found = as_many(values, count, what)
    return [found[i] for i in rows]
