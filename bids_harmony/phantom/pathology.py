"""Lesions of white matter: simulated people are not all healthy, and no model should think so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from bids_harmony.phantom.anatomy import Anatomy

__all__ = ["with_lesions"]

#: Radius in mm, and what relaxation times in a lesion's middle are multiplied by: from mild
#: hyperintensities to chronic demyelination (Larsson et al. 1989, Magn Reson Med 11:337).
RADIUS_MM = (1.5, 7.0)
T1_TIMES = (1.1, 2.2)
T2_TIMES = (1.1, 2.6)
MOST = 12
#: A load that is not reached with so many lesions has no white matter left to lie in.
_MOST_OF_A_LOAD = 200


def with_lesions(anatomy: Anatomy, seed: int, *, load_ml: float | None = None) -> Anatomy:
    """Give a person one to `MOST` lesions, or as many as a load takes.

    Parameters
    ----------
    anatomy : Anatomy
    seed : int
        The same seed gives the same lesions.
    load_ml : float, optional
        Volume of all lesions together, soft edges counted by their share. The last one is made
        as small as is needed, but not below the smallest radius: up to 0.02 ml too many.

    Returns
    -------
    Anatomy
        The same tissues; T1 and T2 are longer in lesions, whose outlines are uneven and soft.
        Without white matter the person as it is.
    """
    rng = np.random.default_rng([seed, 0x1E])
    places = np.argwhere(anatomy.fractions[1] > 0.9)
    if not len(places):
        return anatomy
    step, shape = anatomy.grid.voxel_mm, anatomy.grid.shape
    uneven = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 2.0 / step)
    uneven /= uneven.std()
    t1, t2 = anatomy.t1_factor.copy(), anatomy.t2_factor.copy()
    most = int(rng.integers(1, MOST + 1)) if load_ml is None else _MOST_OF_A_LOAD
    left_mm3 = np.inf if load_ml is None else 1000 * load_ml
    for _ in range(most):
        if left_mm3 <= 0:
            break
        centre = places[rng.integers(len(places))] * step
        radius = rng.uniform(*RADIUS_MM)
        if load_ml is not None:
            radius = max(RADIUS_MM[0], min(radius, np.cbrt(0.75 * left_mm3 / np.pi)))
        box, profile = _profile(anatomy, centre, radius, rng.uniform(0.7, 1.4, 3), uneven)
        t1[box] *= 1 + (rng.uniform(*T1_TIMES) - 1) * profile
        t2[box] *= 1 + (rng.uniform(*T2_TIMES) - 1) * profile
        left_mm3 -= float(profile.sum()) * step**3
    return replace(anatomy, t1_factor=t1, t2_factor=t2)


def _profile(
    anatomy: Anatomy, centre: np.ndarray, radius: float, stretch: np.ndarray, uneven: np.ndarray
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Where a lesion lies and its share of each voxel there; only its box is worked on."""
    step, shape = anatomy.grid.voxel_mm, anatomy.grid.shape
    axes = [np.arange(n, dtype=np.float32) * step for n in shape]
    near = tuple(
        np.flatnonzero(np.abs(a - c) < 2.5 * radius * k)
        for a, c, k in zip(axes, centre, stretch, strict=True)
    )
    box = np.ix_(*near)
    distance = np.sqrt(
        sum(
            np.square((axes[d][near[d]] - centre[d]) / stretch[d]).reshape(
                [-1 if e == d else 1 for e in range(3)]
            )
            for d in range(3)
        )
    )
    profile = 1 / (1 + np.exp((distance / radius - 1 + 0.25 * uneven[box]) * 6))
    # CSF has no white matter to lose.
    return box, profile * (1 - anatomy.fractions[2][box])
