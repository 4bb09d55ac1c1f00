"""What the network is told besides codes: local maps of the scan and of both sites.

Maps have one value per cell of a g x g grid over the axial slice, for every slice. The source side
describes the scan against its own site, the target side the closed form's output against the
target site. Pooling is weighted by the brain mask; cells without brain hold 0 and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

from bids_harmony.imaging.smoothing import masked_smooth

__all__ = [
    "N_MAPS",
    "TEXTURE_BANDS",
    "log_energy",
    "pool_cells",
    "side_maps",
    "squared_bands",
    "texture",
]

Array = np.ndarray

#: Edges of the detail bands, in voxels: noise and sharpness live in the first, folds in the
#: second.
TEXTURE_BANDS = ((0.0, 0.8), (0.8, 1.6))
#: log ratio, its size, low-passed log mean, two bands of detail, cover, two numbers of the scan.
N_MAPS = 8
_FIELD_MM = 8.0
_FLOOR = 1e-3


def pool_cells(data: Array, weight: Array, cells: int) -> tuple[Array, Array]:
    """Average over the cells of every axial slice.

    Parameters
    ----------
    data : (X, Y, Z) float32
    weight : (X, Y, Z) float32 or bool
        Voxels count with this weight.
    cells : int
        g; cell i covers voxels floor(i X / g) to ceil((i + 1) X / g), as adaptive pooling does.

    Returns
    -------
    mean : (Z, g, g) float32
        0 where a cell has no weight.
    cover : (Z, g, g) float32
        Mean weight per voxel of the cell.
    """

    def total(volume: Array) -> Array:
        for axis in (0, 1):
            size = volume.shape[axis]
            low = np.arange(cells) * size // cells
            high = -(-np.arange(1, cells + 1) * size // cells)
            parts = [
                volume[(slice(None),) * axis + (slice(first, end),)].sum(axis, dtype=np.float64)
                for first, end in zip(low, high, strict=True)
            ]
            volume = np.stack(parts, axis=axis)
        return np.moveaxis(volume, 2, 0)

    weight = np.asarray(weight, dtype=np.float32)
    mass = total(weight)
    area = total(np.ones((*weight.shape[:2], 1), dtype=np.float32))
    mean = np.where(mass > 1e-3, total(data * weight) / np.maximum(mass, 1e-3), 0)
    return mean.astype(np.float32), (mass / area).astype(np.float32)


def texture(data: Array, mask: Array, cells: int) -> Array:
    """Log-energy of fine detail per slice, band and cell.

    Parameters
    ----------
    data : (X, Y, Z) float32
    mask : (X, Y, Z) bool
    cells : int

    Returns
    -------
    (Z, T, g, g) float32
        Half the logarithm of the mean square of each band of `TEXTURE_BANDS`.
    """
    return log_energy(squared_bands(data), mask, cells)


def squared_bands(data: Array) -> list[Array]:
    """Squares of each band of `TEXTURE_BANDS`, (X, Y, Z) float32 each."""
    # In plane only: a thick slice must not look like a blurred one.
    smooth = [
        data if edge == 0 else gaussian_filter(data, (edge, edge, 0), truncate=3.0)
        for edge in (0.0, 0.8, 1.6)
    ]
    return [np.square(fine - coarse) for fine, coarse in pairwise(smooth)]


def log_energy(bands: Sequence[Array], mask: Array, cells: int, *, gain: float = 1.0) -> Array:
    """The `texture` of a scan times `gain` from the scan's `squared_bands`."""
    means = np.stack([pool_cells(band, mask, cells)[0] for band in bands], axis=1)
    return np.asarray(0.5 * np.log(means * np.float32(gain) ** 2 + 1e-6))


def side_maps(
    data: Array,
    mask: Array,
    mean_image: Array,
    detail: Array,
    numbers: Sequence[float],
    voxel_mm: float,
    cells: int,
) -> Array:
    """Build the local maps of one side.

    Parameters
    ----------
    data : (X, Y, Z) float32
        The scan for the source side, the closed form's output for the target side.
    mask : (X, Y, Z) bool
        Brain of the scan.
    mean_image : (X, Y, Z) float32
        Mean image of that side's site.
    detail : (Z, T, g, g) float32
        `texture` of the network's input for the source side, of the profile for the target side.
    numbers : sequence of float
        The last maps: the same in every cell with brain.
    voxel_mm : float
    cells : int

    Returns
    -------
    (Z, N_MAPS, g, g) float32
    """
    known = mask & (mean_image > 0)
    sigma = _FIELD_MM / voxel_mm
    own = masked_smooth(data, known, sigma)
    site = masked_smooth(mean_image, known, sigma)
    log_site = np.log(np.maximum(site, _FLOOR))
    log_ratio = np.clip(np.log(np.maximum(own, _FLOOR)) - log_site, -1.5, 1.5)
    ratio_cells, cover = pool_cells(log_ratio, known, cells)
    site_cells, _ = pool_cells(np.clip(log_site, -3, 1), known, cells)
    valid = (cover > 0.02).astype(np.float32)
    bands = np.moveaxis(detail, 1, 0) / 4
    maps = [ratio_cells, np.abs(ratio_cells), site_cells, *bands, cover]
    maps += [np.full_like(cover, number) for number in numbers]
    return (np.stack(maps, axis=1) * valid[:, None]).astype(np.float32)
