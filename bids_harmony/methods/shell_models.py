"""What one site's scanner makes of a shell, turned into what another's makes of it.

A model maps the signals of a shell's volumes in brain voxels, (V, N), given the mean b=0 signal of
these voxels. Receive fields and gain cancel in S/S0 and are no business of these models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bids_harmony.diffusion.calibration import SeriesMeasures, scatter_around, shell_order
from bids_harmony.diffusion.gradients import Gradients, Shell, other_shells
from bids_harmony.diffusion.magnitudes import Noise
from bids_harmony.diffusion.resolution import Sharpener
from bids_harmony.diffusion.rish import Harmonics, harmonics
from bids_harmony.imaging.smoothing import mean_around
from bids_harmony.sites.series_difference import b_scale, order_scales
from bids_harmony.sites.series_profile import SeriesProfile

__all__ = ["LEAST_LEFT", "AttenuationModel", "RishModel", "ShellModel", "above_nothing"]

Array = np.ndarray

ENERGY_MM = 2.0
"""Standard deviation of the Gaussian over which the energy of an order is averaged."""
LEAST_SIGNAL = 0.05
"""Of an order's energy at least this share is taken for signal, whatever the noise."""
ORDER_LIMITS = (0.3, 2.0)
"""Coefficients of an order are scaled within these limits."""
LEAST_LEFT = 0.05
"""A signal keeps at least this share of itself: one of zero would count as not measured."""

VOXELS_AT_ONCE = 20_000
"""Bounds the memory of what is computed in double precision."""

_LEAST = np.finfo(np.float32).tiny

ShellModel = Callable[[Shell, Array, Array], Array]
"""(shell, signal (V, N), mean b=0 (V,)) to new signal (V, N), float32."""


def above_nothing(changed: Array, signal: Array) -> Array:
    """Changed signals, of which none has lost all: see `LEAST_LEFT`."""
    return np.maximum(changed, np.minimum(signal, LEAST_LEFT * signal))


@dataclass(frozen=True, eq=False)
class AttenuationModel:
    """S/S0 of a shell from the source site's quantiles to the target's.

    Attributes
    ----------
    source, target : SeriesProfile
    """

    source: SeriesProfile
    target: SeriesProfile

    def __call__(self, shell: Shell, signal: Array, mean: Array) -> Array:
        """Map the signals of one shell."""
        before, after = (
            profile.quantiles(profile.name_of(shell.b)) for profile in (self.source, self.target)
        )
        ratio = signal / mean[:, None]
        # The change of the knots, so that equal sites leave every bit as it is.
        change = np.interp(ratio, before, after - before).astype(np.float32)
        return signal + change * mean[:, None]


