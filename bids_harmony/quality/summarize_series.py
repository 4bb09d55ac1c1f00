"""Make the summary of a harmonized diffusion series: what site effects are measured with later."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bids_harmony.diffusion.features import DWI_VOXEL_MM
from bids_harmony.diffusion.maps import MAPS
from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.imaging.resampling import resample_from_grid
from bids_harmony.quality.diffusion import diffusion_tissues
from bids_harmony.quality.diffusion_sites import block_medians, white_matter_blocks
from bids_harmony.quality.summary import N_REGIONS, REGION_TISSUES, SeriesSummary

__all__ = ["summarize_series"]

#: Tissue fraction of the template that counts as white matter.
_WHITE = 0.5


def summarize_series(
    source: Mapping[str, NDArray],
    harmonized: Mapping[str, NDArray],
    affine: NDArray,
    world: NDArray | None,
) -> SeriesSummary:
    """Measure the maps of a diffusion series before and after harmonization.

    Parameters
    ----------
    source, harmonized : mapping of parameter to (X, Y, Z) float
        Maps of one grid, ``fa`` and ``md`` (mm2/s) among them, 0 where nothing was fitted;
        directions are passed over.
    affine : (4, 4) float
        Voxels of the maps to RAS+ mm.
    world : (4, 4) float or None
        These RAS+ mm to those of the reference; None where the place is not known.

    Returns
    -------
    SeriesSummary
    """
    names = [n for n in MAPS if n in source and n in harmonized and source[n].ndim == 3]
    stages = source, harmonized
    fitted = (source["md"] > 0) & (harmonized["md"] > 0)
    # By both, as `diffusion_tissues` explains.
    fa, md = ((source[n] + harmonized[n]) / 2 for n in ("fa", "md"))
    labels = diffusion_tissues(fa, md, fitted)
    tissues = np.full((len(stages), len(names), len(REGION_TISSUES)), np.nan, np.float32)
    regions = np.full((len(stages), len(names), N_REGIONS), np.nan, np.float32)
    blocks, sizes = (None, None) if world is None else _blocks_of(fitted.shape, affine, world)
    for i, maps in enumerate(stages):
        for j, name in enumerate(names):
            for k in range(len(REGION_TISSUES)):
                if (labels == k + 1).any():
                    tissues[i, j, k] = np.median(maps[name][labels == k + 1])
            if blocks is not None:
                regions[i, j] = block_medians(maps[name], blocks, fitted, sizes=sizes)
    return SeriesSummary(tuple(names), regions, tissues)


def _blocks_of(
    shape: tuple[int, ...], affine: NDArray, world: NDArray
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Blocks of the template's white matter on the grid of a series, and how large each is.

    A block that the field of view cuts has fewer voxels there than its size says.
    """
    grid = reference_grid(DWI_VOXEL_MM)
    labels = _template_blocks()
    on_series = resample_from_grid(
        labels, grid, world, affine, (shape[0], shape[1], shape[2]), order=0
    )
    reference_voxels = abs(np.linalg.det(world @ affine)) / DWI_VOXEL_MM**3
    sizes = np.bincount(labels.ravel(), minlength=N_REGIONS + 1)[1:] / reference_voxels
    return np.rint(on_series).astype(np.int32), sizes


@lru_cache(maxsize=1)
def _template_blocks() -> NDArray[np.int32]:
    white = reference_tissues(reference_grid(DWI_VOXEL_MM))[1] > _WHITE
    return white_matter_blocks(white, N_REGIONS, voxel_mm=(DWI_VOXEL_MM,) * 3)
