"""Arguments of the Python door: one or many, as many as the scans, and of a known kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage

from bids_harmony.exceptions import DataError, UsageError
from bids_harmony.io.names import MODALITIES, file_stem

__all__ = [
    "STRUCTURAL",
    "as_affines",
    "as_list",
    "as_many",
    "check_flags",
    "check_modality",
    "check_name",
    "checked_covariates",
    "checked_seed",
    "checked_spacing",
    "is_image",
    "is_single",
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


def as_list(images: Any) -> list[Any]:
    """One image or several as a list.

    Raises
    ------
    DataError
        There is none.
    """
    found = [images] if is_single(images) else list(images)
    if not found:
        raise DataError("There are no images", expected="one and more", got="none")
    return found


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


def checked_covariates(
    covariates: Mapping[str, Sequence[float]] | None, count: int
) -> dict[str, list[float]]:
    """Numbers for each scan, by name, of a mapping or a table (None: of none).

    Raises
    ------
    UsageError
        No mapping, another number of values than of scans, or words.
    """
    if covariates is None:
        return {}
    if not hasattr(covariates, "items"):
        raise UsageError(
            "Covariates must have names",
            where="covariates",
            expected="a mapping, such as {'age': [31, 54]}",
            got=type(covariates).__name__,
        )
    found = {}
    for name, values in covariates.items():
        numbers = as_many(values, count, str(name))
        try:
            found[str(name)] = [float(number) for number in numbers]
        except (TypeError, ValueError) as error:
            raise UsageError(
                "Covariates must be numbers",
                where=str(name),
                got=str(error),
                hint="Write a category of two as 0 and 1, and NaN where it is not known.",
            ) from error
    return found


def checked_spacing(voxel_mm: Any) -> float:
    """Spacing of the reference grid, mm.

    Raises
    ------
    UsageError
        No number, or not above 0.
    """
    if not isinstance(voxel_mm, Real) or not 0 < float(voxel_mm) < np.inf:
        raise UsageError(
            "This is no spacing", where="voxel_mm", expected="mm, above 0", got=repr(voxel_mm)
        )
    return float(voxel_mm)


def check_flags(**flags: Any) -> None:
    """Refuse what is neither True nor False: a word, "no" among them, would count as True.

    Raises
    ------
    UsageError
        Names the first of them.
    """
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise UsageError(
                "This is neither yes nor no", where=name, expected="True or False", got=repr(value)
            )


def checked_seed(random_state: Any) -> int:
    """Seed of what is random: results are the same each time, so None is refused.

    Raises
    ------
    UsageError
        No whole number, or below 0.
    """
    if not isinstance(random_state, Integral) or random_state < 0:
        raise UsageError(
            "This is no seed",
            where="random_state",
            expected="a whole number from 0",
            got=repr(random_state),
        )
    return int(random_state)
