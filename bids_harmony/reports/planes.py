"""Orthogonal planes of a volume: where to cut, and slices as they go on paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError

__all__ = [
    "PLANES",
    "Cell",
    "Picture",
    "Plane",
    "check_one_grid",
    "cut",
    "in_ras",
    "voxel_sizes",
]


class Plane(NamedTuple):
    """A plane of a RAS volume: its normal, the axes that run right and up, the letters at their
    ends."""

    name: str
    normal: int
    right: int
    up: int
    letters: tuple[str, str]


PLANES = (
    Plane("axial", 2, 0, 1, ("L", "R")),
    Plane("coronal", 1, 0, 2, ("L", "R")),
    Plane("sagittal", 0, 1, 2, ("P", "A")),
)


class Cell(NamedTuple):
    """A slice on paper.

    Attributes
    ----------
    image : (up, right) or (up, right, 3) array
        Values, or red, green and blue from 0 to 1.
    pixel : (float, float)
        Edges to the right and up, mm.
    style : mapping
        Keywords of matplotlib's ``imshow``.
    letters : (str, str), optional
        At the upper corners.
    outlines : mapping of colour to (up, right) bool array
        Regions whose borders are drawn.
    stroke : float
        Width of the borders, points.
    """

    image: NDArray
    pixel: tuple[float, float]
    style: Mapping[str, Any]
    letters: tuple[str, str] | None = PLANES[0].letters
    outlines: Mapping[str, NDArray[np.bool_]] = {}
    stroke: float = 0.7

    @property
    def size(self) -> tuple[float, float]:
        """Extent to the right and up, mm."""
        return self.image.shape[1] * self.pixel[0], self.image.shape[0] * self.pixel[1]


@dataclass(frozen=True)
class Picture:
    """A grid in RAS order with its voxel size (mm), the voxel to cut at and the box that is
    shown."""

    voxel: NDArray[np.float64]
    centre: tuple[int, ...]
    box: tuple[slice, ...]

    def plane(self, data: NDArray, plane: Plane) -> NDArray:
        """A plane of an array on this grid, within the box, as (up, right) or (up, right, 3)."""
        index: list[Any] = list(self.box)
        index[plane.normal] = self.centre[plane.normal]
        return data[tuple(index)].swapaxes(0, 1)

    def cell(
        self,
        data: NDArray,
        plane: Plane,
        style: Mapping[str, Any],
        outlines: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> Cell:
        """A plane as it goes on paper, with the borders of regions on the same grid."""
        regions = {colour: self.plane(r, plane) for colour, r in (outlines or {}).items()}
        pixel = float(self.voxel[plane.right]), float(self.voxel[plane.up])
        return Cell(self.plane(data, plane), pixel, style, plane.letters, regions)

    def size(self, axis: int) -> float:
        """Extent of the box along an axis, mm."""
        return (self.box[axis].stop - self.box[axis].start) * float(self.voxel[axis])


def check_one_grid(mask: ArrayLike, *images: ArrayLike, where: object) -> None:
    """Raise DataError unless images and mask have one three-dimensional shape and the mask has a
    voxel."""
    shapes = [np.shape(array) for array in (*images, mask)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 3:
        got = ", ".join(map(str, shapes))
        raise DataError("A figure needs volumes on one grid", where=str(where), got=got)
    if not np.any(mask):
        raise DataError("The mask is empty", where=str(where), expected="at least one voxel")


def in_ras(data: NDArray, affine: NDArray) -> NDArray:
    """Turn an array into the RAS order of its affine by flips and permutations."""
    return nib.orientations.apply_orientation(data, nib.orientations.io_orientation(affine))


def voxel_sizes(affine: NDArray) -> NDArray[np.float64]:
    """Voxel edges in mm, in the order that `in_ras` leaves."""
    order = np.argsort(nib.orientations.io_orientation(affine)[:, 0])
    return np.asarray(nib.affines.voxel_sizes(affine), dtype=np.float64)[order]


def cut(brain: NDArray[np.bool_], shown: NDArray[np.bool_], voxel: NDArray[np.float64]) -> Picture:
    """Planes where the brain is largest, in the smallest box around everything that is to be seen.

    Parameters
    ----------
    brain, shown : (X, Y, Z) bool arrays
        RAS order. An empty brain is cut in the middle, an empty `shown` is shown whole.
    voxel : (3,) array
        mm.
    """
    centre, box = [], []
    for axis, length in enumerate(brain.shape):
        others = tuple(a for a in range(3) if a != axis)
        areas = brain.sum(axis=others)
        centre.append(int(areas.argmax()) if areas.any() else length // 2)
        filled = np.flatnonzero((brain | shown).any(axis=others))
        first, last = (filled[0], filled[-1]) if filled.size else (0, length - 1)
        margin = round(4 / float(voxel[axis]))
        box.append(slice(max(0, int(first) - margin), min(length, int(last) + 1 + margin)))
    return Picture(voxel, tuple(centre), tuple(box))
