"""Magnitudes under noise: their mean is above the amplitude, and never below the noise floor."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import special

__all__ = ["rician_amplitude", "rician_mean"]

Array = np.ndarray


def rician_amplitude(mean: Array, noise: float) -> Array:
    """Amplitude whose magnitude has a given mean under Rician noise.

    Parameters
    ----------
    mean : ndarray of float
        Mean magnitudes.
    noise : float
        Standard deviation in each channel, same unit.

    Returns
    -------
    ndarray of float
        0 where the mean is that of noise alone or less (Koay and Basser 2006, J Magn Reson
        179:317; here by a table).
    """
    if noise <= 0:
        return np.maximum(mean, 0)
    amplitudes, means = _rician_table()
    ratio = mean / noise
    bright = np.sqrt(np.maximum(np.square(ratio) - 1, 0))
    return np.where(ratio < means[-1], np.interp(ratio, means, amplitudes), bright) * noise


def rician_mean(amplitude: Array, noise: float) -> Array:
    """Mean magnitude of an amplitude under Rician noise, the inverse of `rician_amplitude`.

    Parameters
    ----------
    amplitude : ndarray of float
        Not negative.
    noise : float
        Standard deviation in each channel, same unit.

    Returns
    -------
    ndarray of float
    """
    if noise <= 0:
        return amplitude
    amplitudes, means = _rician_table()
    ratio = amplitude / noise
    bright = np.sqrt(np.square(ratio) + 1)
    return np.where(ratio < amplitudes[-1], np.interp(ratio, amplitudes, means), bright) * noise


@lru_cache(maxsize=1)
def _rician_table() -> tuple[Array, Array]:
    """Amplitudes in units of the noise, and the mean magnitude of each."""
    amplitudes = np.linspace(0, 12, 2401)
    x = np.square(amplitudes) / 4
    bessel = (1 + 2 * x) * special.ive(0, x) + 2 * x * special.ive(1, x)
    return amplitudes, np.sqrt(np.pi / 2) * bessel
