"""What a scanner does to a diffusion series, measured in the series itself.

Two quantities need no other person to compare with. The noise is seen in the repeated b=0 volumes.
The gradients' true strength is seen in the ventricles: water at body temperature diffuses equally
fast in everyone, so that a scanner whose b-values are 4 % too high finds it 4 % too fast. What is
left of a site is the level of its rotation-invariant features, which people differ in as well.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage, stats

from bids_harmony.diffusion.gradients import Gradients, Shell
from bids_harmony.diffusion.resolution import spectral_blur
from bids_harmony.diffusion.rician import rician_amplitude
from bids_harmony.diffusion.rish import harmonics
from bids_harmony.diffusion.series import Series

__all__ = [
    "FREE_WATER",
    "ORDER",
    "SeriesMeasures",
    "free_water_diffusivity",
    "measure_series",
    "noise_sd",
    "series_noise",
    "shell_order",
    "steepness",
]

Array = np.ndarray

FREE_WATER = 3.0e-3
"""mm2/s; diffusivity of water at 37 degrees Celsius (Holz et al. 2000, PCCP 2:4740)."""
ORDER = 4
"""Highest order of spherical harmonics that is harmonized."""
MOSTLY_WATER = 2.0e-3
"""mm2/s; a voxel whose neighbours all exceed this holds no tissue to speak of."""
FEWEST_WATER_VOXELS = 20
WATER_B = (400.0, 1300.0)
"""s/mm2; below, perfusion counts, above, water's signal is gone."""
WATER_LIMITS = (2.4e-3, 3.8e-3)
"""mm2/s; pulsation adds to what diffuses, tissue takes away; beyond, it was something else."""
ANISOTROPIC_SHARE = 0.25
"""Share of the brain with the strongest order 2: white matter."""
STEEPNESS_LIMITS = (0.4, 1.0)
"""White matter has some 0.85 at b = 1000 and 0.65 at b = 2000 s/mm2, water 1."""
QUANTILES = np.linspace(0, 100, 101)


@dataclass(frozen=True)
class SeriesMeasures:
    """What one series shows of its scanner.

    Attributes
    ----------
    noise : float
        Standard deviation of the noise as a share of the scale q of the mean b=0; NaN where it
        could not be measured.
    water : float
        Apparent diffusivity of free water, mm2/s; NaN where too little was seen.
    levels : dict of b to tuple of float
        Logarithm of the level of each even order (0, 2, ...) in white matter, of S/S0, for every
        shell (nominal b, s/mm2), as a scanner with true b-values and without noise would show it;
        NaN where it was mostly noise.
    quantiles : dict of b to tuple of float
        Quantiles 0 to 100 % of S/S0 in the brain.
    blur : tuple of float
        `resolution.spectral_blur`, mm^2; NaN where it could not be measured.
    """

    noise: float
    water: float
    levels: dict[float, tuple[float, ...]]
    quantiles: dict[float, tuple[float, ...]]
    blur: tuple[float, float, float] = (np.nan, np.nan, np.nan)

    def to_json(self) -> str:
        """One line of text; `from_json` reads it back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SeriesMeasures:
        """Read what `to_json` wrote."""
        record = json.loads(text)
        by_shell = {
            name: {float(b): tuple(values) for b, values in record[name].items()}
            for name in ("levels", "quantiles")
        }
        # Not measured before there was a use for it.
        first, second, third = record.get("blur", cls.blur)
        blur = float(first), float(second), float(third)
        return cls(float(record["noise"]), float(record["water"]), **by_shell, blur=blur)


def measure_series(
    series: Series, gradients: Gradients, mask: Array, scale: float
) -> SeriesMeasures:
    """Measure what a series shows of its scanner.

    Parameters
    ----------
    series : Series
    gradients : Gradients
    mask : (X, Y, Z) bool
        Brain, in the voxel order of the series.
    scale : float
        q of the mean b=0, in the series' unit.

    Returns
    -------
    SeriesMeasures
    """
    mean = series.signal(np.s_[..., gradients.b0])[mask].mean(axis=1)
    mean = np.maximum(mean, 1e-3 * scale)
    noise = series_noise(series, gradients, mask)
    known = noise if np.isfinite(noise) else 0.0
    water = free_water_diffusivity(series, gradients, mask, mean, known)
    exponent = FREE_WATER / water if np.isfinite(water) else 1.0
    steep = steepness(series, gradients, mask, mean, known)
    levels, quantiles = {}, {}
    anisotropic: Array | None = None
    for place, shell in enumerate(gradients.shells):
        ratio = series.signal(np.s_[..., shell.volumes])[mask] / mean[:, None]
        quantiles[shell.nominal] = tuple(np.percentile(ratio[::4], QUANTILES).tolist())
        basis = harmonics(gradients.bvecs[shell.volumes], shell_order(shell))
        fitted = basis.signal(basis.coefficients(ratio))
        own = 1 + steep[place][:, None] * np.float32(exponent - 1)
        true_b = np.maximum(fitted, 1e-6) ** own
        energy = basis.energy(basis.coefficients(ratio + (true_b - fitted)))
        if anisotropic is None and energy.shape[1] > 1:
            anisotropic = energy[:, 1] >= np.quantile(energy[:, 1], 1 - ANISOTROPIC_SHARE)
        # A shell that carries no order 2 cannot show where white matter is.
        where = np.ones(len(energy), bool) if anisotropic is None else anisotropic
        added = basis.noise_energy * np.square(known / np.median(mean[where]))
        levels[shell.nominal] = _log_levels(np.median(energy[where], axis=0), added)
    right, front, up = spectral_blur(series, gradients, mask).tolist()
    return SeriesMeasures(noise / scale, float(water), levels, quantiles, (right, front, up))


def _log_levels(energy: Array, noise: Array) -> tuple[float, ...]:
    """Half the logarithm of energies without noise; NaN where most of an energy is noise."""
    seen = energy > 2 * noise
    free = np.where(seen, energy - noise, 1.0)
    return tuple(np.where(seen, np.log(free) / 2, np.nan).tolist())


def shell_order(shell: Shell) -> int:
    """Highest even order, up to `ORDER`, that a shell's directions carry with some to spare."""
    for order in range(ORDER, 0, -2):
        if len(shell.volumes) >= (order + 1) * (order + 2) // 2 + 3:
            return order
    return 0


