"""Transforms of other pipelines that need not be linear: ITK's composite ``.h5``, or ITK text.

fMRIPrep, sMRIPrep and QSIPrep leave ``from-T1w_to-<template>_mode-image_xfm.h5``: affine
transforms and displacement fields. They lead points of the fixed space to points of the moving
one, in LPS mm; the last in the file acts first. ITK itself ends the process on a file that it
cannot read, so that files are read here.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.transforms import (
    LPS,
    WORST_CONDITION,
    from_itk,
    itk_matrix,
    read_transform,
    to_itk,
)
from bids_harmony.io.reading import MOST_TEXT, read_bytes, shown

__all__ = ["Field", "Warp", "affine_of", "onto_warped", "read_chain", "read_warp"]

MOST_BYTES = 2_000_000_000
"""Of a file; fields at 0.5 mm have half a gigabyte."""
_LARGEST = 1e6
"""Of numbers in a linear transform, mm: heads are smaller."""
_SLAB_VOXELS = 400_000
# What h5py raises on damaged files.
_OF_HDF5 = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
    OverflowError,
)


@dataclass(frozen=True, eq=False)
class Field:
    """A displacement field.

    Attributes
    ----------
    moves : ndarray (3, X, Y, Z) float32
        Displacement in LPS mm.
    to_voxel : ndarray (4, 4) float64
        LPS mm to voxel indices.
    """

    moves: NDArray[np.float32]
    to_voxel: NDArray[np.float64]

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 3) in LPS mm after the field; beyond its edge they stay."""
        voxel = points @ self.to_voxel[:3, :3].T + self.to_voxel[:3, 3]
        moved = [
            ndimage.map_coordinates(axis, voxel.T, order=1, mode="constant", cval=0.0)
            for axis in self.moves
        ]
        return points + np.stack(moved, axis=1)


