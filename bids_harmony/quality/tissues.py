"""Grey matter, white matter and CSF of a scan, to see whether harmonization moved anatomy.

The segmentation is expectation maximisation with one smooth field (Van Leemput et al., IEEE Trans.
Med. Imaging 18:897, 1999) and the template's tissue maps as prior (Ashburner and Friston,
NeuroImage 26:839, 2005). The maps say which class is which, so any contrast will do. It is meant
for comparing two images of one head, not for volumetry. Research software, not for diagnosis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legvander3d
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter

from bids_harmony.exceptions import DataError
from bids_harmony.quality.distributions import density_curve, wasserstein

__all__ = [
    "TISSUE_NAMES",
    "TissueMap",
    "dice_per_class",
    "segment_tissues",
    "tissue_densities",
    "tissue_wasserstein",
    "volume_change",
]

#: Labels 1, 2 and 3, in the order of `reference_tissues`.
TISSUE_NAMES = ("gm", "wm", "csf")
_ITERATIONS = 15
_DEGREE = 3  # of the field, as the closed forms of harmonization have it
_NEIGHBOURS = 0.9  # log-odds that a voxel owes to its 27 neighbours if they agree
_FITTED_VOXELS = 40_000
_PERCENTILE = 99.5


@dataclass(frozen=True, eq=False)
class TissueMap:
    """Tissues of a scan.

    Attributes
    ----------
    labels : (X, Y, Z) uint8
        1 grey matter, 2 white matter, 3 CSF, 0 outside the brain.
    probabilities : (3, X, Y, Z) float32
        In the order of `TISSUE_NAMES`; they sum to 1 in the brain and are 0 outside.
    means : (3,) float64
        Intensity of each tissue with the field divided out, in the units of the image.
    """

    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    means: NDArray[np.float64]


def segment_tissues(data: NDArray, mask: NDArray[np.bool_], template: NDArray) -> TissueMap:
    """Divide the brain into grey matter, white matter and CSF.

    Parameters
    ----------
    data : (X, Y, Z) float
        T1w, T2w or FLAIR, any unit; a smooth receive field is allowed.
    mask : (X, Y, Z) bool
        The brain.
    template : (3, X, Y, Z) float
        Tissue fractions of the template on the grid of the scan (`reference_tissues` on the
        reference grid): grey matter, white matter, CSF.

    Returns
    -------
    TissueMap
        The same input gives the same bits.

    Raises
    ------
    DataError
        If shapes differ or the mask holds no positive signal.
    """
    data, mask = np.asarray(data), np.asarray(mask, dtype=bool)
    if data.shape != mask.shape or template.shape != (3, *mask.shape):
        raise DataError(
            "Image, mask and template tissues must be on one grid",
            expected=f"{data.shape}, {data.shape}, (3, {', '.join(map(str, data.shape))})",
            got=f"{data.shape}, {mask.shape}, {template.shape}",
        )
    scale = float(np.percentile(data[mask], _PERCENTILE)) if mask.any() else 0.0
    if not scale > 0:
        raise DataError("No positive signal inside the mask to segment", got=f"{scale:g}")
    signal = data[mask].astype(np.float64) / scale
    # Square root and floor: the average of many people must not overrule this one's intensities.
    prior = np.sqrt(np.clip(template[:, mask], 0, 1).astype(np.float64) + 0.02)
    prior /= prior.sum(axis=0)
    log_prior = np.log(prior)
    sure = prior**8 / (prior**8).sum(axis=0)
    means = sure @ signal / sure.sum(axis=1)
    spread = float(signal.std()) / 2

    basis = _polynomials(mask)
    fitted = slice(None, None, max(1, signal.size // _FITTED_VOXELS))
    log_signal = np.log(np.maximum(signal, 1e-3))
    log_field = np.zeros(signal.size)
    volume = np.zeros((3, *mask.shape), dtype=np.float32)
    inside = np.maximum(uniform_filter(mask.astype(np.float32), 3), 1e-3)[mask]
    neighbours = np.zeros((3, signal.size))
    for _ in range(_ITERATIONS):
        flat = signal * np.exp(-log_field)
        distance = (flat - means[:, None]) / spread
        odds = log_prior + neighbours - 0.5 * np.square(distance)
        share = np.exp(odds - odds.max(axis=0))
        share /= share.sum(axis=0)
        for tissue in range(3):
            volume[tissue][mask] = share[tissue]
            agreement = uniform_filter(volume[tissue], 3)[mask] / inside
            neighbours[tissue] = _NEIGHBOURS * agreement
        mass = share.sum(axis=1)
        means = share @ flat / mass
        # One spread for all classes: with their own, one class swallows another.
        residual = np.sum(share * np.square(flat - means[:, None]))
        spread = max(float(np.sqrt(residual / signal.size)), 1e-2)
        weight = np.square(means) @ share * (signal > 0.02)
        expected = log_signal - np.log(means @ share)
        log_field = _fit(basis, expected, weight, fitted)
    labels = np.zeros(mask.shape, dtype=np.uint8)
    labels[mask] = share.argmax(axis=0) + 1
    return TissueMap(labels, volume, means * scale)


def _polynomials(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Legendre products of total degree 0 to 3 at the voxels of the mask, (N, 20)."""
    points = 2 * np.argwhere(mask) / np.maximum(np.array(mask.shape) - 1, 1) - 1
    x, y, z = points.T
    products = legvander3d(x, y, z, [_DEGREE] * 3)
    total = np.indices((_DEGREE + 1,) * 3).sum(axis=0).ravel()
    return products[:, total <= _DEGREE]


