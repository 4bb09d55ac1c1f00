"""Whatever a caller has: paths, nibabel images, arrays, slices on the reference grid."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from scipy import ndimage

from bids_harmony.api.arguments import check_name, is_image
from bids_harmony.exceptions import ImageError, MissingInput, UsageError
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.reference import reference_grid, reference_mask
from bids_harmony.imaging.volume import Volume, from_image, ras_order, read_volume
from bids_harmony.io.checks import check_finite, check_values
from bids_harmony.io.header import sound_orientation
from bids_harmony.io.names import file_stem
from bids_harmony.io.nifti_file import parse_nifti, read_content
from bids_harmony.io.pointers import is_named

__all__ = ["Given", "brain_of_slices", "check_place", "given_image", "given_mask"]

Array = np.ndarray

#: Dice overlap of slices' mask with the template's brain; registered brains reach 0.9.
_LEAST_OVERLAP = 0.6


@dataclass(frozen=True, eq=False)
class Given:
    """One scan as it came.

    Attributes
    ----------
    label : str
        The file's name, or the scan's place in its list.
    volume : Volume or None
        The scan; None for slices on the reference grid.
    slices : (X, Y, n) float32 or None
        On the reference grid.
    heights : (n,) int or None
        Their indices along the grid's last axis.
    as_array : bool
        An array came, and an array goes back.
    """

    label: str
    volume: Volume | None
    slices: Array | None = None
    heights: Array | None = None
    as_array: bool = False

    @property
    def where(self) -> str:
        """The scan, for messages."""
        return str(self.volume.path) if self.volume and self.volume.path else self.label

    def digest(self) -> str:
        """sha256 of intensities and place: the same scan is known again."""
        data = self.volume.data if self.volume is not None else self.slices
        place = self.volume.affine if self.volume is not None else self.heights
        total = hashlib.sha256(np.ascontiguousarray(data).tobytes())
        total.update(np.ascontiguousarray(place).tobytes())
        return total.hexdigest()


def given_image(
    image: Any, modality: str, voxel_mm: float, *, label: str, affine: Any = None,
    heights: Sequence[int] | None = None,
) -> Given:  # fmt: skip
    """Read or take one scan.

    Parameters
    ----------
    image : path-like, nibabel image or (X, Y, Z) array
        An array without an affine is slices on the reference grid, (X, Y, n).
    modality : str
        What it is said to be; a file whose name says otherwise is refused.
    voxel_mm : float
        Spacing of the reference grid.
    label : str
        Of a scan without a file name.
    affine : (4, 4) array-like, optional
        Voxel indices of an array to RAS+ mm.
    heights : sequence of int, optional
        Of slices: indices along the grid's last axis; all by default.

    Raises
    ------
    UsageError, MissingInput, InputOutputError, ImageError
    """
    if isinstance(image, str | os.PathLike | SpatialImage):
        if affine is not None or heights is not None:
            raise UsageError(
                "affine and heights are for arrays", where=label, got=type(image).__name__
            )
        volume = _volume(image, label)
        check_name(volume.path, modality)
        return Given((volume.path and file_stem(volume.path)) or label, volume)
    if not is_image(image):
        raise UsageError(
            "This is not an image",
            where=label,
            expected="a path, a nibabel image or an array",
            got=type(image).__name__,
            hint="Several scans: call it for each, or use Harmonizer."
            if isinstance(image, list | tuple)
            else "",
        )
    array = _plain(image, label)
    if affine is None:
        return _slices(array, voxel_mm, heights, label)
    if heights is not None:
        raise UsageError("heights are for slices on the reference grid", where=label)
    return Given(
        label,
        from_image(nib.Nifti1Image(array, _affine(affine, label)), label=label),
        as_array=True,
    )


def given_mask(mask: Any, given: Given) -> BrainMask:
    """Take the brain mask of a scan.

    Parameters
    ----------
    mask : path-like, nibabel image or array
        On the scan's own grid; brain is what is above 0.5.
    given : Given

    Raises
    ------
    UsageError, MissingInput, InputOutputError
    ImageError
        It has another shape or grid, is empty, or has no plain numbers.
    """
    if not is_image(mask):
        raise UsageError(
            "This is not a brain mask",
            where=given.where,
            expected="a path, a nibabel image or an array",
            got=type(mask).__name__,
        )
    where = f"mask of {given.where}"
    affine = None
    if isinstance(mask, str | os.PathLike):
        where = str(mask)
        mask = parse_nifti(read_content(Path(mask)), Path(mask))
    if isinstance(mask, SpatialImage):
        affine = mask.affine
        mask = mask.get_fdata(dtype=np.float32, caching="unchanged")
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biuf":
        raise ImageError(
            "the brain mask has no plain numbers",
            where=where,
            expected="booleans, integers or real numbers",
            got=str(mask.dtype),
        )
    inside = mask > 0.5
    scan = given.volume.source if given.volume is not None else given.slices
    assert scan is not None  # one of both is there
    shape, wanted = _without_ones(inside.shape), _without_ones(scan.shape)
    other = given.volume is not None and affine is not None and shape == wanted and not (
        np.allclose(affine, given.volume.source.affine, atol=1e-3)
    )  # fmt: skip
    if shape != wanted or other:
        raise ImageError(
            "the brain mask is on another grid than the scan",
            where=where,
            expected="x".join(map(str, wanted)) + (" and the scan's affine" if other else ""),
            got="x".join(map(str, shape)) + (" and another affine" if other else ""),
            hint="Bring it there: nibabel.processing.resample_from_to(mask, image, order=0).",
        )
    if not inside.any():
        raise ImageError(
            "the brain mask is empty", where=where, expected="at least one voxel above 0.5"
        )
    data = inside if given.volume is None else ras_order(given.volume, inside)
    return BrainMask(data, "given")


def brain_of_slices(given: Given, voxel_mm: float) -> BrainMask:
    """What is above 0, holes filled; slices without a mask are taken for skull-stripped."""
    assert given.slices is not None
    mask = BrainMask(ndimage.binary_fill_holes(given.slices > 0), "skull-stripped")
    check_place(mask, given, voxel_mm)
    return mask


def check_place(mask: BrainMask, given: Given, voxel_mm: float) -> None:
    """Refuse slices that are not where the template's brain is.

    Raises
    ------
    ImageError
    """
    brain = reference_mask(reference_grid(voxel_mm))[..., given.heights]
    both, either = (int(np.count_nonzero(v)) for v in (mask.data & brain, mask.data | brain))
    overlap = 2 * both / max(1, both + either)
    if overlap < _LEAST_OVERLAP:
        raise ImageError(
            "the slices' brain is not where the reference's is",
            where=given.where,
            expected=f"a Dice overlap of {_LEAST_OVERLAP:g} and more",
            got=f"{overlap:.2f}",
            hint="Slices must be registered to MNI152NLin2009aSym and be skull-stripped or have "
            "a mask; an image with an affine is registered here.",
        )


def _volume(image: Any, label: str) -> Volume:
    if isinstance(image, SpatialImage):
        where = image.get_filename() or label
        if not isinstance(image, nib.Nifti1Image):
            image = nib.Nifti1Image.from_image(image)
        return from_image(sound_orientation(image, where), image.get_filename(), label=label)
    if not is_named(image):
        raise MissingInput("no such file", where=str(image))
    return read_volume(image)


def _plain(image: Any, label: str) -> Array:
    array = np.asarray(image)
    if array.ndim != 3 or min(array.shape) < 1 or array.dtype.kind not in "iuf":
        raise ImageError(
            "not a single three-dimensional array of plain numbers",
            where=label,
            expected="three dimensions, integers or real numbers",
            got=f"{'x'.join(map(str, array.shape)) or 'no dimension'} of {array.dtype}",
        )
    with np.errstate(over="ignore"):  # told as not finite
        return array.astype(np.float32)


def _affine(affine: Any, label: str) -> Array:
    try:
        found = np.asarray(affine, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (4, 4) or not np.isfinite(found).all() or not np.linalg.det(found[:3, :3]):
        raise UsageError(
            "This is not an affine",
            where=label,
            expected="(4, 4) numbers: voxel indices to RAS+ mm",
            got="values that are not finite, or axes that coincide"
            if found.shape == (4, 4)
            else f"{type(affine).__name__} of shape {np.shape(affine)}",
        )
    return found


def _slices(array: Array, voxel_mm: float, heights: Sequence[int] | None, label: str) -> Given:
    grid = reference_grid(voxel_mm)
    x, y, depth = grid.shape
    if array.shape[:2] != (x, y) or array.shape[2] > depth:
        raise UsageError(
            "An array without an affine must be slices on the reference grid",
            where=label,
            expected=f"({x}, {y}, n) with n up to {depth}: {grid.name} at {voxel_mm:g} mm",
            got=str(array.shape),
            hint="Give the array's affine (voxel indices to RAS+ mm); it is registered then.",
        )
    if heights is None and array.shape[2] != depth:
        raise UsageError(
            "It is not known at which heights these slices lie",
            where=label,
            expected=f"heights: {array.shape[2]} indices from 0 to {depth - 1}",
            got="none",
        )
    wanted = np.arange(depth) if heights is None else np.asarray(heights)
    if (
        wanted.shape != array.shape[2:]
        or wanted.dtype.kind not in "iu"
        or len(np.unique(wanted)) != len(wanted)
        or wanted.min() < 0
        or wanted.max() >= depth
    ):
        raise UsageError(
            "Heights that do not fit the slices",
            where=label,
            expected=f"{array.shape[2]} different indices from 0 to {depth - 1}",
            got=str(np.array2string(wanted, threshold=8)),
        )
    check_finite(array, label)
    check_values(array, label)
    return Given(label, None, array, wanted, as_array=True)


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape without what a fourth dimension of length one adds."""
    return tuple(shape[:3]) if all(n == 1 for n in shape[3:]) else tuple(shape)
