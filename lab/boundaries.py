"""How far a tissue boundary moved, in mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError

__all__ = ["Displacement", "boundary_displacement_mm", "tissue_boundaries"]


@dataclass(frozen=True)
class Displacement:
    """Symmetric distance of two surfaces.

    Attributes
    ----------
    mean_mm, p95_mm : float
        Mean and 95th percentile over the points of both surfaces.
    """

    mean_mm: float
    p95_mm: float


def tissue_boundaries(probabilities: NDArray) -> dict[str, NDArray[np.float32]]:
    """Fractions whose 0.5 level is a boundary of the brain's tissues.

    Parameters
    ----------
    probabilities : (3, X, Y, Z) float
        Grey matter, white matter, CSF.

    Returns
    -------
    dict of (X, Y, Z) float32
        ``wm``: white matter against all else; ``pial``: grey and white matter against CSF.
    """
    gm, wm = (np.asarray(p, dtype=np.float32) for p in probabilities[:2])
    return {"wm": wm, "pial": gm + wm}


def boundary_displacement_mm(
    first: NDArray, second: NDArray, voxel_mm: float | Sequence[float]
) -> Displacement:
    """Distance between the 0.5 levels of two fraction maps, both ways.

    Surfaces come from marching cubes (Lewiner et al. 2003), so fractions give a position between
    voxels. The distance of a point is the one to the tangent plane at the nearest point of the
    other surface, which is second order in the size of the triangles; where that point lies more
    than a voxel aside (an edge, whose normal says little), the full distance counts.

    Parameters
    ----------
    first, second : (X, Y, Z) float or bool
        Fractions from 0 to 1; bool gives steps of half a voxel.
    voxel_mm : float or (3,) float

    Returns
    -------
    Displacement
        0 for equal maps.

    Raises
    ------
    DataError
        If shapes differ or a map has no boundary.
    """
    from scipy.spatial import cKDTree

    if np.shape(first) != np.shape(second):
        raise DataError(
            "Maps of a boundary are not on one grid",
            expected=str(np.shape(first)),
            got=str(np.shape(second)),
        )
    spacing = np.broadcast_to(np.asarray(voxel_mm, dtype=np.float64), (3,))
    surfaces = [_surface(fraction, spacing) for fraction in (first, second)]
    reach = float(spacing.max())
    distances = []
    for (points, _), (others, normals) in (surfaces, surfaces[::-1]):
        full, nearest = cKDTree(others).query(points)
        across = np.abs(np.sum((points - others[nearest]) * normals[nearest], axis=1))
        aside = np.sqrt(np.maximum(full**2 - across**2, 0))
        distances.append(np.where(aside <= reach, across, full))
    # Both surfaces weigh the same, however many points they have.
    both = np.concatenate(distances)
    weight = np.concatenate([np.full(d.size, 0.5 / d.size) for d in distances])
    order = np.argsort(both, kind="stable")
    reached = np.searchsorted(np.cumsum(weight[order]), 0.95)
    return Displacement(float(both @ weight), float(both[order][min(reached, both.size - 1)]))


def _surface(
    fraction: NDArray, spacing: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and unit normals of the 0.5 level, mm from the first voxel."""
    from skimage.measure import marching_cubes

    # The border is outside: a brain that reaches it has a boundary there.
    padded = np.pad(np.asarray(fraction, dtype=np.float32), 1)
    if not padded.max() > 0.5:
        raise DataError(
            "A map has no boundary",
            expected="fractions above 0.5",
            got=f"{padded.max():g} at most",
        )
    points, _, normals, _ = marching_cubes(padded, 0.5, spacing=tuple(spacing))
    return points.astype(np.float64) - spacing, normals.astype(np.float64)
