"""Closed forms of harmonization: smooth ratio fields, maps between sites, low-order bias fits.

All arrays live on the reference grid and are scaled by their scan (`Prepared`): no unit, about 0
to 1 inside the brain.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.legendre import legendre_products
from bids_harmony.imaging.smoothing import masked_smooth

__all__ = [
    "SMOOTHING_MM",
    "low_order_fit",
    "ratio_field",
    "relative_map",
]

Array = np.ndarray

#: Correlation length of what counts as a field and not as anatomy: wider than a gyrus.
SMOOTHING_MM = 12.0
_FLOOR = 1e-3
#: Rounds of `relative_map`.
_ITERATIONS = 4
#: Of `low_order_fit`: total degree of the polynomials, and pull towards no field relative to the
#: number of voxels.
_DEGREE, _RIDGE = 3, 1e-3
_FITTED_VOXELS = 40_000


def ratio_field(numerator: Array, denominator: Array, mask: Array, voxel_mm: float) -> Array:
    """Give the smooth ratio of two images, 1 outside the mask.

    Parameters
    ----------
    numerator, denominator : (X, Y, Z) float32
    mask : (X, Y, Z) bool
    voxel_mm : float

    Returns
    -------
    (X, Y, Z) float32
    """
    sigma = SMOOTHING_MM / voxel_mm
    top = masked_smooth(numerator, mask, sigma)
    bottom = masked_smooth(denominator, mask, sigma)
    ratio = np.clip(top / np.maximum(bottom, _FLOOR), 0.2, 5.0)
    return np.where(mask, ratio, 1).astype(np.float32)


def relative_map(
    source_landmarks: Array,
    source_mean: Array,
    target_landmarks: Array,
    target_mean: Array,
    mask: Array,
    voxel_mm: float,
) -> tuple[Array, Array]:
    """Solve for the intensity map and the field that turn one site's look into another's.

    Alternates a landmark map from the source site to the target site divided by the field, and the
    smooth ratio of the target's mean image to the mapped mean image of the source.

    Parameters
    ----------
    source_landmarks, target_landmarks : (11,) float
        Site averages.
    source_mean, target_mean : (X, Y, Z) float32
        Mean images of the sites on the reference grid.
    mask : (X, Y, Z) bool
        Where both means are known.
    voxel_mm : float

    Returns
    -------
    mapped_landmarks : (11,) float64
        Target ends of the landmark map; `source_landmarks` themselves for equal sites.
    field : (X, Y, Z) float32
        Multiply the mapped image by it; exactly 1 for equal sites.
    """
    field = np.ones(source_mean.shape, dtype=np.float32)
    if np.array_equal(source_landmarks, target_landmarks) and np.array_equal(
        source_mean, target_mean
    ):
        return np.asarray(source_landmarks, dtype=np.float64), field
    plain = landmarks(target_mean, mask)
    mapped_landmarks = np.asarray(target_landmarks, dtype=np.float64)
    for _ in range(_ITERATIONS):
        # The target's landmarks without its field, relative to the source's: the mean image tells
        # by how much the field moves each percentile.
        unfielded = landmarks(target_mean / field, mask)
        mapped_landmarks = target_landmarks * (unfielded / np.maximum(plain, _FLOOR))
        mapped_landmarks = np.maximum.accumulate(mapped_landmarks + 1e-9 * np.arange(11))
        mapped = landmark_map(source_mean, source_landmarks, mapped_landmarks)
        field = ratio_field(target_mean, mapped, mask, voxel_mm)
    return mapped_landmarks, field


@lru_cache(maxsize=4)
def _polynomials(shape: tuple[int, int, int], degree: int) -> Array:
    """Legendre products of total degree up to `degree`, one row each, on [-1, 1]^3."""
    rows = [product for _, product in legendre_products(shape, degree)]
    table = np.stack(rows).reshape(len(rows), -1)
    table.setflags(write=False)
    return table


def low_order_fit(scan: Array, site_mean: Array, mask: Array) -> Array:
    """Fit the scan's own field: a polynomial in log(scan / mean image of its site).

    Robust against anatomy that differs: three rounds of reweighting with Tukey's bisquare.

    Parameters
    ----------
    scan, site_mean : (X, Y, Z) float32
    mask : (X, Y, Z) bool

    Returns
    -------
    (X, Y, Z) float32
        Multiplicative field, 1 outside the mask.
    """
    inside = (mask & (scan > 0.05) & (site_mean > 0.05)).ravel()
    # A few ten thousand voxels determine twenty coefficients just as well as all.
    picked = np.flatnonzero(inside)
    picked = picked[:: max(1, picked.size // _FITTED_VOXELS)]
    field = np.ones(scan.shape, dtype=np.float32)
    if picked.size < 1000:
        return field
    basis = _polynomials(scan.shape, _DEGREE)
    design = basis[:, picked].astype(np.float64)
    value = np.log(scan.ravel()[picked].astype(np.float64) / site_mean.ravel()[picked])
    weight = np.ones_like(value)
    coefficients = np.zeros(len(design))
    for _ in range(3):
        normal = (design * weight) @ design.T + _RIDGE * picked.size * np.eye(len(design))
        coefficients = np.linalg.solve(normal, (design * weight) @ value)
        residual = value - coefficients @ design
        width = 4.685 * 1.4826 * np.median(np.abs(residual)) + 1e-6
        weight = np.square(1 - np.square(np.clip(residual / width, -1, 1)))
    log_field = (coefficients.astype(np.float32) @ basis).reshape(scan.shape)
    return np.where(mask, np.exp(np.clip(log_field, -1, 1)), 1).astype(np.float32)
