"""Many people of one source: the tissue maps of one real brain, varied at random.

A source is what `label_maps` or `real_anatomy` makes of one label map or scan. It is slow to make
(registration, segmentation) and quick to draw people from, so callers may want to keep it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.phantom.anatomy import (
    Anatomy,
    displaced_points,
    individual_fractions,
    relaxation_factor,
)

__all__ = ["AS_IT_IS", "SourceMaps", "Variety", "draw_person"]

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class SourceMaps:
    """Tissue of one real brain on a reference-space grid.

    Attributes
    ----------
    fractions : (3, X, Y, Z) float32
        Grey matter, white matter and CSF; they sum to 1 in the brain and to 0 outside it.
    t1_factor, t2_factor, density_factor : (X, Y, Z) float32
        Multiply the tissue's own relaxation times and proton density; 1 outside the brain.
    grid : ReferenceGrid
    name : str
        The label map or scan.
    """

    fractions: Array
    t1_factor: Array
    t2_factor: Array
    density_factor: Array
    grid: ReferenceGrid
    name: str


@dataclass(frozen=True)
class Variety:
    """How far people drawn from one source differ from it.

    Attributes
    ----------
    deformation_mm : float
        As in `anatomy.displaced_points`.
    affine : float
        Standard deviation of each element of the linear part: stretch, shear and tilt.
    folding : float
        Standard deviation of the field that is added to the tissues' log-odds.
    atrophy : float
        Standard deviation of the log-odds of CSF.
    variation : float
        Standard deviation of local relaxation and density factors and of the whole person's.
    """

    deformation_mm: float = 2.5
    affine: float = 0.02
    folding: float = 0.8
    atrophy: float = 0.3
    variation: float = 0.03


AS_IT_IS = Variety(deformation_mm=0.0, affine=0.0, folding=0.0, atrophy=0.0, variation=0.0)
"""The source itself: its own shape and texture, and the tissues' tabulated relaxation."""


def draw_person(maps: SourceMaps, seed: int, variety: Variety | None = None) -> Anatomy:
    """Draw one person who resembles a source.

    Parameters
    ----------
    maps : SourceMaps
    seed : int
        With the name of the source: identity of the person; the same gives the same bits.
    variety : Variety, optional

    Returns
    -------
    Anatomy
        On the grid of `maps`; `source` is the name of `maps`.
    """
    variety = variety or Variety()
    grid = maps.grid
    rng = np.random.default_rng([seed, 0xA9, zlib.crc32(maps.name.encode())])
    jitter = np.eye(3) + rng.normal(0.0, variety.affine, (3, 3))
    points = displaced_points(rng, grid, jitter, variety.deformation_mm)
    brain = map_coordinates(maps.fractions.sum(0), points, order=1, output=np.float32)
    # Cubic: linear interpolation at half a voxel would blur the cortex.
    warped = np.stack(
        [np.clip(map_coordinates(f, points, order=3, output=np.float32), 0, 1)
         for f in maps.fractions]
    )  # fmt: skip
    warped *= brain / np.maximum(warped.sum(0), 1e-3)
    fractions, mask = individual_fractions(
        rng, warped, grid, sharpening=1.0, folding=variety.folding, atrophy=variety.atrophy
    )

    def factor(own: Array) -> Array:
        moved = map_coordinates(own, points, order=1, output=np.float32, cval=1.0)
        return (moved * relaxation_factor(rng, grid, variety.variation)).astype(np.float32)

    return Anatomy(
        fractions=fractions,
        t1_factor=factor(maps.t1_factor),
        t2_factor=factor(maps.t2_factor),
        density_factor=factor(maps.density_factor),
        mask=mask,
        grid=grid,
        seed=seed,
        source=maps.name,
    )
