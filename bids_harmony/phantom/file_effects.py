"""What vendors' software and file formats do to an image after it was acquired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfftn, next_fast_len, rfftn
from scipy.ndimage import gaussian_filter

__all__ = ["FileEffects", "filtered", "stored"]

Array = np.ndarray

#: An unsharp mask works on detail finer than this, in voxels.
_UNSHARP_VOXELS = 1.0


@dataclass(frozen=True)
class FileEffects:
    """What becomes of an image between the coil and the file; the defaults do nothing.

    Attributes
    ----------
    bias_correction : float
        Share of the receive field's logarithm that the vendor divides out ("prescan normalize"):
        what is left is the residual. Noise becomes stronger where the coil sees little.
    matrix : (3,) float
        Acquired matrix over the stored one, along each axis: below 1 the vendor interpolated by
        zero-filling.
    elliptical : bool
        The corners of k-space were not acquired, or filtered off.
    unsharp : float
        Strength of the vendor's filter on the finished image; 0 is none.
    saturation : float
        Largest value that the file can hold, over the brightest tissue's; 0 is no limit.
    bits : int
        Whole numbers up to 2 to this power, from 0 to the largest value; 0 is exact.
    per_slice : bool
        Every slice was scaled to whole numbers by itself.
    """

    bias_correction: float = 0.0
    matrix: tuple[float, float, float] = (1.0, 1.0, 1.0)
    elliptical: bool = False
    unsharp: float = 0.0
    saturation: float = 0.0
    bits: int = 0
    per_slice: bool = False


def filtered(image: Array, effects: FileEffects) -> Array:
    """Cut k-space and apply the vendor's filter.

    Parameters
    ----------
    image : (X, Y, Z) float32
        Magnitude, noise included.
    effects : FileEffects

    Returns
    -------
    (X, Y, Z) float32
        Not negative.
    """
    if effects.elliptical or min(effects.matrix) < 1:
        image = np.maximum(_low_pass(image, effects), 0)
    if effects.unsharp:
        detail = image - gaussian_filter(image, _UNSHARP_VOXELS, truncate=3.0)
        image = np.maximum(image + np.float32(effects.unsharp) * detail, 0)
    return image


def _low_pass(image: Array, effects: FileEffects) -> Array:
    shape = [next_fast_len(n, real=True) for n in image.shape]
    axes = np.ix_(*[np.fft.fftfreq(n) for n in shape[:2]], np.fft.rfftfreq(shape[2]))
    back = irfftn(rfftn(image, shape) * _held(axes, effects), shape)
    return back[tuple(slice(0, n) for n in image.shape)].astype(np.float32)


def _held(axes: tuple[Array, ...], effects: FileEffects) -> Array:
    """Which frequencies were acquired; `axes` in cycles a voxel, each along its own axis."""
    # 1 at the edge of the acquired matrix.
    reach = [np.abs(f) / (0.5 * m) for f, m in zip(axes, effects.matrix, strict=True)]
    held = (reach[0] <= 1) & (reach[1] <= 1) & (reach[2] <= 1)
    if effects.elliptical:
        held = held & (reach[0] ** 2 + reach[1] ** 2 + reach[2] ** 2 <= 1)
    return held


def stored(image: Array, bright: float, effects: FileEffects) -> Array:
    """Clip and round an image as its file does.

    Parameters
    ----------
    image : (X, Y, Z) float32
        Not negative; slices are across the last axis.
    bright : float
        The brightest tissue's value, in the units of the image.
    effects : FileEffects

    Returns
    -------
    (X, Y, Z) float32
        In the same units.
    """
    if effects.saturation:
        image = np.minimum(image, np.float32(effects.saturation * bright))
    if effects.bits:
        largest = image.max(axis=(0, 1) if effects.per_slice else None, keepdims=True)
        step = np.maximum(largest, np.finfo(np.float32).tiny) / np.float32(2**effects.bits - 1)
        image = np.round(image / step) * step
    return image.astype(np.float32)
