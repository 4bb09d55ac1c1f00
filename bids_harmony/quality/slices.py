"""Axial slices of two volumes to compare in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError

__all__ = ["SlicePair", "foreground_slices"]


#: Slices with a smaller share of foreground are left out, unless all have less.
_LEAST_FOREGROUND = 0.05


@dataclass(frozen=True, eq=False)
class SlicePair:
    """The same axial slice of two volumes.

    Attributes
    ----------
    index : int
        Along the last axis of the volumes.
    reference, image : (x, y) float32 arrays
        With a mask, zero outside it and cropped to its bounding box in the plane.
    """

    index: int
    reference: NDArray[np.float32]
    image: NDArray[np.float32]


def foreground_slices(
    reference: NDArray[np.float32],
    image: NDArray[np.float32],
    *,
    data_range: float,
    mask: NDArray[np.bool_] | None,
    max_slices: int,
) -> list[SlicePair]:
    """Choose the axial slices that hold enough brain.

    Parameters
    ----------
    reference, image : (X, Y, Z) float32 arrays
    data_range : float
        In the units of the images.
    mask : (X, Y, Z) bool array or None
        The brain. With it, both images are set to zero outside and cropped to its bounding box, so
        that the field of view does not matter.
    max_slices : int
        Slices with less than 5 % of foreground are left out, unless all have less. Foreground is
        the mask, or else what exceeds 5 % of the data range in the reference. If more slices are
        left, as many are taken at even distances.

    Returns
    -------
    list of SlicePair
        In ascending order, all of one shape; at least one.

    Raises
    ------
    DataError
        If there is no foreground.
    """
    box = (slice(None), slice(None))
    foreground: NDArray[np.bool_] = reference > 0.05 * data_range if mask is None else mask
    if mask is not None and mask.any():
        box = _bounding_box(np.any(mask, axis=2))
    share = foreground[box].mean(axis=(0, 1))
    kept = np.flatnonzero(share >= _LEAST_FOREGROUND)
    if kept.size == 0:
        kept = np.flatnonzero(share > 0)
    if kept.size == 0:
        raise DataError(
            "Found no foreground to compare slices of",
            expected="a mask with voxels in it, or voxels above 5 % of the data range",
            got="none",
        )
    if kept.size > max_slices:
        kept = kept[np.linspace(0, kept.size - 1, max_slices).round().astype(int)]
    pairs = []
    for index in kept:
        planes = [volume[..., index] for volume in (reference, image)]
        if mask is not None:
            planes = [np.where(mask[..., index], p, np.float32(0))[box] for p in planes]
        pairs.append(SlicePair(int(index), *planes))
    return pairs


def _bounding_box(plane: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
