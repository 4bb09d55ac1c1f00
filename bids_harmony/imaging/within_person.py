"""One space and one brain mask for the sessions of a person (Reuter et al., NeuroImage 61:1402).

No session is the one that the others are brought to: each goes rigidly to their mean image, which
lies in the middle of all. The mean is registered to the template, once for all sessions, so that
what differs between sessions is the person or the scanner, and not how well each met the template.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.linear import COARSE, FINE, register_linear
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import WORKING_MM, register_rigid, register_to_reference
from bids_harmony.imaging.resampling import resample_to_grid
from bids_harmony.imaging.smoothing import mean_around
from bids_harmony.imaging.volume import Volume

__all__ = ["MASK_MM", "SharedSpace", "agreements_of", "middle_of", "share_space"]

MASK_MM = 1.0
"""Step of the reference grid on which the mask of a person lies."""
_ROUNDS = 2
_MARGIN_MM = 24.0
_REGION_MM = 10.0
"""As far round the brain as the metric looks."""
_FULLY_SEEN = 0.99
_AROUND_MM, _NOTHING = 12.0, 1e-6
"""Standard deviation of a voxel's surroundings, and what counts as no signal there."""


@dataclass(frozen=True, eq=False)
class SharedSpace:
    """Where the scans of a person lie, and the brain that all of them show.

    Attributes
    ----------
    worlds : tuple of ndarray (4, 4) float64
        Of each scan RAS+ mm to reference RAS+ mm. From one scan to another they are rigid.
    mask : ndarray (X, Y, Z) bool, or None
        On the reference grid of `MASK_MM`; None where there were no masks.
    similarity : float
        Of the registration of the mean to the template.
    agreements : tuple of float
        Correlation of each scan with the mean of the others inside the brain, on the working grid;
        of whole heads without masks everywhere.
    """

    worlds: tuple[np.ndarray, ...]
    mask: np.ndarray | None
    similarity: float
    agreements: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class _Member:
    volume: Volume
    mask: BrainMask | None
    scale: float

    @property
    def inside(self) -> np.ndarray:
        """Where its brain can be: everywhere, of a head without a mask."""
        return np.ones(self.volume.data.shape, bool) if self.mask is None else self.mask.data


def share_space(
    scans: Sequence[tuple[Volume, BrainMask | None]],
    *,
    modality: str,
    seed: int = 0,
    sloppy: bool = False,
) -> SharedSpace:
    """Register the scans of one person to each other and, as one, to the reference template.

    Parameters
    ----------
    scans : sequence of (Volume, BrainMask or None)
        Two and more of one contrast; masks on the grids of the volumes. With one that is None all
        are taken as whole heads.
    modality : str
        Named in messages.
    seed : int
        Seed of the metric's samples.
    sloppy : bool
        Coarse levels only.

    Returns
    -------
    SharedSpace
        In the order of `scans`; their order changes no bit.

    Raises
    ------
    ImageError
        The mean could not be registered, or a brain holds no signal.
    """
    masked = all(mask is not None for _, mask in scans)
    order = sorted(range(len(scans)), key=lambda i: _digest(scans[i][0]))
    members = []
    for volume, mask in (scans[i] for i in order):
        own = mask if masked else None
        where = volume.data > 0 if own is None else own.data
        members.append(_Member(volume, own, robust_scale(volume.data, where)))
    first = members[0]
    steps = [np.eye(4)]
    for other in members[1:]:
        found = register_rigid(
            other.volume, other.mask, first.volume, first.mask, seed=seed, sloppy=sloppy
        )
        steps.append(found.world)
    steps = middle_of(steps, _centre(first))
    for _ in range(_ROUNDS):
        mean, brain, grid = _mean(members, steps)
        region = None
        if masked:
            region = ndimage.distance_transform_edt(~brain, sampling=WORKING_MM) <= _REGION_MM
        steps = [
            _to_mean(member, step, mean, grid, region, seed=seed, sloppy=sloppy)
            for member, step in zip(members, steps, strict=True)
        ]
        steps = middle_of(steps, _middle(brain, grid))
    mean, brain, grid = _mean(members, steps)
    image = _as_volume(mean, grid, first.volume)
    found = register_to_reference(
        image,
        BrainMask(brain, "given") if masked else None,
        modality=modality,
        seed=seed,
        sloppy=sloppy,
    )
    worlds = [found.world @ step for step in steps]
    shared = None
    if masked:
        shared = _share_of_brain(members, worlds, reference_grid(MASK_MM)) >= 0.5
    agreements = _agreements(members, steps, brain if masked else mean > 0, grid)
    back = np.argsort(order)
    return SharedSpace(
        tuple(worlds[i] for i in back),
        shared,
        float(found.similarity),
        tuple(agreements[i] for i in back),
    )


def middle_of(steps: Sequence[np.ndarray], centre: np.ndarray) -> list[np.ndarray]:
    """Lead rigid transforms to one space on to the space in the middle of all scans.

    Parameters
    ----------
    steps : sequence of ndarray (4, 4)
        RAS+ mm of each scan to that of a common space.
    centre : ndarray (3,)
        Of the brain in the common space, mm.

    Returns
    -------
    list of ndarray (4, 4)
        RAS+ mm of each scan to that of the middle: on average they neither turn, nor move the
        brain's centre.
    """
    back = [np.linalg.inv(step) for step in steps]
    turn = Rotation.from_matrix([b[:3, :3] for b in back]).mean().as_matrix()
    goal = np.mean([b[:3, :3] @ centre + b[:3, 3] for b in back], axis=0)
    on = np.eye(4)
    on[:3, :3] = turn
    on[:3, 3] = goal - turn @ centre
    return [on @ step for step in steps]


