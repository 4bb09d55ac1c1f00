"""Linear registration: scans to the reference template, T2w to T1w of one person.

Transforms are `world` matrices: RAS+ mm of the moving scan to RAS+ mm of the fixed one. The metric
is mutual information throughout, so that any contrast meets the T1w template. Both images are
sampled on axis-aligned 2 mm grids first, which takes care of oblique, sheared and thick-slice
scans alike and makes a registration cost the same for every scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.linear import (
    COARSE,
    FINE,
    SLOPPY,
    Schedule,
    deterministic_ants,
    register_linear,
)
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_t1w
from bids_harmony.imaging.resampling import resample_to_grid
from bids_harmony.imaging.transforms import read_transform, write_transform

if TYPE_CHECKING:
    from bids_harmony.imaging.mask import BrainMask
    from bids_harmony.imaging.volume import Volume

__all__ = [
    "Registration",
    "deterministic_ants",
    "read_transform",
    "reference_overlap",
    "register_rigid",
    "register_to_reference",
    "write_transform",
]

WORKING_MM = 2.0
"""Step of the grids that are registered: a linear transform gains nothing from finer voxels."""
LEAST_OVERLAP = 0.6
"""Dice overlap with the template's brain below which a registration has failed."""
VOLUME_RATIO = (0.4, 2.5)
"""Determinants that a transform from a person's brain to the template can have."""
HEAD_ABOVE_BRAIN_MM = 10.0
"""Scalp, skull and CSF above the brain's highest point."""


@dataclass(frozen=True, eq=False)
class Registration:
    """A linear transform between two scans.

    Attributes
    ----------
    world : ndarray (4, 4) float64
        RAS+ mm of the moving scan to RAS+ mm of the fixed one.
    kind : {"rigid", "affine"}
    similarity : float
        With both masks: their Dice overlap after registration. Else the normalized mutual
        information of the two images (1 to 2; Studholme et al. 1999).
    """

    world: np.ndarray
    kind: Literal["rigid", "affine"]
    similarity: float


def register_to_reference(
    volume: Volume,
    mask: BrainMask | None,
    *,
    modality: str,
    seed: int = 0,
    sloppy: bool = False,
) -> Registration:
    """Register a scan to the reference template, rigid and then affine.

    Parameters
    ----------
    volume : Volume
        T1w, T2w or FLAIR.
    mask : BrainMask or None
        Brain, on the grid of `volume`. Without one the head is matched to the template's brain
        from several heights.
    modality : str
        Named in messages.
    seed : int
        Seed of the metric's samples.
    sloppy : bool
        Coarse levels only: a second or two instead of ten, a millimetre off. For demos and tests.

    Returns
    -------
    Registration
        `similarity` is the Dice overlap of the mask with the template's, or, without a mask, the
        normalized mutual information.

    Raises
    ------
    ImageError
        The result cannot be right: overlap below 0.6, or a scaling that no head has.
    """
    grid = reference_grid(WORKING_MM)
    first, last = (SLOPPY, SLOPPY) if sloppy else (COARSE, FINE)
    brain = reference_mask(grid)
    if mask is None:
        world, similarity = _head_to_reference(volume, grid, last, seed)
        overlap = 1.0
    else:
        moving_grid = _grid_round(volume, mask.data, margin_mm=8.0)
        inside = _mask_on_grid(volume, mask.data, moving_grid)
        moving = np.where(inside >= 0.5, _volume_on_grid(volume, moving_grid), 0)
        fixed = reference_t1w(grid)
        world = _translation(_centre(brain, grid) - _centre(inside, moving_grid))
        world = register_linear(fixed, grid, moving, moving_grid, "Rigid", world, first, seed=seed)
        world = register_linear(fixed, grid, moving, moving_grid, "Affine", world, last, seed=seed)
        moved = resample_to_grid(inside, moving_grid.affine, world, grid, order=1)
        similarity = overlap = _dice(moved >= 0.5, brain)
    scaling = float(np.linalg.det(world[:3, :3]))
    if overlap < LEAST_OVERLAP or not VOLUME_RATIO[0] <= scaling <= VOLUME_RATIO[1]:
        if mask is not None:
            _check_size(volume, mask, np.count_nonzero(brain) * grid.voxel_mm**3 / 1e3)
        raise ImageError(
            f"the {modality} scan could not be registered to {grid.name}",
            where=volume.where,
            expected=f"a Dice overlap with the template's brain of {LEAST_OVERLAP} and more, "
            f"and a change of volume of {VOLUME_RATIO[0]} to {VOLUME_RATIO[1]}",
            got=f"{overlap:.2f} and {scaling:.2f}",
            hint="Look at the brain mask and at the orientation in the header.",
        )
    return Registration(world, "affine", similarity)


