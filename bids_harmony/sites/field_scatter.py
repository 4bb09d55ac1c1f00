"""How a site's smooth fields vary from scan to scan, and how much of that is the scanner's."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bids_harmony.imaging.legendre import FIELD_DEGREES, log_field
from bids_harmony.imaging.reference import reference_grid, reference_tissues

__all__ = ["field_rms", "scan_field_rms", "scanners_share"]

Array = np.ndarray

#: Root mean squares over the brain of what varies between fitted fields of one site: all of it,
#: and the part that anatomy lends to the fit; simulated scanners with known fields. The first
#: counts for so many people.
_FIELD_RMS, _ANATOMY_RMS, _FIELD_PEOPLE = 0.040, 0.022, 4
_COARSE_MM = 4.0


def scanners_share(fields: Array) -> float:
    """Of the variance of fitted fields about their site's mean, what is not from anatomy.

    Parameters
    ----------
    fields : (N, 20) float
        Coefficients of the logarithm of each scan's field.
    """
    return max(1 - _ANATOMY_RMS**2 / _field_variance(fields), 0.0)


def scan_field_rms(fields: Array) -> float:
    """Size of what the scanner changes in its field from scan to scan, without anatomy's part.

    Parameters
    ----------
    fields : (N, 20) float
        Coefficients of the logarithm of each scan's field.

    Returns
    -------
    float
        Root mean square over the brain; with few scans nearer to that of most sites.
    """
    return float(np.sqrt(max(_field_variance(fields) - _ANATOMY_RMS**2, 0.0)))


def field_rms(coefficients: Array) -> float:
    """Root mean square over the template's brain of a log-field of (20,) coefficients."""
    return float(np.sqrt(coefficients @ _gram() @ coefficients))


def _field_variance(fields: Array) -> float:
    """Mean square over the template's brain: a field's terms are far from orthogonal there."""
    deviation = fields - fields.mean(axis=0)
    squares = float(np.einsum("ni,ij,nj->", deviation, _gram(), deviation))
    seen = len(fields) - 1
    return (_FIELD_PEOPLE * _FIELD_RMS**2 + squares) / (_FIELD_PEOPLE + seen)


@lru_cache(maxsize=1)
def _gram() -> Array:
    """Mean products of a field's terms over the template's brain, (20, 20)."""
    brain = reference_tissues(reference_grid(_COARSE_MM)).sum(axis=0) > 0.5
    terms = np.stack([log_field(unit, brain.shape)[brain] for unit in np.eye(len(FIELD_DEGREES))])
    return np.asarray(terms @ terms.T / terms.shape[1], np.float64)
