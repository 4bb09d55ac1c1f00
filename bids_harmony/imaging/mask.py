"""Brain masks: a scan's own foreground, a trained extractor's, or another scan's."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.reference import reference_grid, reference_mask
from bids_harmony.imaging.resampling import resample_from_grid
from bids_harmony.imaging.volume import Volume, read_volume
from bids_harmony.resources import one_torch_thread

__all__ = [
    "BrainMask",
    "brain_mask",
    "is_skull_stripped",
    "person_mask",
    "read_brain",
    "template_mask",
    "transfer_mask",
]

LEAST_BACKGROUND = 0.2
"""Share of voxels with exactly the background's value, in an image that is skull-stripped."""
LEAST_IN_ONE_PIECE = 0.98
"""Share of the foreground in its largest component."""
BRAIN_ML = (100.0, 2200.0)
"""Volume of a brain; heads begin at about 2500 ml, even defaced ones."""
DEEPEST_MM = 58.0
"""Half the width of a large brain: no point of a brain is farther from its surface. Heads' are."""
LARGEST_CUT = 0.15
"""Area of foreground on a face of the image, relative to its largest section: heads are cut at the
neck or at the sides, a whole brain is not."""
SMALLEST_BRAIN_ML = 50.0
"""An extractor's mask below this is no brain."""


@dataclass(frozen=True, eq=False)
class BrainMask:
    """Brain of a scan.

    Attributes
    ----------
    data : ndarray (X, Y, Z) bool
        On the RAS+ grid of the scan's volume.
    kind : {"given", "skull-stripped", "deepbet", "T1w", "template", "median-otsu", "person"}
        Where it comes from.
    """

    data: np.ndarray
    kind: Literal["given", "skull-stripped", "deepbet", "T1w", "template", "median-otsu", "person"]


def read_brain(path: str | os.PathLike[str], kind: Any = "given") -> BrainMask:
    """Read a brain mask that this package wrote; `kind` tells how it was made."""
    return BrainMask(read_volume(path).data > 0.5, kind)


def _foreground(volume: Volume) -> tuple[np.ndarray, float]:
    """What differs from the background's value, holes filled, largest component; share of it.

    The background's value is the commonest of the eight corners.
    """
    corners = volume.data[np.ix_((0, -1), (0, -1), (0, -1))]
    values, counts = np.unique(corners, return_counts=True)
    background = values[counts.argmax()]
    foreground = volume.data != background
    labels, n_pieces = ndimage.label(foreground)
    if n_pieces == 0:
        return foreground, 0.0
    sizes = np.bincount(labels.ravel())[1:]
    largest = labels == 1 + sizes.argmax()
    return ndimage.binary_fill_holes(largest), float(sizes.max() / sizes.sum())


def is_skull_stripped(volume: Volume) -> bool:
    """Whether an image shows a brain alone, by its shape; intensities do not matter.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    bool
        True where a large share of the image is one exact value, and the rest is one piece of a
        brain's volume and thickness that no face of the image cuts. Defaced heads, with their
        large region of zeros, are too big and too thick.
    """
    return _brain_alone(volume) is not None


def _brain_alone(volume: Volume) -> np.ndarray | None:
    """The foreground of a skull-stripped image; None of any other."""
    foreground, in_one_piece = _foreground(volume)
    background = 1.0 - np.count_nonzero(foreground) / foreground.size
    millilitres = np.count_nonzero(foreground) * abs(np.linalg.det(volume.affine[:3, :3])) / 1e3
    if (
        background < LEAST_BACKGROUND
        or in_one_piece < LEAST_IN_ONE_PIECE
        or not BRAIN_ML[0] <= millilitres <= BRAIN_ML[1]
    ):
        return None
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        areas = foreground.sum(axis=others)
        if max(areas[0], areas[-1]) > LARGEST_CUT * areas.max():
            return None
    return foreground if _deepest_mm(foreground, volume.voxel_mm) <= DEEPEST_MM else None


def _deepest_mm(foreground: np.ndarray, voxel_mm: tuple[float, float, float]) -> float:
    """Radius of the largest ball inside the foreground, on voxels of about 3 mm."""
    step = tuple(max(1, round(3.0 / edge)) for edge in voxel_mm)
    coarse = np.pad(foreground[:: step[0], :: step[1], :: step[2]], 1)
    sampling = [s * edge for s, edge in zip(step, voxel_mm, strict=True)]
    return float(ndimage.distance_transform_edt(coarse, sampling=sampling).max())


def brain_mask(volume: Volume, *, device: str = "cpu") -> BrainMask:
    """Brain of a structural scan from the scan itself.

    Parameters
    ----------
    volume : Volume
    device : str
        "cpu", or a torch device for the extractor.

    Returns
    -------
    BrainMask
        Of kind "skull-stripped" (the image's own foreground, filled) or "deepbet" (Fisch et al.,
        Sci Rep 2024; weights in its wheel). It was made for T1w; in T2w and FLAIR heads it finds
        the brain as well (benchmarks/masks.py).

    Raises
    ------
    ImageError
        No brain was found.
    """
    own = _brain_alone(volume)
    if own is not None:
        return BrainMask(own, "skull-stripped")
    return BrainMask(_extract(volume, device), "deepbet")