def reference_overlap(volume: Volume, mask: BrainMask, world: np.ndarray) -> float:
    """Dice overlap of a brain with the template's, after a transform.

    Parameters
    ----------
    volume : Volume
    mask : BrainMask
        On the grid of `volume`.
    world : ndarray (4, 4)
        RAS+ mm of `volume` to reference RAS+ mm.
    """
    grid = reference_grid(WORKING_MM)
    inside = resample_to_grid(mask.data.astype(np.float32), volume.affine, world, grid, order=1)
    return _dice(inside >= 0.5, reference_mask(grid))


def _check_size(volume: Volume, mask: BrainMask, reference_ml: float) -> None:
    """Say that a brain is small where that is why it does not meet the template."""
    millilitres = np.count_nonzero(mask.data) * abs(np.linalg.det(volume.affine[:3, :3])) / 1e3
    least = reference_ml / VOLUME_RATIO[1]
    if millilitres < least:
        raise ImageError(
            "the brain is too small for the template",
            where=volume.where,
            expected=f"{least:.0f} ml and more inside the brain mask",
            got=f"{millilitres:.0f} ml",
            hint="An infant's or an animal's brain, a mask or field of view that holds a part of "
            "it, or voxel sizes that are wrong in the header.",
        )


def _head_to_reference(
    volume: Volume, grid: ReferenceGrid, schedule: Schedule, seed: int
) -> tuple[np.ndarray, float]:
    """Match a head that has no brain mask to the skull-stripped template.

    The metric looks at the template's brain only. Necks and fields of view differ, so the first
    guess goes by the top of the head rather than by its centre, and several heights are tried.
    """
    moving_grid = _grid_round(volume, np.ones(volume.data.shape, bool), margin_mm=0.0)
    moving = _volume_on_grid(volume, moving_grid)
    fixed, brain = reference_t1w(grid), reference_mask(grid)
    head = _head(moving)
    crown = np.flatnonzero(head.sum(axis=(0, 1)) * WORKING_MM**2 > 400.0).max()
    upper = head.copy()
    upper[:, :, : max(0, crown - int(110 / WORKING_MM))] = False
    centre = _centre(upper, moving_grid)
    top = moving_grid.affine[2, 3] + WORKING_MM * crown - HEAD_ABOVE_BRAIN_MM
    goal = _centre(brain, grid)
    brain_top = grid.affine[2, 3] + WORKING_MM * np.flatnonzero(brain.any(axis=(0, 1))).max()
    best, world = -np.inf, np.eye(4)
    for height in (0.0, -12.0, 12.0, 24.0):
        shift = np.array([goal[0] - centre[0], goal[1] - centre[1], brain_top - top + height])
        tried = register_linear(
            fixed, grid, moving, moving_grid, "Rigid", _translation(shift), COARSE,
            seed=seed, region=brain,
        )  # fmt: skip
        agreement = _agreement(fixed, grid, moving, moving_grid, tried, brain)
        if agreement > best:
            best, world = agreement, tried
    world = register_linear(
        fixed, grid, moving, moving_grid, "Affine", world, schedule, seed=seed, region=brain
    )
    return world, _agreement(fixed, grid, moving, moving_grid, world, brain)