@dataclass(frozen=True, eq=False)
class RishModel:
    """Gradient strength, noise and level, order by order of spherical harmonics.

    In turn: mean magnitudes are freed of the scan's Rician floor, S/S0 is raised to the power that
    takes the b-values of the source's gradients to those of the target's (`b_scale`, `steepness`),
    and the target's floor goes in; the energy of each order but the first is freed of the scan's
    noise and given the target's, averaged over 2 mm; what the sites' levels then still differ by
    counts as far as it is beyond the differences between people (`series_profile.order_scales`).
    Only the part that the harmonics explain is changed; directions stay (Mirzaalian et al. 2016).
    A shell that a site does not show has no levels: its factors follow those of the others.

    Attributes
    ----------
    gradients : Gradients
    inside : (X, Y, Z) bool
        Brain; its voxels are those of the signals.
    voxel_mm : (3,) float
    scale : float
        q of the mean b=0, in the unit of the signals.
    scan : SeriesMeasures
        Of the series itself.
    source, target : SeriesProfile
    steepness : dict of b to (V,) float32
        `calibration.steepness` of each shell (`Shell.b`).
    kept_noise : float
        What a blur left of the standard deviation of the scan's noise; its floor stays.
    sharpener : Sharpener, optional
        What makes the scan as sharp as the target's.
    """

    gradients: Gradients
    inside: Array
    voxel_mm: Array
    scale: float
    scan: SeriesMeasures
    source: SeriesProfile
    target: SeriesProfile
    steepness: dict[float, Array]
    kept_noise: float = 1.0
    sharpener: Sharpener | None = None

    def __call__(self, shell: Shell, signal: Array, mean: Array) -> Array:
        """Change the signals of one shell."""
        basis = harmonics(self.gradients.bvecs[shell.volumes], shell_order(shell))
        power = 1 + self.steepness[shell.b] * (1 / b_scale(self.source, self.target) - 1)
        moved = np.empty_like(signal)
        for start in range(0, len(signal), VOXELS_AT_ONCE):
            some = slice(start, start + VOXELS_AT_ONCE)
            explained = basis.signal(basis.coefficients(signal[some]))
            factor = self._change_of_mean(explained, mean[some, None], power[some, None])
            moved[some] = signal[some] * factor
        coefficients = basis.coefficients(moved)
        scales = self._noise_scales(basis, coefficients, moved - basis.signal(coefficients))
        learned = self.site_scales(shell.b)
        scales[:, : len(learned)] *= learned[: scales.shape[1]].astype(np.float32)
        scales = np.clip(scales, *ORDER_LIMITS)
        return moved + basis.signal(coefficients * (scales[:, basis.orders // 2] - 1))

    def site_scales(self, b: float) -> Array:
        """Factors of the orders by the levels of both sites.

        Those of a shell that not both show lie between those of its neighbours, or are those of
        the one that it has: a step of the mean from one shell to the next would look like
        kurtosis. At b=0 the mean is what it is.
        """
        shells = self.gradients.shells
        others = other_shells([s.b for s in shells], self.source.shells, self.target.shells)
        if b not in others:
            return order_scales(self.source, self.target, b)
        known = [s.b for s in shells if s.b not in others]
        if not known:
            return np.ones(1)
        logs = [np.log(self.site_scales(k)) for k in known]
        orders = min(len(own) for own in logs)
        table = np.array([logs[0][:orders], *(own[:orders] for own in logs)])
        table[0, 0] = 0.0
        return np.exp([np.interp(b, [0.0, *known], column) for column in table.T])

    def _change_of_mean(self, explained: Array, level: Array, power: Array) -> Array:
        """Factors by which b-values and floor of the target change mean magnitudes, (V, N).

        Factors, for noise alone scales with its standard deviation: a sum would take dark signals
        below zero, all of them where there is less noise than in the rest of the scan (coils and
        vendors' filters differ from place to place).
        """
        own, other = self.noise
        before = np.maximum(own.amplitude(explained), 1e-6 * self.scale)
        after = level * (before / level) ** power
        return other.mean(after) / own.mean(before)

    @property
    def noise(self) -> tuple[Noise, Noise]:
        """Noise of the scan and of the target that makes their floors; none if one is unknown."""
        own = self.scan.noise if np.isfinite(self.scan.noise) else self.source.noise
        if not np.isfinite(own) or not np.isfinite(self.target.noise):
            return Noise(0.0), Noise(0.0)
        white = self.scan.white * self.scale
        target = self.target.floor(self.target.noise)
        return self.source.floor(own).times(white), target.times(white)

    def _noise_scales(self, basis: Harmonics, coefficients: Array, residual: Array) -> Array:
        """Factors (V, L): energy of each order at the target's sharpness and in its noise."""
        energy, gain = basis.energy(coefficients), 1.0
        scales = np.ones_like(energy)
        if energy.shape[1] == 1:
            return scales
        own = self._local(scatter_around(residual, basis))
        other = own * self._target_scatter
        sharp = energy
        if self.sharpener is not None:
            sharp = basis.energy(
                np.stack([self.sharpener(c, self.inside) for c in coefficients.T], axis=1)
            )
            # What becomes of noise that is as correlated as this one.
            noise = residual[:, 0]
            gain = np.var(self.sharpener(noise, self.inside)) / max(np.var(noise), _LEAST)
        for order, unit in enumerate(basis.noise_energy[1:], 1):
            local, wanted = (self._local(e[:, order]) for e in (energy, sharp))
            signal = np.maximum(wanted - unit * own * gain, LEAST_SIGNAL * local)
            scales[:, order] = np.sqrt((signal + unit * other) / np.maximum(local, _LEAST))
        return scales

    @property
    def _target_scatter(self) -> float:
        """Variance of the target's noise, relative to the scan's; 1 where it is not known."""
        own = self.scan.scatter * self.kept_noise
        return (self.target.scatter / own) ** 2 if own > 0 and self.target.scatter > 0 else 1.0

    def _local(self, values: Array) -> Array:
        """Mean of the voxels around each, weighted by a Gaussian, within the brain."""
        sigma = ENERGY_MM / np.asarray(self.voxel_mm)
        image = np.zeros(self.inside.shape, dtype=np.float32)
        image[self.inside] = values
        return mean_around(image, self.inside, sigma, mode="constant", truncate=3.0)[self.inside]
