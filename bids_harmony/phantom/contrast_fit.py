"""The sequence nearest to a given one that shows wanted contrasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares

from bids_harmony.phantom.anatomy import TISSUES
from bids_harmony.phantom.scanner import Scanner

__all__ = ["shown_contrasts", "with_contrasts"]

Array = np.ndarray

#: What may be set at a scanner, and how far protocols lie apart in it: standard deviations of the
#: logarithm. The last is the exponent of the intensity curve.
_SETTINGS = ("repetition_ms", "echo_ms", "inversion_ms", "flip_deg")
_APART = np.array([0.2, 0.2, 0.15, 0.25, 0.06])
#: Most of those standard deviations that a setting is moved by.
_FARTHEST = 3.0
#: A contrast that is missed by this weighs as much as a setting moved by one of them.
_CLOSE = 0.003
#: A nulled tissue lies in the noise: its logarithm would say nothing but that.
_LEAST = 0.02


def shown_contrasts(scanner: Scanner, modality: str) -> Array:
    """Log of grey and of CSF over white matter by the signal equations, after the curve.

    Parameters
    ----------
    scanner : Scanner
    modality : str
        Of its sequences.

    Returns
    -------
    (2,) float64
        No unit. Tissues count as at least 2 % of white matter.
    """
    grey, white, csf = (scanner.signal_of(tissue, modality) for tissue in TISSUES)
    least = _LEAST * white
    return scanner.gamma * np.log([max(grey, least) / white, max(csf, least) / white])


def with_contrasts(scanner: Scanner, modality: str, wanted: Array) -> Scanner:
    """Move a scanner's sequence and intensity curve as little as shows the wanted contrasts.

    Two contrasts leave open most of a sequence: what they do not decide stays near to what it was.

    Parameters
    ----------
    scanner : Scanner
    modality : str
        Of its sequences; the others stay as they are.
    wanted : (2,) float
        As of `shown_contrasts`.

    Returns
    -------
    Scanner
        As near to what is wanted as such a sequence comes.
    """

    def moved(by: Array) -> Scanner:
        sequence, grown = scanner.sequences[modality], np.exp(by * _APART)
        changed = {
            name: getattr(sequence, name) * g for name, g in zip(_SETTINGS, grown[:4], strict=True)
        }
        sequences = {**scanner.sequences, modality: replace(sequence, **changed)}
        return replace(scanner, sequences=sequences, gamma=scanner.gamma * float(grown[4]))

    def miss(by: Array) -> Array:
        return np.concatenate([(shown_contrasts(moved(by), modality) - wanted) / _CLOSE, by])

    return moved(least_squares(miss, np.zeros(5), bounds=(-_FARTHEST, _FARTHEST)).x)
