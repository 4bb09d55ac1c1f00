"""Intensities on a scale that all scanners share: tissues stand at fixed places on it."""

from __future__ import annotations

import numpy as np

__all__ = ["CURVE_LEVELS", "anchored", "standard_quantiles"]

Array = np.ndarray

#: Levels of a scan's curve: close together at the ends, where field of view and vessels count.
CURVE_LEVELS = np.concatenate(
    [[0.005, 0.01, 0.02], np.linspace(0.04, 0.96, 24), [0.98, 0.99, 0.995]]
)
#: Shares of grey matter, white matter and CSF that every brain is taken to have.
_SHARES = np.array([0.5, 0.35, 0.15])
#: Places closer than this cannot be told apart.
_APART = 0.02


def anchored(data: Array, source: Array, goal: Array) -> Array:
    """Map intensities piecewise linearly between anchors, and 0 to 0.

    Beyond the last anchor intensities keep their ratio to it.

    Parameters
    ----------
    data : array of float
        Not negative.
    source, goal : (K,) float
        Increasing, above 0; closer ones are moved apart by 0.02.

    Returns
    -------
    array of float64
        Increasing in `data`.
    """
    start, end = (_increasing(np.concatenate([[0.0], anchors])) for anchors in (source, goal))
    mapped = np.interp(data, start, end)
    return np.asarray(mapped + end[-1] / start[-1] * np.maximum(data - start[-1], 0))


def _increasing(anchors: Array) -> Array:
    """Each at least so far above the one before."""
    steps = _APART * np.arange(len(anchors))
    return np.asarray(np.maximum.accumulate(anchors - steps) + steps)


def standard_quantiles(flat: Array, probabilities: Array) -> Array:
    """Quantiles of intensities as if every brain held as much of each tissue.

    Quantiles of a brain move with the size of its ventricles; these do not.

    Parameters
    ----------
    flat : (V,) float
        Intensities without the field.
    probabilities : (3, V) float
        Of grey matter, white matter and CSF.

    Returns
    -------
    (len(CURVE_LEVELS),) float64
        In the units of `flat`.
    """
    share = np.maximum(probabilities.mean(axis=1), 1e-3)
    weight = (_SHARES / share) @ probabilities
    order = np.argsort(flat, kind="stable")
    level = np.cumsum(weight[order])
    level = (level - weight[order] / 2) / level[-1]
    return np.interp(CURVE_LEVELS, level, flat[order]).astype(np.float64)
