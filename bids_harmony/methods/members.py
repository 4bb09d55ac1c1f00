"""One change out of several networks': what all agree on, and how far their curves may be off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binned_statistic

__all__ = ["joined_change"]

Array = np.ndarray

#: Points of a change's curve over intensity, at even shares of the brain.
_POINTS = 10


def joined_change(changes: Sequence[Array], image: Array, mask: Array) -> Array:
    """Join the changes that several networks would make to one scan.

    Each change is split into its curve, its mean at each intensity of the scan, and the rest:
    fields, detail, noise. The rest is averaged. The curve decides what becomes of intensities that
    few voxels have, such as lesions, and where one or two people show a site, two networks may
    bend it by as much as a lesion's contrast. How far their curves are apart tells how far the
    mean of these may be off; less that share of it, it is closer to the truth on average (positive
    part of James & Stein 1961, Proc. 4th Berkeley Symp. 1:361).

    Parameters
    ----------
    changes : sequence of (X, Y, Z) float32
        In units of the scan.
    image : (X, Y, Z) float32
        What is changed.
    mask : (X, Y, Z) bool
        Brain; nothing outside it tells anything.

    Returns
    -------
    (X, Y, Z) float32
        The mean of all with less of its curve. Of one change, and in an empty mask, the mean.
    """
    mean = np.asarray(np.mean(changes, axis=0, dtype=np.float32))
    if len(changes) < 2 or not mask.any():
        return mean
    values = image[mask].astype(np.float64)
    curves = _curves(values, [change[mask].astype(np.float64) for change in changes])
    common = np.mean(curves, axis=0)
    own_error = sum(_square(curve - common) for curve in curves)
    own_error /= (len(curves) - 1) * len(curves)
    size = _square(common)
    kept = max(0.0, 1 - own_error / size) if size else 1.0
    joined = mean.copy()
    joined[mask] -= ((1 - kept) * common).astype(np.float32)
    return joined


def _curves(values: Array, changes: Sequence[Array]) -> list[Array]:
    """Mean of each change at the intensity of each voxel, by lines between points; (N,) each."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _POINTS + 1)))
    if len(edges) < 2:
        return [np.full(values.shape, change.mean()) for change in changes]
    found = binned_statistic(values, [values, *changes], bins=edges).statistic
    at, *means = found[:, np.isfinite(found[0])]
    return [np.interp(values, at, by) for by in means]


def _square(values: Array) -> float:
    """Mean square."""
    return float(np.square(values).mean())
