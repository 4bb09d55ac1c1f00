"""Linear transforms as ITK text files, which ANTs, Slicer, nitransforms and fMRIPrep read.

In memory a transform is `world`: RAS+ mm of the moving scan to RAS+ mm of the fixed space. The
file `from-T1w_to-<template>` holds what resamples the scan onto the template: points of the fixed
space to points of the moving one, in LPS mm, which is LPS @ inv(world) @ LPS.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.io.atomic import write_atomically
from bids_harmony.io.reading import MOST_TEXT, read_bytes, shown

__all__ = ["from_itk", "read_transform", "to_itk", "write_transform"]

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
WORST_CONDITION = 1e6
"""Largest over smallest stretch of a transform; those between heads stay below 3."""


def to_itk(world: np.ndarray) -> np.ndarray:
    """`world` as ITK's matrix: fixed to moving points, LPS mm, (4, 4)."""
    return LPS @ np.linalg.inv(world) @ LPS


def from_itk(matrix: np.ndarray) -> np.ndarray:
    """ITK's matrix (fixed to moving points, LPS mm) as `world`, (4, 4)."""
    return np.linalg.inv(LPS @ matrix @ LPS)


def itk_matrix(parameters: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Homogeneous matrix of ITK's x -> A (x - c) + c + t; `parameters` are A by rows, then t."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(parameters[:9], (3, 3))
    matrix[:3, 3] = parameters[9:12] + centre - matrix[:3, :3] @ centre
    return matrix


def write_transform(world: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write a linear transform as ITK text.

    Parameters
    ----------
    world : ndarray (4, 4)
        Moving RAS+ mm to fixed RAS+ mm.
    path : path-like
        `.txt` (or `.tfm`); `antsApplyTransforms -i moving -r fixed -t path` takes it as it is.
    """
    matrix = to_itk(np.asarray(world, dtype=np.float64))
    numbers = " ".join(repr(float(v)) for v in (*matrix[:3, :3].ravel(), *matrix[:3, 3]))
    text = (
        "#Insight Transform File V1.0\n"
        "#Transform 0\n"
        "Transform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\n"
        "FixedParameters: 0 0 0\n"
    )
    write_atomically(path, text.encode())


def read_transform(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a linear transform from ITK text.

    Parameters
    ----------
    path : path-like
        One linear transform (affine, or a rigid one written as a matrix).

    Returns
    -------
    ndarray (4, 4) float64
        `world`: moving RAS+ mm to fixed RAS+ mm.

    Raises
    ------
    MissingInput
        No such file.
    DataError
        Not one linear transform in ITK text form.
    """
    path = Path(path)
    if not os.path.lexists(path):
        raise MissingInput("no such transform", where=str(path))
    try:
        text = read_bytes(path, most=MOST_TEXT, holds="transform").decode()
    except UnicodeDecodeError as error:
        raise DataError(
            "not a transform in text form", where=str(path), expected="ITK text (.txt, .tfm)"
        ) from error
    kinds = re.findall(r"^Transform:\s*(\S+)", text, flags=re.MULTILINE)
    lines = re.findall(
        r"^(Parameters|FixedParameters):[ \t]*([-+.0-9eE \t]*)$", text, flags=re.MULTILINE
    )
    try:
        fields = {name: np.array(values.split(), dtype=np.float64) for name, values in lines}
    except ValueError as error:
        raise DataError(
            "parameters that are no numbers", where=str(path), got=str(error)
        ) from error
    numbers, centre = fields.get("Parameters"), fields.get("FixedParameters", np.zeros(3))
    linear = len(kinds) == 1 and kinds[0].startswith(("AffineTransform", "MatrixOffset"))
    if not linear or numbers is None or len(numbers) != 12 or len(centre) != 3:
        raise DataError(
            "not one linear transform",
            where=str(path),
            expected="an ITK text file with one affine transform of 12 parameters",
            got=shown(", ".join(kinds)) if kinds else "no transform",
        )
    matrix = itk_matrix(numbers, centre)
    if not (np.isfinite(matrix).all() and np.linalg.cond(matrix[:3, :3]) < WORST_CONDITION):
        raise DataError(
            "a transform that cannot be undone",
            where=str(path),
            expected="12 finite parameters of an invertible matrix",
            got=np.array2string(numbers, precision=3),
        )
    return from_itk(matrix)
