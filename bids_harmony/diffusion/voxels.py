"""Which voxels of a series a model can be fitted to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import Series
from bids_harmony.exceptions import DataError, ImageError
from bids_harmony.io.checks import check_shape
from bids_harmony.io.nifti_file import parse_nifti, read_content

__all__ = ["fittable_voxels", "measured_signals", "read_labels", "read_mask"]

LEAST_SIGNAL = 1e-5
"""Of the voxel's b=0 signal. Water at b=3000 s/mm2 leaves 1e-4, and integers of 16 bits hold no
less; what is below are zeros, and what interpolation made of them."""
SAME_GRID_MM = 0.01
"""Affines of one grid differ by rounding only."""


def read_mask(path: str | os.PathLike[str], series: Series) -> np.ndarray:
    """Read the brain mask of a series in the voxel order of the series' file.

    Parameters
    ----------
    path : path-like
        On the grid of the series, voxel for voxel; above 0.5 is brain.
    series : Series

    Returns
    -------
    ndarray (X, Y, Z) bool

    Raises
    ------
    MissingInput, InputOutputError, ImageError
        As `series.open_series`.
    DataError
        The mask lies on another grid.
    """
    return _on_grid(path, series) > 0.5


def read_labels(path: str | os.PathLike[str], series: Series) -> np.ndarray:
    """Read tissue labels on the grid of a series, as `read_mask` reads a mask.

    Returns
    -------
    ndarray (X, Y, Z) uint8
    """
    return np.rint(_on_grid(path, series)).astype(np.uint8)


def _on_grid(path: str | os.PathLike[str], series: Series) -> np.ndarray:
    path = Path(path)
    image = parse_nifti(read_content(path), path)
    check_shape(image, str(path))
    same = image.shape[:3] == series.shape[:3] and np.allclose(
        image.affine, series.affine, atol=SAME_GRID_MM
    )
    if not same:
        raise DataError(
            "The mask or segmentation is not on the grid of the series",
            where=str(path),
            expected=_grid(series.shape, series.affine),
            got=_grid(image.shape, image.affine),
            hint="Make it on the mean b=0 image, in the voxel order of the series' file.",
        )
    return np.asarray(image.dataobj, dtype=np.float32).reshape(image.shape[:3])


def _grid(shape: tuple[int, ...], affine: np.ndarray) -> str:
    size = "x".join(str(n) for n in shape[:3])
    corner = ", ".join(f"{mm:.2f}" for mm in affine[:3, 3])
    return f"{size} voxels from ({corner}) mm"


def fittable_voxels(data: np.ndarray, mask: np.ndarray, gradients: Gradients) -> np.ndarray:
    """Voxels inside the mask whose mean over the b=0 volumes is positive.

    Parameters
    ----------
    data : ndarray (X, Y, Z, N)
        Series, in any unit.
    mask : ndarray (X, Y, Z) bool
        Brain.
    gradients : Gradients
        Of the N volumes.

    Returns
    -------
    ndarray (X, Y, Z) bool

    Raises
    ------
    DataError
        Series, mask and gradients do not go together.
    ImageError
        No voxel is left.
    """
    if data.ndim != 4 or data.shape[3] != len(gradients.bvals):
        raise DataError(
            "The series has not one volume for each gradient",
            expected=f"X x Y x Z x {len(gradients.bvals)} voxels",
            got="x".join(str(n) for n in data.shape),
        )
    if mask.shape != data.shape[:3]:
        raise DataError(
            "The mask is not on the grid of the series",
            expected="x".join(str(n) for n in data.shape[:3]),
            got="x".join(str(n) for n in mask.shape),
        )
    inside = mask.astype(bool)
    total = np.zeros(inside.shape, dtype=np.float64)
    for volume in np.flatnonzero(gradients.b0):
        values = data[..., volume]
        # What is no number was not measured; the others speak for it.
        total += np.where(inside & np.isfinite(values), values, 0)
    usable = inside & (total > 0)
    if not usable.any():
        raise ImageError(
            "No voxel to fit",
            expected="voxels inside the mask with signal at b=0",
            got=f"{np.count_nonzero(inside)} voxels inside the mask, none with signal"
            if inside.any()
            else "an empty mask",
        )
    return usable


def measured_signals(signals: np.ndarray, gradients: Gradients) -> np.ndarray:
    """Which signals of a voxel were measured: finite, and more than nothing beside its b=0.

    Zeros lie where a volume does not reach after motion correction, and where a scanner or a
    correction cut off what is negative.

    Parameters
    ----------
    signals : ndarray (V, N)
        Of V voxels, in any unit.
    gradients : Gradients
        Of the N volumes.

    Returns
    -------
    ndarray (V, N) bool
    """
    positive = np.isfinite(signals) & (signals > 0)
    b0 = np.where(positive, signals, 0)[:, gradients.b0]
    mean = b0.sum(axis=-1) / np.maximum(positive[:, gradients.b0].sum(axis=-1), 1)
    return positive & (signals > LEAST_SIGNAL * mean[:, None])
