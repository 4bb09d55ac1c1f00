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


def with_lesions(anatomy: Anatomy, seed: int) -> Anatomy:
    """Give a person one to `MOST` lesions.

    Parameters
    ----------
    anatomy : Anatomy
    seed : int
        The same seed gives the same lesions.

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
    axes = [np.arange(n, dtype=np.float32) * step for n in shape]
    uneven = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 2.0 / step)
    uneven /= uneven.std()
    t1, t2 = anatomy.t1_factor.copy(), anatomy.t2_factor.copy()
    for _ in range(int(rng.integers(1, MOST + 1))):
        centre = places[rng.integers(len(places))] * step
        radius = rng.uniform(*RADIUS_MM)
        stretch = rng.uniform(0.7, 1.4, 3)
        # Only the box round the lesion is worked on.
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
        profile = profile * (1 - anatomy.fractions[2][box])
        t1[box] *= 1 + (rng.uniform(*T1_TIMES) - 1) * profile
        t2[box] *= 1 + (rng.uniform(*T2_TIMES) - 1) * profile
    return replace(anatomy, t1_factor=t1, t2_factor=t2)
