"""Exchange of low frequencies between slices (SSIMH; Guan et al. 2022)."""

from __future__ import annotations

import numpy as np
from scipy import fft

__all__ = ["CORNER", "exchange_low_frequencies", "low_frequencies"]

Array = np.ndarray

#: Lowest frequencies exchanged along each axis, in the released code.
CORNER = 3


def low_frequencies(data: Array, corner: int = CORNER) -> Array:
    """Give the low frequencies of every axial slice.

    Parameters
    ----------
    data : (X, Y, Z) float
    corner : int
        b.

    Returns
    -------
    (b, b, Z) float64
        Corner of the orthonormal two-dimensional DCT-II, the slice's mean included.
    """
    spectrum = fft.dctn(np.asarray(data, dtype=np.float64), axes=(0, 1), norm="ortho")
    return np.ascontiguousarray(spectrum[:corner, :corner])


def exchange_low_frequencies(data: Array, wanted: Array) -> Array:
    """Overwrite the low frequencies of every axial slice.

    Parameters
    ----------
    data : (X, Y, Z) float
    wanted : (b, b, Z) float64
        `low_frequencies` of a reference of the same shape.

    Returns
    -------
    (X, Y, Z) float64
        May be negative, and is not 0 where `data` is.
    """
    spectrum = fft.dctn(np.asarray(data, dtype=np.float64), axes=(0, 1), norm="ortho")
    spectrum[: wanted.shape[0], : wanted.shape[1]] = wanted
    return fft.idctn(spectrum, axes=(0, 1), norm="ortho")
