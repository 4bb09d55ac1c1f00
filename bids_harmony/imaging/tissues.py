"""Grey matter, white matter and CSF of a scan on the reference grid, with its smooth field.

The segmentation is expectation maximisation with one smooth field (Van Leemput et al., IEEE Trans.
Med. Imaging 18:897, 1999) and the template's tissue maps as prior (Ashburner and Friston,
NeuroImage 26:839, 2005). The maps say which class is which, so any contrast will do. It is meant
for intensities and for comparing images of one head, not for volumetry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.legendre import FIELD_TERMS, legendre_at
from bids_harmony.imaging.reference import reference_grid, reference_tissues

__all__ = [
    "LATTICE_MM",
    "TISSUE_NAMES",
    "CoarseTissues",
    "TissueMap",
    "segment_coarsely",
    "segment_tissues",
]

#: Labels 1, 2 and 3, in the order of `reference_tissues`.
TISSUE_NAMES = ("gm", "wm", "csf")
_ITERATIONS = 15
_NEIGHBOURS = 0.9  # log-odds that a voxel owes to its 27 neighbours if they agree
_FITTED_VOXELS = 40_000
_PERCENTILE = 99.5
_SURE = 0.9
#: Means and a smooth field need no finer lattice than about this.
LATTICE_MM = 4.0


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
    pure_means : (3,) float64
        The same over voxels that surely hold one tissue alone; `means` where there are none.
    field : (FIELD_TERMS,) float64
        Coefficients of the field's logarithm, see `log_field`; the first is 0.
    """

    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    means: NDArray[np.float64]
    pure_means: NDArray[np.float64]
    field: NDArray[np.float64]


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

    basis = legendre_at(mask)
    fitted = slice(None, None, max(1, signal.size // _FITTED_VOXELS))
    log_signal = np.log(np.maximum(signal, 1e-3))
    log_gain = np.zeros(signal.size)
    coefficients = np.zeros(FIELD_TERMS)
    volume = np.zeros((3, *mask.shape), dtype=np.float32)
    inside = np.maximum(uniform_filter(mask.astype(np.float32), 3), 1e-3)[mask]
    neighbours = np.zeros((3, signal.size))
    for _ in range(_ITERATIONS):
        flat = signal * np.exp(-log_gain)
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
        coefficients = _fit(basis, expected, weight, fitted)
        log_gain = np.clip(basis @ coefficients, -1, 1)
    labels = np.zeros(mask.shape, dtype=np.uint8)
    labels[mask] = share.argmax(axis=0) + 1
    sure = np.where(share > _SURE, share, 0)
    held = sure.sum(axis=1)
    pure = np.where(held > 1, sure @ flat / np.maximum(held, 1), means)
    return TissueMap(labels, volume, means * scale, pure * scale, coefficients)


@dataclass(frozen=True, eq=False)
class CoarseTissues:
    """Tissues of some voxels of a scan on the reference grid.

    Attributes
    ----------
    at : tuple of slice
        Which voxels: every so many along each axis.
    template : (3, x, y, z) float32
        Tissue fractions of the template there.
    tissues : TissueMap
        Of the scan there.
    """

    at: tuple[slice, slice, slice]
    template: NDArray[np.float32]
    tissues: TissueMap


def segment_coarsely(
    data: NDArray, mask: NDArray[np.bool_], voxel_mm: float, step: int | None = None
) -> CoarseTissues:
    """Segment a scan on the reference grid by a part of its voxels.

    Parameters
    ----------
    data : (X, Y, Z) float
    mask : (X, Y, Z) bool
    voxel_mm : float
        Spacing of the reference grid.
    step : int, optional
        Every so many voxels count; by default those of a lattice of about 4 mm.
    """
    step = step or max(1, round(LATTICE_MM / voxel_mm))
    at = (slice(None, None, step),) * 3
    template = reference_tissues(reference_grid(voxel_mm))[(slice(None), *at)]
    return CoarseTissues(at, template, segment_tissues(data[at], mask[at], template))


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
    coefficients[0] = 0
    return coefficients
