"""Intensity landmarks and the piecewise linear map between two sets of them."""

from __future__ import annotations

import numpy as np

__all__ = ["LANDMARK_PERCENTILES", "landmark_map", "landmarks"]

Array = np.ndarray

#: Nyul and Udupa 1999 deciles with the ends of Shinohara et al. 2014.
LANDMARK_PERCENTILES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
#: Vessels and fat lie beyond the last landmark: a steep end must not blow them up.
_END_SLOPES = (0.25, 2.0)


def landmarks(data: Array, mask: Array) -> Array:
    """Give the intensity landmarks of the foreground.

    Parameters
    ----------
    data : (X, Y, Z) float
    mask : (X, Y, Z) bool

    Returns
    -------
    (11,) float64
        Percentiles `LANDMARK_PERCENTILES`, made strictly increasing.
    """
    points = np.percentile(data[mask], LANDMARK_PERCENTILES).astype(np.float64)
    return np.maximum.accumulate(points + 1e-9 * np.arange(points.size))


def landmark_map(data: Array, source: Array, target: Array) -> Array:
    """Map intensities piecewise linearly from source to target landmarks.

    Beyond the ends the slope of the outermost segments goes on (Nyul and Udupa 1999), kept between
    0.25 and 2; the result is never negative. Equal landmarks give the input, bit for bit.

    Parameters
    ----------
    data : array of float
    source, target : (K,) float
        Increasing landmarks.

    Returns
    -------
    array of float32
        Monotone in `data`.
    """
    if np.array_equal(source, target):
        return np.asarray(data, dtype=np.float32)
    rise = np.diff(target) / np.maximum(np.diff(source), 1e-6)
    low, high = np.clip(rise[[0, -1]], *_END_SLOPES)
    mapped = np.interp(data, source, target)
    mapped += low * np.minimum(data - source[0], 0) + high * np.maximum(data - source[-1], 0)
    return np.maximum(mapped, 0).astype(np.float32)
