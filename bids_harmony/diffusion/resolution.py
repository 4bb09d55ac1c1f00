"""How blurred a series is, seen in the spectrum of its mean b=0, and a filter that blurs it more.

A Gaussian point spread of variance v takes 4 pi^2 f^2 v from the logarithm of the power at the
frequency f. Heads have alike spectra, so that the slope of the logarithm over -4 pi^2 f^2 tells
scanners apart; contrast moves the whole of it and leaves the slope. By itself a slope says little:
differences of sites do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import nibabel as nib
import numpy as np
from scipy import fft, ndimage, special

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import Series

__all__ = ["blurred_series", "Sharpener", "spectral_blur"]

Array = np.ndarray

EDGES = np.arange(0.04, 0.19, 0.02)
"""Bands of frequencies, 1/mm: coarser is the shape of the head, finer is not in all series."""
EDGE_MM, RAMP_MM = 2.0, 8.0
"""The window begins so far within the brain and has risen after so much more: the edge of a mask
is sharp in every scan."""
FEWEST_FREQUENCIES = 10
"""Fewer in a band say nothing: a slab."""
KERNEL_LEFT = 1e-3
"""Share of the filter's kernel that may be cut off."""


def spectral_blur(series: Series, gradients: Gradients, mask: Array) -> Array:
    """Measure the blur of a series along each axis, up to what all heads have in common.

    Parameters
    ----------
    series : Series
    gradients : Gradients
    mask : (X, Y, Z) bool
        Brain, in the voxel order of the series.

    Returns
    -------
    (3,) float64
        mm^2, along the axes of the grid that are next to R, A and S, of which each is seen in
        the frequencies within 45 degrees of it; NaN where voxels are too large or too few.
    """
    found = np.full(3, np.nan)
    edges_mm = np.linalg.norm(series.affine[:3, :3], axis=0)
    box = tuple(slice(n.min(), n.max() + 1) for n in np.nonzero(mask)) if mask.any() else ()
    if not box or (2 * edges_mm * EDGES[-1] > 1).all():
        return found
    inside = np.pad(mask[box], 1)
    depth = ndimage.distance_transform_edt(inside, sampling=edges_mm)[1:-1, 1:-1, 1:-1]
    window = 0.5 - 0.5 * np.cos(np.pi * np.clip((depth - EDGE_MM) / RAMP_MM, 0, 1))
    if not window.any():
        return found
    power = _power_of_mean(series, gradients, box, window.astype(np.float32))
    squared = np.meshgrid(
        *(
            np.square(fft.fftfreq(n, mm))
            for n, mm in zip(power.shape, edges_mm, strict=True)
        ),
        indexing="ij",
        sparse=True,
    )  # fmt: skip
    total = squared[0] + squared[1] + squared[2]
    for axis, world in enumerate(_world_axes(series)):
        if 2 * edges_mm[axis] * EDGES[-1] <= 1:
            near = np.broadcast_to(squared[axis] > total / 2, total.shape)
            found[world] = _slope(power[near], total[near])
    return found


def _power_of_mean(series: Series, gradients: Gradients, box: tuple, window: Array) -> Array:
    """Power of the windowed mean b=0 without that of noise, (X, Y, Z) of the box."""
    volumes = np.flatnonzero(gradients.b0)
    halves = [np.zeros(window.shape, np.float32) for _ in range(2)]
    for place, volume in enumerate(volumes):
        halves[place % 2] += series.signal(np.s_[..., int(volume)])[box]
    power = _power(halves[0] + halves[1], window) / len(volumes) ** 2
    if len(volumes) > 1:
        counts = [len(volumes[half::2]) for half in range(2)]
        difference = halves[0] / counts[0] - halves[1] / counts[1]
        noise = _power(difference, window) / (1 / counts[0] + 1 / counts[1])
        power -= noise / len(volumes)
    return power


def _power(image: Array, window: Array) -> Array:
    level = np.average(image, weights=window)
    return np.square(np.abs(fft.fftn((image - np.float32(level)) * window)))


def _slope(power: Array, squared: Array) -> float:
    """Slope of the logarithm of the mean power of each band; NaN where one shows nothing."""
    band = np.searchsorted(np.square(EDGES), squared, side="right")
    means = []
    for number in range(1, len(EDGES)):
        own = power[band == number]
        if len(own) < FEWEST_FREQUENCIES or own.mean() <= 0:
            return float("nan")
        means.append(own.mean())
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    return float(np.polyfit(-4 * np.pi**2 * np.square(middle), np.log(means), 1)[0])