def series_noise(series: Series, gradients: Gradients, mask: Array) -> float:
    """Standard deviation of a series' noise in its unit; NaN where nothing shows it.

    From the repeated b=0 volumes (`noise_sd`), or what the harmonics leave where there is one.
    """
    noise = noise_sd(series.signal(np.s_[..., gradients.b0])[mask])
    return noise if np.isfinite(noise) else _residual_sd(series, gradients, mask)


def noise_sd(b0: Array) -> float:
    """Standard deviation of the noise from repeated b=0 volumes.

    Parameters
    ----------
    b0 : (V, R) float32
        Signal of V brain voxels in R volumes.

    Returns
    -------
    float
        In the unit of `b0`; NaN for a single volume. The median over bright voxels, where
        magnitudes are Gaussian; slow drift of the whole brain does not count.
    """
    repeats = b0.shape[1] - 1
    if repeats < 1:
        return float("nan")
    typical = np.median(b0, axis=0)
    level = b0 * (typical.mean() / np.maximum(typical, 1e-6))
    mean = level.mean(axis=1)
    variance = level.var(axis=1, ddof=1)[mean > np.median(mean) / 2]
    # The median of a chi-square is below its mean.
    return float(np.sqrt(np.median(variance) * repeats / stats.chi2.median(repeats)))


def _residual_sd(series: Series, gradients: Gradients, mask: Array) -> float:
    """Noise from what spherical harmonics leave of the weakest shell; NaN with few directions."""
    shell = gradients.shells[0]
    basis = harmonics(gradients.bvecs[shell.volumes], shell_order(shell), smooth=0.0)
    left = len(shell.volumes) - basis.count
    if left < 5:
        return float("nan")
    signal = series.signal(np.s_[..., shell.volumes])[mask]
    residual = signal - basis.signal(basis.coefficients(signal))
    squares = np.square(residual).sum(axis=1)
    return float(np.sqrt(np.median(squares) / stats.chi2.median(left)))


def free_water_diffusivity(
    series: Series, gradients: Gradients, mask: Array, b0: Array, noise: float
) -> float:
    """Apparent diffusivity in voxels that hold nothing but water.

    Parameters
    ----------
    series : Series
    gradients : Gradients
    mask : (X, Y, Z) bool
    b0 : (V,) float32
        Mean b=0 signal of the mask's voxels.
    noise : float
        Its standard deviation in one volume, in the same unit.

    Returns
    -------
    float
        mm2/s, the median; NaN where fewer than `FEWEST_WATER_VOXELS` are found, no shell has a
        b-value within `WATER_B`, or the value cannot be that of water.
    """
    usable = [s for s in gradients.shells if WATER_B[0] <= s.b <= WATER_B[1]]
    if not usable:
        return float("nan")
    shell = min(usable, key=lambda s: abs(s.b - 1000))
    diffusivity = -_log_attenuation(series, shell, mask, b0, noise) / shell.b
    image = np.zeros(mask.shape, dtype=np.float32)
    image[mask] = diffusivity
    pure = ndimage.binary_erosion(image > MOSTLY_WATER, np.ones((3, 3, 3)))[mask]
    if np.count_nonzero(pure) < FEWEST_WATER_VOXELS:
        return float("nan")
    found = float(np.median(diffusivity[pure]))
    return found if WATER_LIMITS[0] <= found <= WATER_LIMITS[1] else float("nan")


def _log_attenuation(series: Series, shell: Shell, mask: Array, b0: Array, noise: float) -> Array:
    """Logarithm of the mean S/S0 of a shell, freed of the Rician floor, (V,)."""
    weighted = series.signal(np.s_[..., shell.volumes])[mask].mean(axis=1)
    amplitude = np.maximum(rician_amplitude(weighted, noise), 1e-3 * b0)
    return np.log(amplitude / b0)


def steepness(
    series: Series, gradients: Gradients, mask: Array, b0: Array, noise: float
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
    noise : float
        Its standard deviation in one volume, same unit.

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
