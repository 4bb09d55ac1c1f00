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
from scipy import stats

from bids_harmony.diffusion.attenuation import (
    FREE_WATER,
    free_water_diffusivity,
    noise_of_water,
    steepness,
)
from bids_harmony.diffusion.gradients import Gradients, Shell
from bids_harmony.diffusion.magnitudes import Noise
from bids_harmony.diffusion.resolution import spectral_blur
from bids_harmony.diffusion.rish import Harmonics, harmonics
from bids_harmony.diffusion.series import Series

__all__ = [
    "ORDER",
    "SeriesMeasures",
    "measure_series",
    "noise_sd",
    "scatter_around",
    "series_noise",
    "shell_order",
]

Array = np.ndarray

ORDER = 4
"""Highest order of spherical harmonics that is harmonized."""
ANISOTROPIC_SHARE = 0.25
"""Share of the brain with the strongest order 2: white matter."""
QUANTILES = np.linspace(0, 100, 101)


@dataclass(frozen=True)
class SeriesMeasures:
    """What one series shows of its scanner.

    Attributes
    ----------
    noise : float
        Standard deviation of the noise as a share of `white`; NaN where it could not be measured.
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
    water_noise, channels : float
        `noise_of_water`, as a share of `white`; NaN where nothing shows it.
    scatter : float
        Standard deviation of what harmonics leave of the shells in white matter, as a share of
        `white`; NaN where no shell has directions enough.
    white : float
        Median of the mean b=0 in white matter, as a share of its scale q.
    """

    noise: float
    water: float
    levels: dict[float, tuple[float, ...]]
    quantiles: dict[float, tuple[float, ...]]
    blur: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    water_noise: float = np.nan
    channels: float = np.nan
    scatter: float = np.nan
    white: float = 1.0

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
        return cls(
            float(record["noise"]),
            float(record["water"]),
            by_shell["levels"],
            by_shell["quantiles"],
            blur,
            water_noise=float(record.get("water_noise", np.nan)),
            channels=float(record.get("channels", np.nan)),
            scatter=float(record.get("scatter", np.nan)),
            white=float(record.get("white", cls.white)),
        )

    def noise_of(self, scale: float) -> float:
        """`noise` in the unit of the series, whose scale is given."""
        return self.noise * self.white * scale


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
    b0 = series.signal(np.s_[..., gradients.b0])[mask]
    mean = np.maximum(b0.mean(axis=1), 1e-3 * scale)
    noise = _noise(b0, series, gradients, mask)
    there = noise_of_water(series, gradients, mask, mean)
    known = Noise(noise if np.isfinite(noise) else 0.0, there.channels if there else 1.0)
    water = free_water_diffusivity(series, gradients, mask, mean, there or known)
    exponent = FREE_WATER / water if np.isfinite(water) else 1.0
    steep = steepness(series, gradients, mask, mean, known)
    levels, quantiles, scatters = {}, {}, []
    anisotropic: Array | None = None
    for place, shell in enumerate(gradients.shells):
        ratio = series.signal(np.s_[..., shell.volumes])[mask] / mean[:, None]
        quantiles[shell.nominal] = tuple(np.percentile(ratio[::4], QUANTILES).tolist())
        basis = harmonics(gradients.bvecs[shell.volumes], shell_order(shell))
        if anisotropic is None and len(basis.noise_energy) > 1:
            energy = basis.energy(basis.coefficients(ratio))[:, 1]
            anisotropic = energy >= np.quantile(energy, 1 - ANISOTROPIC_SHARE)
        # A shell that carries no order 2 cannot show where white matter is.
        where = np.ones(len(ratio), bool) if anisotropic is None else anisotropic
        ratio, level = ratio[where], mean[where, None]
        fitted = basis.signal(basis.coefficients(ratio))
        if basis.count > 1:
            scatters.append(np.sqrt(np.median(scatter_around((ratio - fitted) * level, basis))))
        own = 1 + steep[place][where, None] * np.float32(exponent - 1)
        free = (known.amplitude(fitted * level) / level).astype(np.float32)
        true_b = np.maximum(free, np.float32(1e-6)) ** own
        energy = basis.energy(basis.coefficients(ratio + (true_b - fitted)))
        added = basis.noise_energy * np.square(known.sd / np.median(level))
        levels[shell.nominal] = _log_levels(np.median(energy, axis=0), added)
    white = float(np.median(mean if anisotropic is None else mean[anisotropic]))
    right, front, up = spectral_blur(series, gradients, mask).tolist()
    return SeriesMeasures(
        noise=noise / white,
        water=float(water),
        levels=levels,
        quantiles=quantiles,
        blur=(right, front, up),
        water_noise=there.sd / white if there else float("nan"),
        channels=there.channels if there else float("nan"),
        scatter=float(np.mean(scatters)) / white if scatters else float("nan"),
        white=white / scale,
    )


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
    return _noise(series.signal(np.s_[..., gradients.b0])[mask], series, gradients, mask)


def _noise(b0: Array, series: Series, gradients: Gradients, mask: Array) -> float:
    noise = noise_sd(b0)
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


def scatter_around(residual: Array, basis: Harmonics) -> Array:
    """Variance of what harmonics leave (V, N) of signals, (V,)."""
    return np.asarray(np.square(residual).sum(axis=1) / (residual.shape[1] - basis.count))


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
