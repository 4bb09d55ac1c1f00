"""Voxels in which nothing was measured: NaN, and the padding that other programs put there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bids_harmony.exceptions import ImageError

__all__ = ["Nothing", "check_not_negative", "find_nothing", "is_padding"]

LEAST_SHARE = 1e-3
"""Of the voxels; a margin of one voxel round a head is more, a chance minimum far less."""
MOST_BELOW = 0.05
"""Of signal, and of a brain; scans resampled by cubic splines have up to 0.02."""
LEAST_DEPTH = 0.05
"""Below zero, relative to the 99th percentile of what is not padding: a negative of no size is
noise, and does no harm to what is interpolated beside it."""


@dataclass(frozen=True, eq=False)
class Nothing:
    """Where an image holds no signal, and what it holds instead.

    Attributes
    ----------
    where : ndarray of bool
        Of the image's shape.
    value : float or None
        The padding; None where all of them are NaN.
    """

    where: np.ndarray
    value: float | None

    def record(self) -> dict[str, Any]:
        """For a sidecar."""
        value: float | str = "NaN" if self.value is None else self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return {"Value": value, "Voxels": int(np.count_nonzero(self.where))}


def is_padding(lowest: float, count: int, size: int, signal: np.ndarray) -> bool:
    """Whether the lowest value of an image is no signal but fills where nothing was measured.

    Resampling and CT-like tools pad with -1024, -32768 or -1e10. Magnitudes are not negative: one
    exact value far below zero that returns in many voxels, beside signal that is hardly ever
    below zero, is none. Where much is below zero, the image has an offset or was standardized, and
    no value of it is nothing.

    Parameters
    ----------
    lowest : float
        Lowest value of the image.
    count, size : int
        Voxels that have it, and voxels of the image.
    signal : ndarray (N,)
        The other values, or a fair part of them.
    """
    if not lowest < 0 or count < max(2, LEAST_SHARE * size) or not signal.size:
        return False
    below = np.count_nonzero(signal < 0) / signal.size
    return bool(below <= MOST_BELOW and -lowest >= LEAST_DEPTH * np.percentile(signal, 99))


def find_nothing(data: np.ndarray) -> Nothing | None:
    """Find the voxels without signal.

    Parameters
    ----------
    data : ndarray
        Intensities.

    Returns
    -------
    Nothing or None
        None where every voxel is a number and none is padding.
    """
    missing = np.isnan(data)
    lowest = float(np.fmin.reduce(data, axis=None))
    if -np.inf < lowest < 0:
        padded = data == lowest
        count = int(np.count_nonzero(padded))
        if is_padding(lowest, count, data.size, data[np.isfinite(data) & ~padded]):
            return Nothing(missing | padded, lowest)
    return Nothing(missing, None) if missing.any() else None


def check_not_negative(values: np.ndarray, where: str) -> float:
    """Refuse a brain whose intensities lie below zero; tell the share that do.

    The network's range starts at 0, where nothing was measured. A few values below are what
    splines leave at sharp edges.

    Parameters
    ----------
    values : ndarray (N,)
        Intensities in the brain.
    where : str

    Returns
    -------
    float

    Raises
    ------
    ImageError
    """
    share = np.count_nonzero(values < 0) / max(1, values.size)
    if share > MOST_BELOW:
        raise ImageError(
            "negative intensities in the brain",
            where=where,
            expected=f"magnitudes: at most {MOST_BELOW:.0%} of the brain below 0",
            got=f"{share:.0%}, down to {values.min():g} (median {np.median(values):g})",
            hint="A standardized image (z-scores), or one with an offset as CT has it: give the "
            "image before that step, or add back what was subtracted (`fslmaths IN -add N OUT`).",
        )
    return share