@lru_cache(maxsize=2)
def extractor(no_gpu: bool) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        from deepbet import BrainExtraction

        return BrainExtraction(no_gpu=no_gpu)


def _extract(volume: Volume, device: str) -> np.ndarray:
    image = nib.Nifti1Image(volume.data, volume.affine)
    try:
        with one_torch_thread(), contextlib.redirect_stdout(io.StringIO()):
            _, mask, _ = extractor(device == "cpu").run(image)
    except (AssertionError, ValueError) as error:
        # Its bounding box network found no foreground, or the mask came out empty.
        raise ImageError("no brain was found", where=volume.where, got=str(error)) from error
    data = np.asarray(mask.dataobj).reshape(volume.data.shape) > 0
    millilitres = np.count_nonzero(data) * abs(np.linalg.det(volume.affine[:3, :3])) / 1e3
    if millilitres < SMALLEST_BRAIN_ML:
        raise ImageError(
            "no brain was found",
            where=volume.where,
            expected=f"a brain of {SMALLEST_BRAIN_ML:g} ml and more",
            got=f"{millilitres:.0f} ml",
            hint="Give a brain mask (--derivatives, in Python mask); brains of animals and "
            "fetuses are too small for the template.",
        )
    return data


def transfer_mask(
    mask: BrainMask,
    mask_affine: np.ndarray,
    volume: Volume,
    world: np.ndarray,
    *,
    to_reference: np.ndarray | None = None,
) -> BrainMask:
    """Carry a mask from one scan to another.

    Parameters
    ----------
    mask : BrainMask
        Of the other scan (the T1w of the same person).
    mask_affine : ndarray (4, 4)
        Its grid: voxel indices to RAS+ mm.
    volume : Volume
        The scan that needs a mask.
    world : ndarray (4, 4)
        RAS+ mm of `volume` to RAS+ mm of the mask (`register_rigid(volume, ..., t1w, ...).world`).
    to_reference : ndarray (4, 4), optional
        RAS+ mm of the mask to reference RAS+ mm (`register_to_reference(t1w, ...).world`). Where
        `volume` reaches beyond the other scan's field of view, the template's brain fills in;
        without it the mask ends there, and a thin T1w slab cuts off vertex and cerebellum.

    Returns
    -------
    BrainMask
        On the grid of `volume`, kind "T1w".

    Raises
    ------
    ImageError
        The mask lies outside the scan.
    """
    other = ReferenceGrid("T1w", mask.data.shape, np.asarray(mask_affine), 1.0)
    inside = _mask_from_grid(mask.data, other, volume, world)
    if to_reference is not None:
        seen = _mask_from_grid(np.ones_like(mask.data), other, volume, world)
        if not seen.all():
            beyond = template_mask(volume, to_reference @ world).data
            inside = np.where(seen, inside, beyond)
    return BrainMask(inside, "T1w")


def template_mask(volume: Volume, world: np.ndarray) -> BrainMask:
    """The template's brain on a scan's grid, for a T2w or FLAIR without a T1w.

    Parameters
    ----------
    volume : Volume
    world : ndarray (4, 4)
        RAS+ mm of `volume` to reference RAS+ mm, as `register_to_reference(volume, None, ...)`
        finds it.

    Returns
    -------
    BrainMask
        Kind "template".
    """
    grid = reference_grid(1.0)
    return BrainMask(_mask_from_grid(reference_mask(grid), grid, volume, world), "template")


def person_mask(shared: np.ndarray, volume: Volume, world: np.ndarray) -> BrainMask:
    """The brain that all sessions of a person share, on a scan's grid.

    Parameters
    ----------
    shared : ndarray bool
        On the reference grid of 1 mm, see `within_person.share_space`.
    volume : Volume
    world : ndarray (4, 4)
        RAS+ mm of `volume` to reference RAS+ mm.

    Returns
    -------
    BrainMask
        Kind "person".
    """
    return BrainMask(_mask_from_grid(shared, reference_grid(1.0), volume, world), "person")


def _mask_from_grid(
    inside: np.ndarray, grid: ReferenceGrid, volume: Volume, world: np.ndarray
) -> np.ndarray:
    shape = volume.data.shape
    carried = resample_from_grid(
        inside.astype(np.float32), grid, world, volume.affine, (shape[0], shape[1], shape[2])
    )
    if not (carried >= 0.5).any():
        raise ImageError(
            "a brain mask that lies outside the scan",
            where=volume.where,
            hint="Look at the registration and at the orientation in the header.",
        )
    return carried >= 0.5
