"""Voxels as a file stores them: its data type, slope and intercept."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from nibabel.casting import float_to_int

from bids_harmony.io.checks import check_finite

__all__ = ["raw_voxels", "stored_voxels", "with_raw_voxels"]


def stored_voxels(
    signal: np.ndarray, dtype: np.dtype, slope: float, intercept: float
) -> tuple[np.ndarray, int]:
    """Turn intensities into what a file stores, and count those that did not fit its type.

    Parameters
    ----------
    signal : ndarray
    dtype : numpy dtype
        Integers are rounded, and clipped to the type's range.
    slope, intercept : float
        ``stored * slope + intercept`` is the signal.

    Returns
    -------
    stored : ndarray of `dtype`
    n_clipped : int

    Raises
    ------
    ImageError
        Values that are not finite, or beyond what a floating-point type holds.
    """
    wanted = (signal.astype(np.float64) - intercept) / slope
    check_finite(wanted, "voxels to be stored")
    if dtype.kind not in "iu":
        with np.errstate(over="ignore"):
            stored = wanted.astype(dtype)
        check_finite(stored, f"voxels to be stored as {dtype}")
        return stored, 0
    limits, wanted = np.iinfo(dtype), np.rint(wanted)
    n_clipped = int(np.count_nonzero((wanted < limits.min) | (wanted > limits.max)))
    stored = float_to_int(wanted, dtype)
    # nibabel clips to a float64, and the largest 64-bit integers are none.
    stored[wanted >= limits.max] = limits.max
    return stored, n_clipped


def raw_voxels(image: nib.Nifti1Image) -> tuple[np.ndarray, float, float]:
    """Voxels of a loaded image as they are on disk (a copy), slope and intercept."""
    proxy: Any = image.dataobj
    return (
        np.array(proxy.get_unscaled()).reshape(image.shape),
        float(proxy.slope),
        float(proxy.inter),
    )


def with_raw_voxels(
    source: nib.Nifti1Image, raw: np.ndarray, slope: float, intercept: float
) -> nib.Nifti1Image:
    """An image that will be written with these raw voxels: nibabel leaves them alone when the
    header has a slope, and would choose a new one when it has none."""
    image = type(source)(raw, source.affine, source.header)
    image.header.set_slope_inter(slope, intercept)
    return image
