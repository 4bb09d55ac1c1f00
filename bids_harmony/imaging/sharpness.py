"""How blurred a scan is along each axis, and a filter that blurs it more.

Squared differences between voxels so far apart (a variogram) grow with the distance as edges
allow: slowly where the scan is blurred. Noise adds the same to all of them, and is told by deep
white matter, which has no edges. For a straight edge blurred by a Gaussian of standard deviation s
the mean squared difference at distance k is proportional to

    2 [k (Phi(k / (s sqrt 2)) - 1/2) - s sqrt 2 (phi(0) - phi(k / (s sqrt 2)))],

the double integral of the autocorrelation of the edge's derivative. The ratio of a short distance
to a long one gives s. Cortex and sulci are no straight edges, so s alone says little; the
difference between two scanners says by how much one is smoother than the other.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import uniform_filter

from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.imaging.smoothing import masked_smooth

__all__ = ["blur_edges", "edge_blur"]

Array = np.ndarray

#: Distances that are compared, mm: a voxel or two, and about the width of a gyrus.
_NEAR_MM, _FAR_MM = 2.0, 6.0
#: Lines of voxels this far apart are looked at: a few ten thousand pairs tell as much as all.
_LINES_MM = 4.0
#: Variances (mm^2) that a scan can show; a scan sharper than an edge of no width is below 0.
_LEAST_BLUR, _MOST_BLUR = -1.5, 9.0
#: mm^2 per unit of the ratio below 0: the slope at small variances goes on.
_BEYOND = 15.0
#: Fewer pairs of voxels say nothing.
_FEWEST = 200
#: Deep white matter: so much of the template's, and tissue that looks like it.
_DEEP, _LIKE_WHITE = 0.9, 0.3
_FILL_MM = 3.0


def edge_blur(tissue: Array, mask: Array, white: float, voxel_mm: float) -> Array:
    """Measure the blur of a scan's edges along each axis.

    Parameters
    ----------
    tissue : (X, Y, Z) float32
        Intensities in units of tissues: neighbouring tissues 1 apart, so that contrast does not
        count.
    mask : (X, Y, Z) bool
        On the reference grid.
    white : float
        White matter in the same units.
    voxel_mm : float

    Returns
    -------
    (3,) float64
        Variance of the blur, mm^2, from -1.5 to 9; NaN where too few voxels tell.
    """
    deep = _deep_white(tissue, mask, white, voxel_mm)
    near, far = (max(1, round(mm / voxel_mm)) for mm in (_NEAR_MM, _FAR_MM))
    found, apart = np.full(3, np.nan), max(1, round(_LINES_MM / voxel_mm))
    for axis in range(3):
        lines = [slice(None, None, apart)] * 3
        lines[axis] = slice(None)
        along, inside, white_alone = (a[tuple(lines)] for a in (tissue, mask, deep))
        short, long = (
            _squared_steps(along, inside, axis, lag)
            - _squared_steps(along, white_alone, axis, lag)
            for lag in (near, far)
        )
        if np.isfinite([short, long]).all() and long > 0:
            found[axis] = _variance(short / long, near * voxel_mm, far * voxel_mm)
    return found


def blur_edges(data: Array, mask: Array, variance: Array, voxel_mm: float) -> Array:
    """Blur a scan by a Gaussian along each axis, in the brain alone.

    Parameters
    ----------
    data : (X, Y, Z) float32
    mask : (X, Y, Z) bool
        Nothing outside is mixed in.
    variance : (3,) float
        Of the Gaussian along each axis, mm^2, 0 or more.
    voxel_mm : float

    Returns
    -------
    (X, Y, Z) float32
        0 outside the mask; the input itself where there is nothing to do.
    """
    if not np.any(variance):
        return data
    filled = np.where(mask, data, masked_smooth(data, mask, _FILL_MM / voxel_mm))
    # By frequencies: a Gaussian cut off at a voxel or two would blur less than it says.
    spectrum = dctn(filled.astype(np.float64), norm="ortho")
    axes = np.ix_(*(np.arange(n) / (2 * n * voxel_mm) for n in data.shape))
    for f, added in zip(axes, variance, strict=True):
        spectrum *= np.exp(-2 * np.square(np.pi * f) * added)
    blurred = idctn(spectrum, norm="ortho")
    return np.where(mask, np.maximum(blurred, 0), 0).astype(np.float32)


def _deep_white(tissue: Array, mask: Array, white: float, voxel_mm: float) -> Array:
    template = reference_tissues(reference_grid(voxel_mm))[1]
    like = np.abs(uniform_filter(tissue, 3) - white) < _LIKE_WHITE
    return np.asarray((template > _DEEP) & mask & like)


def _squared_steps(data: Array, inside: Array, axis: int, lag: int) -> float:
    """Mean squared difference of voxels `lag` apart that both lie inside; NaN for too few."""
    first = [slice(None)] * 3
    second = [slice(None)] * 3
    first[axis], second[axis] = slice(None, -lag), slice(lag, None)
    both = inside[tuple(first)] & inside[tuple(second)]
    if np.count_nonzero(both) < _FEWEST:
        return float("nan")
    step = data[tuple(second)][both].astype(np.float64) - data[tuple(first)][both]
    return float(np.mean(np.square(step)))


def _variance(ratio: float, near_mm: float, far_mm: float) -> float:
    variances, ratios = _edge_ratios(near_mm, far_mm)
    if ratio >= ratios[0]:
        return float(max(_BEYOND * (ratios[0] - ratio), _LEAST_BLUR))
    return float(np.interp(-ratio, -ratios, variances))


@lru_cache(maxsize=8)
def _edge_ratios(near_mm: float, far_mm: float) -> tuple[Array, Array]:
    # A fifth of the imports of a plan, which measures no scan.
    from scipy.stats import norm

    variances = np.linspace(0, _MOST_BLUR, 181)
    width = np.sqrt(2 * np.maximum(variances, 1e-6))

    def steps(lag: float) -> Array:
        scaled = lag / width
        return np.asarray(
            lag * (norm.cdf(scaled) - 0.5) - width * (norm.pdf(0) - norm.pdf(scaled))
        )

    return variances, steps(near_mm) / steps(far_mm)