def blurred_series(series: Series, mask: Array, variance: Array) -> Series:
    """Blur all volumes by a Gaussian, in the brain alone.

    Parameters
    ----------
    series : Series
    mask : (X, Y, Z) bool
        Brain, in the voxel order of the series; what is outside stays, and is not mixed in.
    variance : (3,) float
        Of the Gaussian along the axes next to R, A and S, mm^2, 0 or more.

    Returns
    -------
    Series
        With voxels of its own. What was not measured, or is 0, stays so and does not count; what
        was above 0 stays so.
    """
    edges_mm = np.linalg.norm(series.affine[:3, :3], axis=0)
    along = np.asarray(variance)[_world_axes(series)] / np.square(edges_mm)
    box = tuple(slice(n.min(), n.max() + 1) for n in np.nonzero(mask))
    inside, raw = mask[box], series.raw.copy()
    whole = _smooth(inside.astype(np.float32), along)
    for volume in range(raw.shape[3]):
        part: Any = (*box, volume)
        old = series.signal(part)
        known = inside & (old != 0)
        weight = whole if known.sum() == inside.sum() else _smooth(known.astype(np.float32), along)
        new = _smooth(np.where(known, old, 0), along)[known] / weight[known]
        raw[part][known] = _stored(series, new, series.raw[part][known])
    return replace(series, raw=raw)


def _stored(series: Series, new: Array, raw: Array) -> Array:
    """New signals in the type of the old voxels; these stay where they would be lost."""
    stored = (new - series.intercept) / series.slope
    if raw.dtype.kind != "f":
        limits = np.iinfo(raw.dtype)
        stored = np.clip(np.rint(stored), limits.min, limits.max)
    stored = stored.astype(raw.dtype)
    # Rounded to nothing, it would count as not measured.
    lost = (stored * series.slope + series.intercept <= 0) & (
        raw * series.slope + series.intercept > 0
    )
    return np.where(lost, raw, stored)


@dataclass(frozen=True, eq=False)
class Sharpener:
    """Undoes some of a Gaussian blur: what a blur more would take away is added.

    This is the first step of van Cittert (1931, Z Phys 69:298): what the blur took whole stays
    lost, and nothing grows to more than twice.

    Attributes
    ----------
    along : (3,) float
        Variance of the blur along the axes of the grid, in squared voxels.
    """

    along: Array

    @classmethod
    def of(cls, series: Series, variance: Array) -> Sharpener:
        """Make one for a series and a variance along the axes next to R, A and S, mm^2."""
        edges_mm = np.linalg.norm(series.affine[:3, :3], axis=0)
        return cls(np.asarray(variance)[_world_axes(series)] / np.square(edges_mm))

    def __call__(self, values: Array, inside: Array) -> Array:
        """Sharpen an image.

        Parameters
        ----------
        values : (V,) float32
        inside : (X, Y, Z) bool
            Where they lie; what is outside is not mixed in.
        """
        image = np.zeros(inside.shape, np.float32)
        image[inside] = values
        near = _smooth(image, self.along)[inside]
        whole = _smooth(inside.astype(np.float32), self.along)[inside]
        return np.asarray(2 * values - near / whole)


def _smooth(image: Array, variances: Array) -> Array:
    """Filter by the discrete Gaussian, whose variance is right however narrow it is.

    Lindeberg 1990, IEEE Trans Pattern Anal Mach Intell 12:234.
    """
    for axis, variance in enumerate(variances):
        if variance > 0:
            half = special.ive(np.arange(20), variance)
            reach = 1 + int(np.argmax(1 - half[0] - 2 * np.cumsum(half[1:]) < KERNEL_LEFT))
            kernel = np.concatenate([half[reach:0:-1], half[: reach + 1]])
            image = ndimage.correlate1d(
                image, kernel / kernel.sum(), axis=axis, mode="constant", output=np.float32
            )
    return image


def _world_axes(series: Series) -> Array:
    """The world axis, 0 to 2 for R, A and S, that each axis of the grid is next to."""
    return nib.io_orientation(series.affine)[:, 0].astype(int)