def _fit(
    basis: NDArray[np.float64],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    fitted: slice,
) -> NDArray[np.float64]:
    """Weighted ridge fit without its constant, which belongs to the class means."""
    design, w = basis[fitted], weight[fitted]
    normal = (design * w[:, None]).T @ design + 1e-3 * w.sum() * np.eye(design.shape[1])
    coefficients = np.linalg.solve(normal, (design * w[:, None]).T @ value[fitted])
    return np.clip(basis[:, 1:] @ coefficients[1:], -1, 1)


def dice_per_class(first: NDArray, second: NDArray) -> dict[str, float]:
    """Overlap of two label maps, ``2 |A and B| / (|A| + |B|)`` (Dice 1945), per tissue.

    Parameters
    ----------
    first, second : (X, Y, Z) int
        Labels as in `TissueMap`.

    Returns
    -------
    dict
        Keys `TISSUE_NAMES`; 0 to 1, NaN where neither map has the tissue.

    Raises
    ------
    DataError
        If shapes differ.
    """
    _check_labels(first, second)
    scores = {}
    for label, name in enumerate(TISSUE_NAMES, start=1):
        a, b = first == label, second == label
        size = int(a.sum()) + int(b.sum())
        scores[name] = 2 * int((a & b).sum()) / size if size else float("nan")
    return scores


def volume_change(source: NDArray, output: NDArray) -> dict[str, float]:
    """Relative change of each tissue's volume, ``(output - source) / source``.

    Parameters
    ----------
    source, output : (3, X, Y, Z) float or (X, Y, Z) int
        Probabilities, which see changes of less than a voxel, or labels.

    Returns
    -------
    dict
        Keys `TISSUE_NAMES`; a fraction, NaN where the source lacks the tissue.

    Raises
    ------
    DataError
        If shapes differ.
    """
    _check_labels(source, output)
    changes = {}
    for index, name in enumerate(TISSUE_NAMES):
        before, after = (
            float(tissues[index].sum(dtype=np.float64))
            if tissues.ndim == 4
            else float((tissues == index + 1).sum())
            for tissues in (source, output)
        )
        changes[name] = (after - before) / before if before > 0 else float("nan")
    return changes


def tissue_wasserstein(
    first: NDArray,
    second: NDArray,
    first_labels: NDArray,
    second_labels: NDArray | None = None,
) -> dict[str, float]:
    """First Wasserstein distance of two scans' intensities, per tissue.

    Parameters
    ----------
    first, second : (X, Y, Z) float
        In one unit; the grids may differ.
    first_labels, second_labels : (X, Y, Z) int
        Labels of each; the second scan uses those of the first if it has none of its own.

    Returns
    -------
    dict
        Keys `TISSUE_NAMES`; in the unit of the scans, NaN where either lacks the tissue.

    Raises
    ------
    DataError
        If a scan and its labels differ in shape.
    """
    second_labels = first_labels if second_labels is None else second_labels
    _check_labels(first, first_labels)
    _check_labels(second, second_labels)
    distances = {}
    for label, name in enumerate(TISSUE_NAMES, start=1):
        here, there = first_labels == label, second[second_labels == label]
        some = bool(here.any()) and there.size > 0
        distances[name] = wasserstein(first, there, here) if some else float("nan")
    return distances


def tissue_densities(
    data: NDArray, labels: NDArray, grid: ArrayLike, *, bandwidth: float | None = None
) -> Mapping[str, NDArray[np.float64]]:
    """Kernel densities of the intensities of the brain and of each tissue on one grid.

    Parameters
    ----------
    data : (X, Y, Z) float
    labels : (X, Y, Z) int
        As in `TissueMap`.
    grid : (K,) array-like
        Increasing and even, in the unit of the data.
    bandwidth : float, optional
        As in `density_curve`.

    Returns
    -------
    mapping of str to (K,) float64
        Keys ``brain`` and those of `TISSUE_NAMES` that occur; per unit of the data, each with
        area 1.

    Raises
    ------
    DataError
        If shapes differ or no voxel is labelled.
    """
    _check_labels(data, labels)
    curves = {"brain": density_curve(data[labels > 0], grid, bandwidth=bandwidth)}
    for label, name in enumerate(TISSUE_NAMES, start=1):
        if (labels == label).any():
            curves[name] = density_curve(data[labels == label], grid, bandwidth=bandwidth)
    return curves


def _check_labels(first: NDArray, second: NDArray) -> None:
    if np.shape(first) != np.shape(second):
        raise DataError(
            "Tissues are not on one grid",
            expected=str(np.shape(first)),
            got=str(np.shape(second)),
        )
