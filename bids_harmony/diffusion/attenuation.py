"""How the signal falls with b: in free water, which is alike in everyone, and elsewhere."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_harmony.diffusion.gradients import Gradients, Shell
from bids_harmony.diffusion.magnitudes import Noise, channels_of_noise
from bids_harmony.diffusion.series import Series

__all__ = ["FREE_WATER", "free_water_diffusivity", "noise_of_water", "steepness"]

Array = np.ndarray

FREE_WATER = 3.0e-3
"""mm2/s; diffusivity of water at 37 degrees Celsius (Holz et al. 2000, PCCP 2:4740)."""
MOSTLY_WATER = 2.0e-3
"""mm2/s; a voxel whose neighbours all exceed this holds no tissue to speak of."""
FLOORED = 1.6e-3
"""mm2/s; as fast, at least, water seems to diffuse where the noise floor is high."""
FEWEST_WATER_VOXELS = 20
NO_WATER_B = 1800.0
"""s/mm2; from here on less than half a per cent of water's signal is left."""
FEWEST_REPEATS = 6
"""Volumes of which a variance tells something."""
WATER_B = (400.0, 1300.0)
"""s/mm2; below, perfusion counts, above, water's signal is gone."""
WATER_LIMITS = (2.4e-3, 3.8e-3)
"""mm2/s; pulsation adds to what diffuses, tissue takes away; beyond, it was something else."""
STEEPNESS_LIMITS = (0.4, 1.0)
"""White matter has some 0.85 at b = 1000 and 0.65 at b = 2000 s/mm2, water 1."""


def noise_of_water(series: Series, gradients: Gradients, mask: Array, b0: Array) -> Noise | None:
    """Noise where free water has lost its signal, which shows both its size and its channels.

    Parameters
    ----------
    series : Series
    gradients : Gradients
    mask : (X, Y, Z) bool
    b0 : (V,) float32
        Mean b=0 signal of the mask's voxels.

    Returns
    -------
    Noise, optional
        In the unit of `b0`; None where fewer than `FEWEST_WATER_VOXELS` are found, no shell
        shows water, or none has a b-value from `NO_WATER_B` on.
    """
    shell, dark = _water_shell(gradients), gradients.shells[-1]
    if shell is None or dark.b < NO_WATER_B or len(dark.volumes) < FEWEST_REPEATS:
        return None
    pure = _pure(_log_attenuation(series, shell, mask, b0, Noise(0.0)) / -shell.b, mask, FLOORED)
    if np.count_nonzero(pure) < FEWEST_WATER_VOXELS:
        return None
    signal = series.signal(np.s_[..., dark.volumes])[mask][pure]
    mean, variance = float(signal.mean()), float(signal.var(axis=1, ddof=1).mean())
    if variance <= 0:
        return None
    channels = channels_of_noise(mean, variance)
    return Noise(float(np.sqrt((mean**2 + variance) / (2 * channels))), channels)


def free_water_diffusivity(
    series: Series, gradients: Gradients, mask: Array, b0: Array, noise: Noise
) -> float:
    """Apparent diffusivity in voxels that hold nothing but water.

    Parameters
    ----------
    series : Series
    gradients : Gradients
    mask : (X, Y, Z) bool
    b0 : (V,) float32
        Mean b=0 signal of the mask's voxels.
    noise : Noise
        Of one volume, where there is water, in the same unit.

    Returns
    -------
    float
        mm2/s, the median; NaN where fewer than `FEWEST_WATER_VOXELS` are found, no shell has a
        b-value within `WATER_B`, or the value cannot be that of water.
    """
    shell = _water_shell(gradients)
    if shell is None:
        return float("nan")
    diffusivity = _log_attenuation(series, shell, mask, b0, noise) / -shell.b
    pure = _pure(diffusivity, mask, MOSTLY_WATER)
    if np.count_nonzero(pure) < FEWEST_WATER_VOXELS:
        return float("nan")
    found = float(np.median(diffusivity[pure]))
    return found if WATER_LIMITS[0] <= found <= WATER_LIMITS[1] else float("nan")


def _water_shell(gradients: Gradients) -> Shell | None:
    """The shell that shows water best; None where none does."""
    usable = [s for s in gradients.shells if WATER_B[0] <= s.b <= WATER_B[1]]
    return min(usable, key=lambda s: abs(s.b - 1000), default=None)


def _pure(diffusivity: Array, mask: Array, beyond: float) -> Array:
    """Voxels that, with all their neighbours, diffuse faster, (V,) bool."""
    image = np.zeros(mask.shape, dtype=np.float32)
    image[mask] = diffusivity
    return np.asarray(ndimage.binary_erosion(image > beyond, np.ones((3, 3, 3)))[mask])


def _log_attenuation(series: Series, shell: Shell, mask: Array, b0: Array, noise: Noise) -> Array:
    """Logarithm of the mean S/S0 of a shell, freed of the noise floor, (V,)."""
    weighted = series.signal(np.s_[..., shell.volumes])[mask].mean(axis=1)
    amplitude = np.maximum(noise.amplitude(weighted), 1e-3 * b0)
    return np.log(amplitude / b0)


def steepness(
    series: Series, gradients: Gradients, mask: Array, b0: Array, noise: Noise
) -> list[Array]:
    """How the mean signal of each shell falls with b, relative to a single exponential.

    Where b-values are too high by a share, log-signals are too low by this times that share:
    d ln(S) / d ln(b) over ln(S/S0), from the parabola in b through b=0, the shell and the one
    nearest to it (the cumulant expansion, Jensen et al. 2005, Magn Reson Med 53:1432).

    Parameters
    ----------
    series : Series
    gradients : Gradients
    mask : (X, Y, Z) bool
    b0 : (V,) float32
        Mean b=0 signal of the mask's voxels.
    noise : Noise
        Of one volume, same unit.

    Returns
    -------
    list of (V,) float32
        Of each shell, within `STEEPNESS_LIMITS`; 1 where there is one shell.
    """
    logs = [
        np.minimum(_log_attenuation(series, shell, mask, b0, noise), -1e-3)
        for shell in gradients.shells
    ]
    bs = [shell.b for shell in gradients.shells]
    found = []
    for j, b in enumerate(bs):
        others = [k for k in range(len(bs)) if k != j]
        if not others:
            found.append(np.ones_like(b0))
            continue
        k = min(others, key=lambda k: abs(bs[k] - b))
        # ln S = -b D + b^2 q through both: D from either, q from their difference.
        curve = (logs[k] / bs[k] - logs[j] / b) / (bs[k] - b)
        relative = 1 + curve * b**2 / logs[j]
        found.append(np.clip(relative, *STEEPNESS_LIMITS).astype(np.float32))
    return found
