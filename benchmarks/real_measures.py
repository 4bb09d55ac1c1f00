"""Measures of real slices: tissues, noise, tumours, and what is kept of people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.stats import median_abs_deviation, pearsonr

__all__ = ["linear", "noise_over_white", "tissue_ratios", "tumour_contrast", "within_sites"]

Array = np.ndarray

_FEWEST = 50
#: Tissues from dark to bright.
_ORDER = {"T1w": ("csf", "gm", "wm"), "T2w": ("wm", "gm", "csf"), "FLAIR": ("csf", "wm", "gm")}
#: Percentiles of the brain at which these are looked for: from other starts, two of the three end
#: in the long tail of CSF.
_START = {"T2w": (25, 60, 97), "FLAIR": (5, 35, 75)}


def tissue_ratios(data: Array, mask: Array, modality: str, *, seed: int = 0) -> dict[str, float]:
    """Grey matter and CSF over white matter, by a mixture of three normal distributions.

    It knows nothing of the template, and so is not what the methods themselves measure.

    Parameters
    ----------
    data : (X, Y, n) float
    mask : (X, Y, n) bool
    modality : {"T1w", "T2w", "FLAIR"}
        Says in which order the tissues come.
    seed : int

    Returns
    -------
    dict
        ``gm_wm``, ``csf_wm``, and ``noise`` over white matter.
    """
    from sklearn.mixture import GaussianMixture

    values = data[mask].astype(np.float64)[:, None] / np.percentile(data[mask], 99.5)
    start = None
    if modality in _START:
        start = np.percentile(values, _START[modality])[:, None]
    fitted = GaussianMixture(3, means_init=start, random_state=seed).fit(values)
    mean = dict(zip(_ORDER[modality], np.sort(fitted.means_.ravel()), strict=True))
    ranks = np.zeros(mask.shape, np.int8)
    ranks[mask] = 1 + np.argsort(np.argsort(fitted.means_.ravel()))[fitted.predict(values)]
    matter = ranks == 1 + _ORDER[modality].index("wm")
    return {
        "gm_wm": float(mean["gm"] / mean["wm"]),
        "csf_wm": float(mean["csf"] / mean["wm"]),
        "noise": noise_over_white(data, matter),
    }


def noise_over_white(data: Array, white: Array) -> float:
    """Noise inside white matter over its mean; NaN where too little of it is there.

    The spread (median absolute deviation) of voxels against the mean of their 3 x 3 neighbours,
    one voxel and more away from other tissues.
    """
    square = np.ones((3, 3, 1), bool)
    deep = ndimage.binary_erosion(white, square, iterations=2)
    if int(deep.sum()) < _FEWEST:
        return float("nan")
    # The mean holds a ninth of the voxel itself.
    rest = (data - ndimage.uniform_filter(data.astype(np.float64), (3, 3, 1))) / np.sqrt(8 / 9)
    return float(median_abs_deviation(rest[deep], scale="normal") / data[deep].mean())


def tumour_contrast(data: Array, mask: Array, tumour: Array) -> float:
    """Median of the tumour over that of the rest, minus 1; NaN where there is hardly a tumour."""
    if int((tumour & mask).sum()) < _FEWEST:
        return float("nan")
    return float(np.median(data[tumour & mask]) / np.median(data[mask & ~tumour]) - 1)


def linear(data: Array, known: Array, wanted: Array) -> Array:
    """Map `data` by the line of least squares from `known` to `wanted`, float32."""
    slope, start = np.polyfit(known, wanted, 1)
    return (slope * data + start).astype(np.float32)


def within_sites(before: Sequence[float], after: Sequence[float], sites: Sequence[str]) -> float:
    """Correlation of two measures of people, each less the mean of their site."""
    places = np.asarray(sites)
    left = []
    for values in (before, after):
        values = np.array(values, np.float64)
        for name in np.unique(places):
            values[places == name] -= values[places == name].mean()
        left.append(values)
    return float(pearsonr(*left).statistic)
