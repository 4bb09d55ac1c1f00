"""Which voxels of a series a model can be fitted to."""

from __future__ import annotations

import numpy as np

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.exceptions import DataError, ImageError

__all__ = ["fittable_voxels"]


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
        Values inside the mask that are not finite, or no voxel is left.
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
    bad = 0
    # Volume by volume: a test of the whole series at once would take a quarter of its memory more.
    for volume, is_b0 in enumerate(gradients.b0):
        values = data[..., volume]
        bad += int(np.count_nonzero(~np.isfinite(values) & inside))
        if is_b0:
            total += np.where(inside, values, 0)
    if bad:
        raise ImageError(
            "Values inside the mask that are not finite",
            expected="numbers in every voxel and volume",
            got=f"{bad} NaN or infinite",
        )
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
