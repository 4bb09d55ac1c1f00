"""A scan made ready for the network: reference grid, brain only, unit scale."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.nothing import check_not_negative
from bids_harmony.imaging.resampling import resample_to_grid
from bids_harmony.imaging.smoothing import mean_around
from bids_harmony.imaging.volume import Volume
from bids_harmony.io.remarks import remark

__all__ = ["Prepared", "prepare"]

_log = logging.getLogger(__name__)

WORTH_SAYING = 0.01
"""Share of a brain below zero; less is what cubic splines leave at its edge."""
HOLE_MM = 2.0
"""Standard deviation of the Gaussian that fills a hole from its surroundings."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan on the reference grid.

    Attributes
    ----------
    data : ndarray (Xr, Yr, Zr) float32
        Native intensity / `scale`, never negative, exactly 0 outside `mask`, *not* clipped at 1.
    mask : ndarray (Xr, Yr, Zr) bool
        Brain.
    scale : float
        q, in the scan's own units (`intensity.robust_scale`).
    world : ndarray (4, 4)
        Native RAS+ mm to reference RAS+ mm.
    grid : ReferenceGrid
    """

    data: np.ndarray
    mask: np.ndarray
    scale: float
    world: np.ndarray
    grid: ReferenceGrid


def prepare(
    volume: Volume,
    mask: BrainMask,
    world: np.ndarray,
    grid: ReferenceGrid,
) -> Prepared:
    """Resample once, scale by one number, keep the brain.

    Parameters
    ----------
    volume : Volume
    mask : BrainMask
        On the grid of `volume`.
    world : ndarray (4, 4)
        Native RAS+ mm to reference RAS+ mm.
    grid : ReferenceGrid

    Returns
    -------
    Prepared

    Raises
    ------
    ImageError
        The mask is empty, holds no signal or much that is negative, or lies outside the reference
        grid.
    """
    where = volume.where
    native = _without_holes(volume, mask)
    below = check_not_negative(native[mask.data], where)
    if below > WORTH_SAYING:
        remark(_log, where, "%.1f %% of the brain is below 0; the network sees 0", 100 * below)
    scale = robust_scale(native, mask.data)
    brain = resample_to_grid(mask.data.astype(np.float32), volume.affine, world, grid, order=1)
    inside = brain >= 0.5
    if not inside.any():
        raise ImageError(
            "the brain lies outside the reference grid",
            where=where,
            hint="Look at the registration: the transform to the template cannot be right.",
        )
    on_grid = resample_to_grid(native, volume.affine, world, grid, order=3, within=inside)
    # Cubic splines undershoot at sharp edges; the network's range starts at 0.
    data = np.where(inside, np.maximum(on_grid, 0) / np.float32(scale), np.float32(0))
    return Prepared(data.astype(np.float32, copy=False), inside, scale, np.array(world), grid)


def _without_holes(volume: Volume, mask: BrainMask) -> np.ndarray:
    """Intensities with those of the brain round about where nothing was measured inside it.

    Splines would ring at a hole. The scan itself keeps it.
    """
    if volume.nothing is None:
        return volume.data
    holes = volume.nothing.where & mask.data
    if not holes.any():
        return volume.data
    known = mask.data & ~holes
    sigma = HOLE_MM / np.array(volume.voxel_mm)
    near = mean_around(np.where(known, volume.data, np.float32(0)), known, sigma)
    return np.where(holes, near, volume.data)
