"""The regular grid on which scans of all sites are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ReferenceGrid"]


@dataclass(frozen=True, eq=False)
class ReferenceGrid:
    """A regular grid in reference space.

    Attributes
    ----------
    name : str
        TemplateFlow name of the space.
    shape : tuple of int
        Number of voxels (X, Y, Z), RAS+ order.
    affine : ndarray (4, 4)
        Voxel indices to RAS+ mm.
    voxel_mm : float
        Edge of a voxel in mm.
    """

    name: str
    shape: tuple[int, int, int]
    affine: np.ndarray
    voxel_mm: float
