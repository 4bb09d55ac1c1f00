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
from bids_harmony.imaging.atomic import write_atomically

__all__ = ["from_itk", "read_transform", "to_itk", "write_transform"]

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


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
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise MissingInput("no such transform", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise DataError(
            "not a transform in text form", where=str(path), expected="ITK text (.txt, .tfm)"
        ) from error
    kinds = re.findall(r"^Transform:\s*(\S+)", text, flags=re.MULTILINE)
    fields = {
        name: np.array(values.split(), dtype=np.float64)
        for name, values in re.findall(
            r"^(Parameters|FixedParameters):[ \t]*([-+.\deE \t]*)$", text, flags=re.MULTILINE
        )
    }
    numbers, centre = fields.get("Parameters"), fields.get("FixedParameters", np.zeros(3))
    linear = len(kinds) == 1 and kinds[0].startswith(("AffineTransform", "MatrixOffset"))
    if not linear or numbers is None or len(numbers) != 12 or len(centre) != 3:
        raise DataError(
            "not one linear transform",
            where=str(path),
            expected="an ITK text file with one affine transform of 12 parameters",
            got=", ".join(kinds) or "no transform",
        )
    return from_itk(itk_matrix(numbers, centre))
