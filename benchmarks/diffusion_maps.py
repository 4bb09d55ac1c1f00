"""Maps of a simulated series in white matter, and their means in cubes of the reference space."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diffusion_cohort import Scan

from bids_harmony.diffusion.noddi import fit_noddi, noddi_possible
from bids_harmony.diffusion.tensor import fit_tensor

__all__ = ["EVERY", "MAPS", "ScanMaps", "cubes_of", "fit_maps", "region_means", "white_voxels"]

WHITE = 0.9
EVERY = 4
#: Regions: white matter in cubes of the reference space.
CUBE_MM = 30.0
FEWEST_VOXELS = 60
MAPS = ("fa", "md", "ndi", "odi")

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class ScanMaps:
    """Maps of one series in white matter, by name (V,), and main directions (V, 3)."""

    maps: dict[str, Array]
    v1: Array


def white_voxels(mask: Array, white: Array) -> Array:
    """Flat indices of some voxels of white matter, (V,).

    Parameters
    ----------
    mask : (X, Y, Z) bool
    white : (N,) float
        Part of the mask's voxels that is white matter.
    """
    chosen = np.zeros(mask.shape, dtype=bool)
    chosen[mask] = white > WHITE
    return np.flatnonzero(chosen)[::EVERY]


def fit_maps(scan: Scan, voxels: Array, chosen: Array, *, noddi: bool) -> ScanMaps:
    """Fit the models to some voxels of the mask's, given all of them."""
    some = voxels[np.searchsorted(np.flatnonzero(scan.mask), chosen)][:, None, None, :]
    everywhere = np.ones(some.shape[:3], dtype=bool)
    tensor = fit_tensor(some, everywhere, scan.gradients)
    maps = {"fa": tensor.fa.ravel(), "md": tensor.md.ravel() * 1e3}
    if noddi and noddi_possible(scan.gradients)[0]:
        with tempfile.TemporaryDirectory() as folder:
            found = fit_noddi(some, everywhere, scan.gradients, Path(folder))
        maps |= {"ndi": found.ndi.ravel(), "odi": found.odi.ravel()}
    return ScanMaps(maps, tensor.v1.reshape(-1, 3))


def cubes_of(scan: Scan, chosen: Array) -> Array:
    """Number of the reference space's cube that each voxel lies in, (V,)."""
    voxels = np.stack(np.unravel_index(chosen, scan.mask.shape), axis=1)
    place = scan.world @ scan.series.affine
    cube = np.floor((voxels @ place[:3, :3].T + place[:3, 3]) / CUBE_MM).astype(int) + 50
    return cube @ np.array([10_000, 100, 1])


def region_means(fitted: ScanMaps, cubes: Array, about: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each cube that has voxels enough, of the maps' means."""
    found = []
    for cube in np.unique(cubes):
        inside = cubes == cube
        if inside.sum() >= FEWEST_VOXELS:
            means = {key: float(values[inside].mean()) for key, values in fitted.maps.items()}
            found.append(about | {"cube": int(cube)} | means)
    return found
