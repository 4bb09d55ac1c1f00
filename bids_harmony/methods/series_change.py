"""What harmonizing did to a diffusion series, as a few factors in each voxel.

Measured in the series before and after, whatever the mode: one factor for the mean b=0, and one
for each order of spherical harmonics of each shell. With these and what the harmonics leave, a
series can be changed and changed back (`SeriesChange`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bids_harmony.diffusion.calibration import shell_order
from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.magnitudes import Noise
from bids_harmony.diffusion.rish import harmonics
from bids_harmony.diffusion.series import Series, signed_mean_b0

__all__ = ["SeriesChange", "SeriesSteps", "series_change"]

Array = np.ndarray

SCALE_LIMITS = (0.05, 20.0)
"""Whoever undoes a change divides by its factors; beyond, an order was noise."""
DECIMALS = 4
"""Steps of the factors, below what a stored signal is known by; they pack better."""


@dataclass(frozen=True)
class SeriesSteps:
    """Numbers by which a series was changed.

    Attributes
    ----------
    blur : (3,) tuple of float
        Variance along axes next to R, A and S by which volumes were blurred, mm^2; negative:
        by which the energy of orders 2 and 4 was made that of a sharper scan.
    b_scale : float
        Strength of the gradients relative to the target's; 1 where no difference is known.
    noise : tuple of two Noise
        Of the scan and of the target, by which the floor was changed, in the series' unit.
    levels : dict of b to (L,) tuple of float
        By nominal b-value, factors of orders by what the sites' levels differ by.
    """

    blur: tuple[float, float, float] = (0.0, 0.0, 0.0)
    b_scale: float = 1.0
    noise: tuple[Noise, Noise] = (Noise(0.0), Noise(0.0))
    levels: dict[float, tuple[float, ...]] | None = None


@dataclass(frozen=True, eq=False)
class SeriesChange:
    """Factors by which a series changed.

    With ``R`` the factor of the mean b=0, ``g_l`` that of order l, ``c`` the least-squares
    coefficients of a shell's signals in even harmonics and ``r`` what these leave, volumes of b=0
    become ``R S`` and those of the shell ``R (B (g c) + g_0 r)``.

    Attributes
    ----------
    maps : (X, Y, Z, M) float32
        First that of the mean b=0, then by shell and order; those of shells are 1 outside the
        brain.
    parts : tuple of (b, order)
        What each map is of: nominal b-value in s/mm2 (0 for the mean b=0) and order.
    """

    maps: Array
    parts: tuple[tuple[float, int], ...]


def series_change(
    before: Series, after: Array, gradients: Gradients, inside: Array
) -> SeriesChange:
    """Measure by which factors a series changed.

    Parameters
    ----------
    before : Series
        As it came, or after it was blurred.
    after : (X, Y, Z, N)
        Harmonized voxels, as they are stored.
    gradients : Gradients
    inside : (X, Y, Z) bool
        Brain, in the voxel order of the series.

    Returns
    -------
    SeriesChange
        Rounding, clipping and bounds of signals are in it as far as factors hold them.
    """
    changed = replace(before, raw=after)
    b0, b0_changed = (signed_mean_b0(one, gradients) for one in (before, changed))
    ratio = np.divide(b0_changed, b0, out=np.ones_like(b0), where=(b0 > 0) & (b0_changed > 0))
    maps, parts = [ratio], [(0.0, 0)]
    for shell in gradients.shells:
        volumes: Any = np.s_[..., shell.volumes]
        # Without a penalty: the harmonics of what they leave are nought.
        basis = harmonics(gradients.bvecs[shell.volumes], shell_order(shell), smooth=0.0)
        old = basis.coefficients(before.signal(volumes)[inside])
        new = basis.coefficients(changed.signal(volumes)[inside] / ratio[inside][:, None])
        for order in np.unique(basis.orders):
            own = basis.orders == order
            energy = np.square(old[:, own]).sum(axis=1)
            shared = (old[:, own] * new[:, own]).sum(axis=1)
            scale = np.divide(shared, energy, out=np.ones_like(energy), where=energy > 0)
            image = np.ones_like(ratio)
            image[inside] = np.clip(scale, *SCALE_LIMITS)
            maps.append(image)
            parts.append((shell.nominal, int(order)))
    return SeriesChange(np.stack(maps, axis=-1).round(DECIMALS), tuple(parts))
