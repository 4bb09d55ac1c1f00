"""Between the signal and the stored image: receive field, sharpness and thick slices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from bids_harmony.imaging.legendre import legendre_products

__all__ = ["Detail", "bias_field", "sharpen", "thicken"]

Array = np.ndarray

#: Full width at half maximum of a Gaussian, in standard deviations.
_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


@dataclass(frozen=True)
class Detail:
    """Noise, sharpness and slices of one modality's scans.

    Attributes
    ----------
    noise, sharpness_mm, thick_mm : float
        As in `scanner.Scanner`.
    """

    noise: float
    sharpness_mm: float
    thick_mm: float = 0.0


def bias_field(grid_shape: tuple[int, int, int], mask: Array, seed: list[int]) -> Array:
    """Draw a smooth log-field: Legendre polynomials of total degree 1 to 3, unit variance in mask.

    Parameters
    ----------
    grid_shape : (3,) int
    mask : (X, Y, Z) bool
    seed : list of int

    Returns
    -------
    (X, Y, Z) float32
        Zero mean and unit standard deviation inside the mask; no unit.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(grid_shape, dtype=np.float32)
    for degree, product in legendre_products(grid_shape, 3):
        if degree > 0:
            total += rng.normal() / degree * product
    inside = total[mask]
    return (total - inside.mean()) / (inside.std() + 1e-9)


def sharpen(image: Array, sharpness_mm: float, voxel_mm: float) -> Array:
    """Blur, or sharpen by an unsharp mask, as `Scanner.sharpness_mm` says."""
    if math.isclose(sharpness_mm, 0.0, abs_tol=1e-3):
        return image
    if sharpness_mm > 0:
        return gaussian_filter(image, sharpness_mm / voxel_mm * 1.3, truncate=3.0)
    blurred = gaussian_filter(image, 1.0 / min(voxel_mm, 1.5), truncate=3.0)
    return np.maximum(image + abs(sharpness_mm) * (image - blurred), 0)


def thicken(image: Array, thick_mm: float, axis: int, voxel_mm: float) -> Array:
    """Blur across slices of so many mm (full width at half maximum)."""
    if thick_mm <= 0:
        return image
    return gaussian_filter1d(image, thick_mm / _FWHM / voxel_mm, axis=axis, truncate=3.0)
