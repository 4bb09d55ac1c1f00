"""Interpolation between a scan's own grid and a reference grid."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import ndimage

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.resources import at_once

__all__ = ["resample_from_grid", "resample_to_grid"]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
NEGLIGIBLE_SIGMA = 0.2
"""Standard deviation in voxels below which a Gaussian changes nothing worth its time."""
#: Voxels that one thread samples at a time: their coordinates take 12 MiB.
AT_ONCE = 1 << 19


def _smooth_before_decimation(data: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Blur each axis to the resolution of the output so that nothing aliases.

    `matrix` (3, 3) maps output voxels to voxels of `data`. Output voxels spanning t > 1 input
    voxels along an axis need a full width at half maximum of sqrt(t^2 - 1) there.
    """
    span = np.linalg.norm(matrix, axis=1)
    sigma = np.sqrt(np.maximum(span**2 - 1.0, 0.0)) / FWHM_PER_SIGMA
    sigma[sigma < NEGLIGIBLE_SIGMA] = 0.0
    if not sigma.any():
        return data
    return ndimage.gaussian_filter(data, sigma, output=np.float32, mode="nearest", truncate=3.0)


def resample_to_grid(
    data: np.ndarray,
    affine: np.ndarray,
    world: np.ndarray,
    grid: ReferenceGrid,
    *,
    order: int = 3,
    within: np.ndarray | None = None,
) -> np.ndarray:
    """Bring native voxels onto a reference grid.

    Parameters
    ----------
    data : ndarray (X, Y, Z)
        Native voxels.
    affine : ndarray (4, 4)
        Native voxel indices to native RAS+ mm.
    world : ndarray (4, 4)
        Native RAS+ mm to reference RAS+ mm.
    grid : ReferenceGrid
        Where to sample.
    order : int
        Order of the B-spline: 1 linear, 3 cubic.
    within : ndarray (Xr, Yr, Zr) bool, optional
        Voxels of the grid that are wanted; the others are 0.

    Returns
    -------
    ndarray (Xr, Yr, Zr) float32
        0 outside the native field of view. Where the native voxels are finer than the grid they
        are smoothed first (Gaussian) so that nothing aliases.
    """
    to_native_voxel = np.linalg.inv(affine) @ np.linalg.inv(world) @ grid.affine
    source = np.asarray(data, dtype=np.float32)
    source = _smooth_before_decimation(source, to_native_voxel[:3, :3])
    if within is not None:
        return _resample_within(source, to_native_voxel, within, order)
    return ndimage.affine_transform(
        source,
        to_native_voxel[:3, :3],
        offset=to_native_voxel[:3, 3],
        output_shape=grid.shape,
        output=np.float32,
        order=order,
        mode="constant",
        cval=0.0,
    )


def _resample_within(
    source: np.ndarray, to_native_voxel: np.ndarray, within: np.ndarray, order: int
) -> np.ndarray:
    """The same bits as `scipy.ndimage.affine_transform` gives at these voxels."""
    if order > 1:
        source = ndimage.spline_filter(source, order, output=np.float64, mode="mirror")
    voxels = np.flatnonzero(within)

    def sample(part: np.ndarray) -> np.ndarray:
        i, j, k = np.unravel_index(part, within.shape)
        # In the order in which SciPy adds them up.
        at = [row[0] * i + row[1] * j + row[2] * k + row[3] for row in to_native_voxel[:3]]
        return ndimage.map_coordinates(
            source, at, output=np.float32, order=order, mode="constant", cval=0.0, prefilter=False
        )

    parts = np.array_split(voxels, max(1, -(-voxels.size // AT_ONCE)))
    found = np.zeros(within.size, dtype=np.float32)
    found[voxels] = np.concatenate(at_once(*(partial(sample, part) for part in parts)))
    return found.reshape(within.shape)


def resample_from_grid(
    data: np.ndarray,
    grid: ReferenceGrid,
    world: np.ndarray,
    affine: np.ndarray,
    shape: tuple[int, int, int],
    *,
    order: int = 1,
) -> np.ndarray:
    """Bring an array of a reference grid onto a native grid.

    Parameters
    ----------
    data : ndarray (Xr, Yr, Zr)
        Array on `grid`.
    grid : ReferenceGrid
    world : ndarray (4, 4)
        Native RAS+ mm to reference RAS+ mm (the same matrix as for `resample_to_grid`).
    affine, shape
        Native grid: voxel indices to RAS+ mm (4, 4), and number of voxels.
    order : int
        Order of the B-spline: 0 nearest, 1 linear, 3 cubic.

    Returns
    -------
    ndarray of `shape` float32
        0 outside the reference grid.
    """
    to_grid_voxel = np.linalg.inv(grid.affine) @ world @ affine
    return ndimage.affine_transform(
        np.asarray(data, dtype=np.float32),
        to_grid_voxel[:3, :3],
        offset=to_grid_voxel[:3, 3],
        output_shape=shape,
        output=np.float32,
        order=order,
        mode="constant",
        cval=0.0,
    )