@dataclass(frozen=True, eq=False)
class Warp:
    """What leads points of the fixed space to points of the moving one.

    Attributes
    ----------
    parts : tuple of ndarray (4, 4) or Field
        In LPS mm, in the order of the file: the last acts first.
    """

    parts: tuple[NDArray[np.float64] | Field, ...]

    def points(self, fixed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of the moving space (N, 3), RAS+ mm, of points of the fixed space."""
        here = fixed @ LPS[:3, :3]
        for part in reversed(self.parts):
            if isinstance(part, Field):
                here = part.at(here)
            else:
                here = here @ part[:3, :3].T + part[:3, 3]
        return here @ LPS[:3, :3]


def read_warp(path: str | os.PathLike[str]) -> Warp:
    """Read a transform of another pipeline.

    Parameters
    ----------
    path : path-like
        ``.h5`` as ANTs and ITK write it, or one linear transform as text.

    Returns
    -------
    Warp

    Raises
    ------
    MissingInput, InputOutputError
        The file is not there, or cannot be read.
    DataError
        Not such a transform.
    """
    path = Path(path)
    if path.suffix != ".h5":
        return Warp((to_itk(read_chain([path])),))
    content = read_bytes(path, most=MOST_BYTES, holds="transform")
    import h5py

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            group = file["TransformGroup"]
            parts = [_part(group[name], path) for name in sorted(group, key=int)]
    except _OF_HDF5 as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error
    found = tuple(part for part in parts if part is not None)
    if not found:
        raise _unreadable(path, "no transform")
    return Warp(found)


def read_chain(paths: Sequence[str | os.PathLike[str]]) -> NDArray[np.float64]:
    """Linear transforms that follow each other, the first from the scan.

    Parameters
    ----------
    paths : sequence of path-like
        ITK text, or ``.mat`` as ANTs writes it.

    Returns
    -------
    ndarray (4, 4) float64
        RAS+ mm of the scan to RAS+ mm of the last one's fixed space; of none the identity.

    Raises
    ------
    MissingInput, InputOutputError, DataError
        As `transforms.read_transform`.
    """
    world = np.eye(4)
    for path in map(Path, paths):
        world = (_read_mat(path) if path.suffix == ".mat" else read_transform(path)) @ world
    return world


def _read_mat(path: Path) -> NDArray[np.float64]:
    """A linear transform in MATLAB's format of version 4."""
    from scipy.io import loadmat

    content = read_bytes(path, most=MOST_TEXT, holds="transform")
    try:
        fields = loadmat(io.BytesIO(content))
    except Exception as error:
        # What scipy raises on damaged files is of many kinds.
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error
    numbers = [
        np.asarray(value, np.float64).ravel()
        for name, value in fields.items()
        if name.startswith(("AffineTransform", "MatrixOffset")) and np.size(value) == 12
    ]
    centre = np.asarray(fields.get("fixed", np.zeros(3)), np.float64).ravel()
    if len(numbers) != 1 or len(centre) != 3:
        raise _unreadable(path, shown(", ".join(n for n in fields if not n.startswith("__"))))
    return from_itk(_matrix(numbers[0], centre, path))


def _matrix(
    numbers: NDArray[np.float64], centre: NDArray[np.float64], path: Path
) -> NDArray[np.float64]:
    if np.abs([*numbers, *centre]).max() < _LARGEST:  # also no NaN
        matrix = itk_matrix(numbers, centre)
        if np.linalg.cond(matrix[:3, :3]) < WORST_CONDITION:
            return matrix
    raise _unreadable(path, "a matrix that cannot be undone")


def _part(group: Any, path: Path) -> NDArray[np.float64] | Field | None:
    """One transform of the file; None for the composite that holds the others.

    Kinds are told by their numbers: the HDF5 library can read for ever where the text that names
    the kind is damaged.
    """
    # Files of an early ITK misspell the name.
    numbers = _numbers(group, ("TransformParameters", "TranformParameters"))
    fixed = _numbers(group, ("TransformFixedParameters", "TranformFixedParameters"))
    if numbers is None or fixed is None:
        return None
    if (numbers.size, fixed.size) == (12, 3):
        return _matrix(numbers.astype(np.float64), fixed.astype(np.float64), path)
    if fixed.size == 18:
        return _field(numbers, fixed.astype(np.float64), path)
    raise _unreadable(path, f"a transform of {numbers.size} and {fixed.size} parameters")


def _numbers(group: Any, names: tuple[str, ...]) -> NDArray[np.floating] | None:
    name = next((name for name in names if name in group), None)
    if name is None:
        return None
    data = group[name]
    if data.dtype.kind != "f" or data.size > MOST_BYTES // data.dtype.itemsize:
        raise ValueError(f"{name} of {data.size} {data.dtype}")
    return np.asarray(data[()]).ravel()


def _field(numbers: NDArray[np.floating], fixed: NDArray[np.float64], path: Path) -> Field:
    """Fixed parameters are size, origin, spacing and direction; vectors follow each other."""
    size = fixed[:3]
    shape = tuple(int(n) for n in size)
    if not (np.isfinite(fixed).all() and (size >= 2).all() and (size == np.round(size)).all()):
        raise _unreadable(path, f"a field of {shown(size.tolist())} voxels")
    if numbers.size != 3 * prod(shape) or not np.isfinite(numbers).all():
        raise _unreadable(path, f"{numbers.size} displacements for a field of {shape} voxels")
    to_lps = np.eye(4)
    to_lps[:3, :3] = fixed[9:18].reshape(3, 3) * fixed[6:9]
    to_lps[:3, 3] = fixed[3:6]
    if abs(np.linalg.det(to_lps[:3, :3])) < 1e-9:
        raise _unreadable(path, "a grid without extent")
    moves = numbers.astype(np.float32).reshape((*shape[::-1], 3)).T
    to_voxel = np.asarray(np.linalg.inv(to_lps), np.float64)
    return Field(np.ascontiguousarray(moves), to_voxel)


def _unreadable(path: Path, got: str) -> DataError:
    return DataError(
        "not a transform that can be used",
        where=str(path),
        expected="affine transforms and displacement fields, as ANTs writes them",
        got=got,
    )


def affine_of(warp: Warp, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The affine nearest to a warp over some points.

    Parameters
    ----------
    warp : Warp
    points : ndarray (N, 3)
        Of the fixed space, RAS+ mm, such as a lattice in the template's brain.

    Returns
    -------
    world : ndarray (4, 4) float64
        Moving RAS+ mm to fixed RAS+ mm.
    left : float
        Root mean square of what the affine leaves of the warp, mm.
    """
    ones = np.ones((len(points), 1))
    moved = warp.points(points)
    solved, *_ = np.linalg.lstsq(np.hstack([points, ones]), moved, rcond=None)
    rest = moved - np.hstack([points, ones]) @ solved
    matrix = np.eye(4)
    matrix[:3] = solved.T
    world = np.asarray(np.linalg.inv(matrix), np.float64)
    return world, float(np.sqrt((rest**2).sum(axis=1).mean()))


def onto_warped(volume: Any, world: NDArray[np.float64], warp: Warp, like: Any) -> np.ndarray:
    """Resample a scan to the grid of a template through a warp, once, by cubic splines.

    Parameters
    ----------
    volume : Volume
    world : ndarray (4, 4)
        RAS+ mm of `volume` to RAS+ mm of the warp's moving space.
    warp : Warp
    like : Volume
        In the warp's fixed space; gives the grid.

    Returns
    -------
    ndarray (X, Y, Z) float32
        As `templates.onto`.
    """
    to_voxel = np.linalg.inv(volume.affine) @ np.linalg.inv(world)
    spline = ndimage.spline_filter(volume.data.astype(np.float32), order=3, output=np.float32)
    shape = like.data.shape
    moved = np.empty(shape, np.float32)
    step = max(1, _SLAB_VOXELS // (shape[1] * shape[2]))
    for first in range(0, shape[0], step):
        slab = slice(first, min(first + step, shape[0]))
        indices = np.stack(
            np.meshgrid(
                np.arange(slab.start, slab.stop), *map(np.arange, shape[1:]), indexing="ij"
            ),
            axis=-1,
        ).reshape(-1, 3)
        there = warp.points(indices @ like.affine[:3, :3].T + like.affine[:3, 3])
        voxel = there @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        moved[slab] = ndimage.map_coordinates(
            spline, voxel.T, order=3, mode="constant", cval=0.0, prefilter=False
        ).reshape(moved[slab].shape)
    return np.clip(moved, min(0, volume.data.min()), volume.data.max())
