"""Interpolation between a scan's own grid and a reference grid."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_harmony.imaging.grid import ReferenceGrid

__all__ = ["resample_from_grid", "resample_to_grid"]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
NEGLIGIBLE_SIGMA = 0.2
"""Standard deviation in voxels below which a Gaussian changes nothing worth its time."""


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

    Returns
    -------
    ndarray (Xr, Yr, Zr) float32
        0 outside the native field of view. Where the native voxels are finer than the grid they
        are smoothed first (Gaussian) so that nothing aliases.
    """
    to_native_voxel = np.linalg.inv(affine) @ np.linalg.inv(world) @ grid.affine
    source = np.asarray(data, dtype=np.float32)
    source = _smooth_before_decimation(source, to_native_voxel[:3, :3])
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
