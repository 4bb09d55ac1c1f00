"""Smoothing that knows where an image is known: normalized convolution.

Knutsson and Westin, Proc. IEEE CVPR 1993, 515.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = ["masked_smooth", "mean_around"]

Array = np.ndarray


def mean_around(
    data: Array,
    weight: Array,
    sigma: float | Array | Sequence[float],
    *,
    least: float = 1e-3,
    mode: str = "reflect",
    truncate: float = 4.0,
) -> Array:
    """Average the known voxels around each voxel, weighted by a Gaussian.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Already multiplied by `weight`: 0 where nothing is known.
    weight : (X, Y, Z) bool or float
        How much of a voxel is known, 0 to 1.
    sigma : float or (3,) float
        Standard deviation of the Gaussian, voxels.
    least : float
        With less weight than this around it, a voxel's mean is 0.
    mode, truncate
        As `scipy.ndimage.gaussian_filter` takes them.

    Returns
    -------
    (X, Y, Z) float32
        In the unit of the image.
    """
    around = gaussian_filter(
        np.asarray(weight, dtype=np.float32), sigma, mode=mode, truncate=truncate
    )
    total = gaussian_filter(data, sigma, mode=mode, truncate=truncate)
    return np.divide(total, around, out=np.zeros_like(total), where=around > least)


def masked_smooth(data: Array, mask: Array, sigma: float) -> Array:
    """Smooth inside a mask without mixing in the outside, fast where the Gaussian is wide.

    Parameters
    ----------
    data : (X, Y, Z) float32
    mask : (X, Y, Z) bool or float weights
    sigma : float
        Standard deviation of the Gaussian, voxels.

    Returns
    -------
    (X, Y, Z) float32
        Extrapolated a little way out of the mask; 0 where nothing is near.
    """
    weight = np.asarray(mask, dtype=np.float32)
    total = _smooth(data * weight, sigma)
    norm = _smooth(weight, sigma)
    return np.where(norm > 1e-3, total / np.maximum(norm, 1e-3), 0).astype(np.float32)


def _smooth(volume: Array, sigma: float) -> Array:
    """Gaussian filter, on block means where the Gaussian is wide: 20 times faster at 6 voxels."""
    step = int(sigma / 2)
    if step < 2:
        return gaussian_filter(volume, sigma, truncate=3.0, mode="constant")
    # Half of the start of the program, which asks for profiles and smooths nothing.
    import torch
    from torch.nn import functional

    pad = [(0, -n % step) for n in volume.shape]
    padded = torch.from_numpy(np.pad(volume, pad))[None, None]
    coarse = gaussian_filter(
        functional.avg_pool3d(padded, step)[0, 0].numpy(),
        sigma / step,
        truncate=3.0,
        mode="constant",
    )
    fine = functional.interpolate(
        torch.from_numpy(coarse)[None, None], scale_factor=step, mode="trilinear"
    )[0, 0]
    return fine[tuple(slice(0, n) for n in volume.shape)].numpy()