def _digest(volume: Volume) -> str:
    """What a scan is, whatever its file is called."""
    told = hashlib.sha256(np.ascontiguousarray(volume.data).tobytes())
    told.update(np.ascontiguousarray(volume.affine, dtype=np.float64).tobytes())
    return told.hexdigest()


def _centre(member: _Member) -> np.ndarray:
    affine = member.volume.affine
    return affine[:3, :3] @ np.array(ndimage.center_of_mass(member.inside)) + affine[:3, 3]


def _middle(brain: np.ndarray, grid: ReferenceGrid) -> np.ndarray:
    return grid.affine[:3, :3] @ np.array(ndimage.center_of_mass(brain)) + grid.affine[:3, 3]


def _box(members: Sequence[_Member], steps: Sequence[np.ndarray]) -> ReferenceGrid:
    """Grid of `WORKING_MM` round all brains, where they lie after the steps."""
    corners = []
    for member, step in zip(members, steps, strict=True):
        spans = [
            np.flatnonzero(member.inside.any(axis=other))[[0, -1]]
            for other in ((1, 2), (0, 2), (0, 1))
        ]
        voxels = np.array(np.meshgrid(*spans)).reshape(3, -1)
        world = step @ member.volume.affine
        corners.append(world[:3, :3] @ voxels + world[:3, 3:])
    low = np.min([c.min(axis=1) for c in corners], axis=0) - _MARGIN_MM
    high = np.max([c.max(axis=1) for c in corners], axis=0) + _MARGIN_MM
    x, y, z = (int(n) for n in np.ceil((high - low) / WORKING_MM) + 1)
    affine = np.diag([WORKING_MM, WORKING_MM, WORKING_MM, 1.0])
    affine[:3, 3] = low
    return ReferenceGrid("person", (x, y, z), affine, WORKING_MM)


def _mean(
    members: Sequence[_Member], steps: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, ReferenceGrid]:
    """Mean of all scans, each of one scale, and the brain of most, after the steps."""
    grid = _box(members, steps)

    def image(member: _Member) -> np.ndarray:
        return member.volume.data / np.float32(member.scale)

    mean = _mean_where_seen(image, members, steps, grid)
    return mean, _share_of_brain(members, steps, grid) >= 0.5, grid


def _share_of_brain(
    members: Sequence[_Member], worlds: Sequence[np.ndarray], grid: ReferenceGrid
) -> np.ndarray:
    """Share of the scans that show a voxel in which it is brain."""
    return _mean_where_seen(lambda m: m.inside.astype(np.float32), members, worlds, grid)


def _agreements(
    members: Sequence[_Member], steps: Sequence[np.ndarray], where: np.ndarray, grid: ReferenceGrid
) -> list[float]:
    """`agreements_of` the scans after the steps, where all are seen."""
    images = [
        resample_to_grid(
            member.volume.data / np.float32(member.scale),
            member.volume.affine,
            step,
            grid,
            order=1,
        )
        for member, step in zip(members, steps, strict=True)
    ]
    inside = where & np.all([image > 0 for image in images], axis=0)
    return agreements_of(images, inside, grid.voxel_mm)


def agreements_of(
    images: Sequence[np.ndarray], inside: np.ndarray, voxel_mm: float
) -> list[float]:
    """Correlation of each image with the mean of the others.

    Each voxel counts relative to what is around it: between scanners receive fields differ by more
    than anatomy does between people.

    Parameters
    ----------
    images : sequence of ndarray (X, Y, Z)
        In one space, each of one scale.
    inside : ndarray (X, Y, Z) bool
        Voxels that count.
    voxel_mm : float

    Returns
    -------
    list of float
        0 where fewer than two voxels count.
    """
    if np.count_nonzero(inside) < 2:
        return [0.0] * len(images)
    flat = []
    for image in images:
        held = np.where(inside, image, 0).astype(np.float32)
        around = mean_around(held, inside, _AROUND_MM / voxel_mm)
        flat.append(held[inside].astype(np.float64) / np.maximum(around[inside], _NOTHING))
    total = np.sum(flat, axis=0)
    return [float(np.corrcoef(own, total - own)[0, 1]) for own in flat]


def _mean_where_seen(
    image: Callable[[_Member], np.ndarray],
    members: Sequence[_Member],
    worlds: Sequence[np.ndarray],
    grid: ReferenceGrid,
) -> np.ndarray:
    """Mean over the scans whose field of view holds a voxel; 0 where none does."""
    total = np.zeros(grid.shape, np.float64)
    count = np.zeros(grid.shape, np.float64)
    for member, world in zip(members, worlds, strict=True):
        volume = member.volume
        here = np.ones(volume.data.shape, np.float32)
        seen = resample_to_grid(here, volume.affine, world, grid, order=1) >= _FULLY_SEEN
        data = resample_to_grid(image(member), volume.affine, world, grid, order=1)
        total += np.where(seen, data, 0)
        count += seen
    return (total / np.maximum(count, 1)).astype(np.float32)


def _to_mean(
    member: _Member,
    step: np.ndarray,
    mean: np.ndarray,
    grid: ReferenceGrid,
    region: np.ndarray | None,
    *,
    seed: int,
    sloppy: bool,
) -> np.ndarray:
    own = _box([member], [np.eye(4)])
    data = resample_to_grid(member.volume.data, member.volume.affine, np.eye(4), own, order=1)
    schedule = COARSE if sloppy else FINE
    return register_linear(
        mean, grid, data, own, "Rigid", step, schedule, seed=seed, region=region
    )


def _as_volume(mean: np.ndarray, grid: ReferenceGrid, like: Volume) -> Volume:
    import nibabel as nib

    from bids_harmony.imaging.volume import from_image

    return from_image(nib.Nifti1Image(mean, grid.affine), path=like.path)