def register_rigid(
    moving: Volume,
    moving_mask: BrainMask | None,
    fixed: Volume,
    fixed_mask: BrainMask | None,
    *,
    seed: int = 0,
    sloppy: bool = False,
) -> Registration:
    """Register two scans of one head, of any two contrasts (T2w or FLAIR to T1w).

    Parameters
    ----------
    moving, fixed : Volume
    moving_mask, fixed_mask : BrainMask or None
        On the grids of their volumes. The metric looks inside the fixed brain and 10 mm round it.
    seed : int
        Seed of the metric's samples.
    sloppy : bool
        Coarse levels only.

    Returns
    -------
    Registration
        RAS+ mm of `moving` to RAS+ mm of `fixed`. The search starts from the scanner's own
        coordinates and, in case the person was moved, from the centres of both heads; the
        better result wins.
    """
    fixed_grid = _grid_round(
        fixed,
        np.ones(fixed.data.shape, bool) if fixed_mask is None else fixed_mask.data,
        margin_mm=16.0,
    )
    moving_grid = _grid_round(moving, np.ones(moving.data.shape, bool), margin_mm=0.0)
    fixed_data = _volume_on_grid(fixed, fixed_grid)
    moving_data = _volume_on_grid(moving, moving_grid)
    region = brain = None
    if fixed_mask is not None:
        brain = _mask_on_grid(fixed, fixed_mask.data, fixed_grid) >= 0.5
        region = ndimage.distance_transform_edt(~brain, sampling=WORKING_MM) <= 10.0
    centred = _translation(
        _centre(_head(fixed_data), fixed_grid) - _centre(_head(moving_data), moving_grid)
    )
    best, world = -np.inf, np.eye(4)
    for start in (np.eye(4), centred):
        tried = register_linear(
            fixed_data, fixed_grid, moving_data, moving_grid, "Rigid", start, COARSE,
            seed=seed, region=region,
        )  # fmt: skip
        agreement = _agreement(fixed_data, fixed_grid, moving_data, moving_grid, tried, region)
        if agreement > best + 1e-3:  # the scanner's coordinates come first and win a tie
            best, world = agreement, tried
    if not sloppy:
        world = register_linear(
            fixed_data, fixed_grid, moving_data, moving_grid, "Rigid", world, FINE,
            seed=seed, region=region,
        )  # fmt: skip
    if moving_mask is not None and brain is not None:
        moved = resample_to_grid(
            moving_mask.data.astype(np.float32), moving.affine, world, fixed_grid, order=1
        )
        return Registration(world, "rigid", _dice(moved >= 0.5, brain))
    return Registration(
        world,
        "rigid",
        _agreement(fixed_data, fixed_grid, moving_data, moving_grid, world, region),
    )


def _grid_round(volume: Volume, inside: np.ndarray, *, margin_mm: float) -> ReferenceGrid:
    """Axis-aligned grid of `WORKING_MM` round the true voxels of a mask."""
    spans = [np.flatnonzero(inside.any(axis=other))[[0, -1]] for other in ((1, 2), (0, 2), (0, 1))]
    corners = np.array(np.meshgrid(*spans)).reshape(3, -1)
    millimetres = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    low, high = millimetres.min(axis=1) - margin_mm, millimetres.max(axis=1) + margin_mm
    x, y, z = (int(n) for n in np.ceil((high - low) / WORKING_MM) + 1)
    affine = np.diag([WORKING_MM, WORKING_MM, WORKING_MM, 1.0])
    affine[:3, 3] = low
    return ReferenceGrid("scan", (x, y, z), affine, WORKING_MM)


def _volume_on_grid(volume: Volume, grid: ReferenceGrid) -> np.ndarray:
    return resample_to_grid(volume.data, volume.affine, np.eye(4), grid, order=1)


def _mask_on_grid(volume: Volume, inside: np.ndarray, grid: ReferenceGrid) -> np.ndarray:
    """Share of brain in each voxel of `grid`, 0 to 1."""
    return resample_to_grid(inside.astype(np.float32), volume.affine, np.eye(4), grid, order=1)


def _head(data: np.ndarray) -> np.ndarray:
    """Voxels with signal: above Otsu's threshold of the square root, which suits long tails."""
    from skimage.filters import threshold_otsu

    root = np.sqrt(np.maximum(data, 0))
    return root > threshold_otsu(root)


def _centre(weight: np.ndarray, grid: ReferenceGrid) -> np.ndarray:
    """Centre of mass in RAS+ mm."""
    return grid.affine[:3, :3] @ np.array(ndimage.center_of_mass(weight)) + grid.affine[:3, 3]


def _translation(shift: np.ndarray) -> np.ndarray:
    world = np.eye(4)
    world[:3, 3] = shift
    return world


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * np.count_nonzero(first & second) / max(first.sum() + second.sum(), 1))


def _agreement(
    fixed: np.ndarray,
    fixed_grid: ReferenceGrid,
    moving: np.ndarray,
    moving_grid: ReferenceGrid,
    world: np.ndarray,
    region: np.ndarray | None,
) -> float:
    """Normalized mutual information inside a region of the fixed grid."""
    from skimage.metrics import normalized_mutual_information

    moved = resample_to_grid(moving, moving_grid.affine, world, fixed_grid, order=1)
    inside = slice(None) if region is None else region
    return float(normalized_mutual_information(fixed[inside], moved[inside], bins=64))
