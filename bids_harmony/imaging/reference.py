"""The reference template and the grid on which slices are cut."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from bids_harmony.imaging.grid import ReferenceGrid

__all__ = [
    "REFERENCE",
    "reference_grid",
    "reference_mask",
    "reference_points",
    "reference_t1w",
    "reference_tissues",
]

REFERENCE = "MNI152NLin2009aSym"
"""TemplateFlow name of the ICBM152 2009a symmetric template; nilearn ships it skull-stripped."""

MARGIN_MM = 8.0
"""Empty border round the template's brain: brains registered by an affine reach beyond it."""


@lru_cache(maxsize=1)
def _template() -> tuple[np.ndarray, np.ndarray]:
    """T1w template in [0, 1] at 1 mm, background exactly 0, and its affine."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    data = np.asarray(image.dataobj, dtype=np.float32)
    affine = np.asarray(image.affine, dtype=np.float64)
    data.setflags(write=False)
    affine.setflags(write=False)
    return data, affine


@lru_cache(maxsize=8)
def reference_grid(voxel_mm: float = 1.0) -> ReferenceGrid:
    """Grid round the template's brain, in steps of `voxel_mm`.

    Parameters
    ----------
    voxel_mm : float
        Edge of a voxel in mm; 1 is the working grid, 2 serves demos and tests.

    Returns
    -------
    ReferenceGrid
        Axis-aligned; covers the brain's bounding box and 8 mm on every side.
    """
    data, affine = _template()
    inside = np.argwhere(data > 0)
    low = affine[:3, 3] + inside.min(axis=0) - MARGIN_MM
    high = affine[:3, 3] + inside.max(axis=0) + MARGIN_MM
    count = np.ceil((high - low) / voxel_mm).astype(int) + 1
    grid_affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    grid_affine[:3, 3] = low
    grid_affine.setflags(write=False)
    shape = (int(count[0]), int(count[1]), int(count[2]))
    return ReferenceGrid(REFERENCE, shape, grid_affine, float(voxel_mm))


def _on_grid(data: np.ndarray, affine: np.ndarray, grid: ReferenceGrid) -> np.ndarray:
    from bids_harmony.imaging.resampling import resample_to_grid

    step = np.linalg.inv(affine) @ grid.affine
    if np.array_equal(step[:3, :3], np.eye(3)) and np.array_equal(
        step[:3, 3], step[:3, 3].round()
    ):
        # The 1 mm grid lies on the template's own voxels: 2 s less for each map, the same bits.
        return _window(data, step[:3, 3].astype(int), grid.shape)
    return resample_to_grid(data, affine, np.eye(4), grid, order=1)


def _window(data: np.ndarray, first: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Voxels of `data` from index `first` on, 0 beyond its edges, float32."""
    window = np.zeros(shape, dtype=np.float32)
    low = np.maximum(first, 0)
    high = np.maximum(np.minimum(first + shape, data.shape), low)
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    place = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
    window[place] = data[source]
    return window


def reference_t1w(grid: ReferenceGrid) -> np.ndarray:
    """Skull-stripped T1w template on a grid.

    Parameters
    ----------
    grid : ReferenceGrid

    Returns
    -------
    ndarray (X, Y, Z) float32
        Arbitrary units in [0, 1]; exactly 0 outside `reference_mask`. Read-only.
    """
    signal = np.maximum(_on_grid(*_template(), grid), 0)
    data = np.where(reference_mask(grid), signal, np.float32(0))
    data.setflags(write=False)
    return data


@lru_cache(maxsize=4)
def reference_mask(grid: ReferenceGrid) -> np.ndarray:
    """Brain mask of the template on a grid.

    Parameters
    ----------
    grid : ReferenceGrid

    Returns
    -------
    ndarray (X, Y, Z) bool
        The template's own support, holes filled (1.89 l). Read-only.
    """
    support = (_template()[0] > 0).astype(np.float32)
    mask = ndimage.binary_fill_holes(_on_grid(support, _template()[1], grid) >= 0.5)
    mask.setflags(write=False)
    return mask


def reference_points() -> np.ndarray:
    """A lattice of 8 mm in the template's brain, RAS+ mm.

    Returns
    -------
    ndarray (N, 3) float64
    """
    grid = reference_grid(8.0)
    inside = np.argwhere(reference_mask(grid))
    return inside @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def reference_tissues(grid: ReferenceGrid) -> np.ndarray:
    """Tissue fractions of the template on a grid.

    Parameters
    ----------
    grid : ReferenceGrid

    Returns
    -------
    ndarray (3, X, Y, Z) float32
        Grey matter, white matter, CSF: average maps of many people, so blurred. They sum to 1 in
        the brain and to 0 outside; read-only.
    """
    return _tissues(grid.voxel_mm)


@lru_cache(maxsize=4)
def _tissues(voxel_mm: float) -> np.ndarray:
    from nilearn import datasets

    grid = reference_grid(voxel_mm)
    maps = []
    for load in (
        datasets.load_mni152_gm_template,
        datasets.load_mni152_wm_template,
        datasets.load_mni152_brain_mask,
    ):
        native = load(resolution=1)
        data = native.get_fdata(dtype=np.float32)
        maps.append(_on_grid(data, np.asarray(native.affine, dtype=np.float64), grid))
    grey, white, brain = maps
    excess = np.maximum(grey + white, 1.0)
    grey, white = grey / excess, white / excess
    fractions = np.stack([grey, white, np.clip(1 - grey - white, 0, 1)]) * (brain > 0.5)
    fractions = fractions.astype(np.float32)
    fractions.setflags(write=False)
    return fractions
