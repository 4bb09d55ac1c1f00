"""One call of ANTs' linear registration, the same bits every time.

ITK reads its number of threads once, at the first ITK call of a process, and ANTs its seed at
each registration: `deterministic_ants` sets both in the environment before `ants` is imported. A
process that called ITK on its own before is beyond its reach.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.transforms import LPS, from_itk, itk_matrix, write_transform

__all__ = ["COARSE", "FINE", "SLOPPY", "Schedule", "deterministic_ants", "register_linear"]


@dataclass(frozen=True)
class Schedule:
    """Levels of a registration, coarse to fine; shrink and smoothing in voxels of the fixed grid.

    `sampling` is the share of voxels at which the metric looks, on a regular lattice.
    """

    iterations: tuple[int, ...]
    shrink: tuple[int, ...]
    smoothing: tuple[int, ...]
    sampling: float


SLOPPY = Schedule((100, 50), (4, 3), (2, 1), 0.25)
COARSE = Schedule((200, 100), (4, 3), (2, 1), 0.25)
FINE = Schedule((200, 100, 50, 20), (4, 3, 2, 1), (2, 1, 1, 0), 0.1)
"""From the result of `COARSE`: one half of a millimetre nearer the optimum, twice the time."""


def deterministic_ants(seed: int = 0) -> Any:
    """The `ants` module with one thread and a fixed seed.

    Parameters
    ----------
    seed : int
        Any number from 0.

    Returns
    -------
    module
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    os.environ["ANTS_RANDOM_SEED"] = str(int(seed) + 1)  # ANTs takes 0 for "use the clock"
    import ants

    return ants


def register_linear(
    fixed: np.ndarray,
    fixed_grid: ReferenceGrid,
    moving: np.ndarray,
    moving_grid: ReferenceGrid,
    kind: Literal["Rigid", "Affine"],
    start: np.ndarray,
    schedule: Schedule,
    *,
    seed: int = 0,
    region: np.ndarray | None = None,
) -> np.ndarray:
    """Maximize the mutual information of two images over rigid or affine transforms.

    Parameters
    ----------
    fixed, moving : ndarray float32
        On axis-aligned grids `fixed_grid` and `moving_grid`.
    kind : {"Rigid", "Affine"}
    start : ndarray (4, 4)
        First guess, moving RAS+ mm to fixed RAS+ mm.
    schedule : Schedule
    seed : int
    region : ndarray bool, optional
        Where in the fixed image the metric looks; everywhere by default.

    Returns
    -------
    ndarray (4, 4) float64
        Moving RAS+ mm to fixed RAS+ mm.
    """
    ants = deterministic_ants(seed)
    with tempfile.TemporaryDirectory(prefix="bids_harmony-") as folder:
        first = Path(folder, "start.txt")
        write_transform(start, first)
        result = ants.registration(
            fixed=_ants_image(ants, fixed, fixed_grid),
            moving=_ants_image(ants, moving, moving_grid),
            type_of_transform=kind,
            initial_transform=[str(first)],
            outprefix=str(Path(folder, "result_")),
            mask=None if region is None else _ants_image(ants, region, fixed_grid),
            mask_all_stages=region is not None,
            aff_metric="mattes",
            aff_sampling=32,
            aff_random_sampling_rate=schedule.sampling,
            aff_iterations=schedule.iterations,
            aff_shrink_factors=schedule.shrink,
            aff_smoothing_sigmas=schedule.smoothing,
            singleprecision=False,
        )
        # As for ants.apply_transforms: the last of the list acts first on a fixed point.
        matrix = np.eye(4)
        for name in result["fwdtransforms"]:
            part = ants.read_transform(name)
            matrix = matrix @ itk_matrix(part.parameters, part.fixed_parameters)
    return from_itk(matrix)


def _ants_image(ants: Any, data: np.ndarray, grid: ReferenceGrid) -> Any:
    return ants.from_numpy(
        np.ascontiguousarray(data, dtype=np.float32),
        origin=[float(v) for v in LPS[:3, :3] @ grid.affine[:3, 3]],
        spacing=[grid.voxel_mm] * 3,
        direction=LPS[:3, :3],
    )
