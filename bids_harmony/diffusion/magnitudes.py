"""Magnitudes under noise: their mean is above the amplitude, and never below the noise floor.

The root of the sum of squares over channels follows a non-central chi distribution (Constantinides
et al. 1997, Magn Reson Med 38:852); one channel is the Rician case. Noise that is correlated
between channels acts as fewer of them, so that their number need not be whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special

__all__ = ["MOST_CHANNELS", "Noise", "channels_of_noise"]

Array = np.ndarray

MOST_CHANNELS = 16.0
"""More look alike: their floor hardly varies. So does that of a denoised series."""


@dataclass(frozen=True)
class Noise:
    """Noise of magnitudes.

    Attributes
    ----------
    sd : float
        Standard deviation in each channel, in the unit of the signals; 0 for none.
    channels : float
        Whose root of the sum of squares is taken, 1 or more.
    """

    sd: float
    channels: float = 1.0

    def times(self, factor: float) -> Noise:
        """The same noise in another unit."""
        return Noise(self.sd * factor, self.channels)

    def amplitude(self, mean: Array) -> Array:
        """Amplitude whose magnitude has a given mean (Koay and Basser 2006; here by a table).

        Parameters
        ----------
        mean : ndarray of float
            Mean magnitudes.

        Returns
        -------
        ndarray of float
            0 where the mean is that of noise alone or less. J Magn Reson 179:317.
        """
        if self.sd <= 0:
            return np.maximum(mean, 0)
        amplitudes, means = _table(self.channels)
        ratio = mean / self.sd
        bright = np.sqrt(np.maximum(np.square(ratio) - self._lift, 0))
        within = np.interp(ratio, means, amplitudes)
        return np.asarray(np.where(ratio < means[-1], within, bright) * self.sd)

    def mean(self, amplitude: Array) -> Array:
        """Mean magnitude of an amplitude, the inverse of `amplitude`.

        Parameters
        ----------
        amplitude : ndarray of float
            Not negative.

        Returns
        -------
        ndarray of float
        """
        if self.sd <= 0:
            return amplitude
        amplitudes, means = _table(self.channels)
        ratio = amplitude / self.sd
        bright = np.sqrt(np.square(ratio) + self._lift)
        within = np.interp(ratio, amplitudes, means)
        return np.asarray(np.where(ratio < amplitudes[-1], within, bright) * self.sd)

    @property
    def _lift(self) -> float:
        """What the squared mean of bright magnitudes exceeds the squared amplitude by."""
        return 2 * self.channels - 1


@lru_cache(maxsize=8)
def _table(channels: float) -> tuple[Array, Array]:
    """Amplitudes in units of the noise, and the mean magnitude of each."""
    amplitudes = np.linspace(0, 40, 2001)
    bent = special.hyp1f1(-0.5, channels, -np.square(amplitudes) / 2)
    return amplitudes, _mean_of_noise(channels) * bent


def _mean_of_noise(channels: float) -> float:
    """Mean magnitude of noise alone, in units of its standard deviation."""
    ratio = np.exp(special.gammaln(channels + 0.5) - special.gammaln(channels))
    return float(np.sqrt(2) * ratio)


def channels_of_noise(mean: float, variance: float) -> float:
    """Number of channels that makes magnitudes of noise alone scatter as they do.

    Parameters
    ----------
    mean, variance : float
        Of magnitudes where there is no signal.

    Returns
    -------
    float
        1 to `MOST_CHANNELS`.
    """

    def excess(channels: float) -> float:
        return _mean_of_noise(channels) ** 2 / (2 * channels) - mean**2 / (mean**2 + variance)

    if excess(1.0) >= 0:
        return 1.0
    if excess(MOST_CHANNELS) <= 0:
        return MOST_CHANNELS
    return float(optimize.brentq(excess, 1.0, MOST_CHANNELS))
