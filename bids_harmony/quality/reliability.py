"""Do repeated scans of the same people agree, at one site or across sites?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bids_harmony.exceptions import DataError

__all__ = ["IntraclassCorrelation", "icc"]

#: Variance of less, relative to the mean square of values, is rounding.
_ROUNDING = 1e-24
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class IntraclassCorrelation:
    """Agreement of repeated scans of the same people.

    Attributes
    ----------
    icc : float
        ICC(2,1): share of the variance of a single scan that is between people; 1 is perfect.
    low, high : float
        Confidence interval.
    n_people, n_scans : int
        People, and scans of each.
    n_left_out : int
        People with a missing scan.
    """

    icc: float
    low: float
    high: float
    n_people: int
    n_scans: int
    n_left_out: int


def icc(values: ArrayLike) -> IntraclassCorrelation:
    """Intraclass correlation of single scans, two-way random effects, absolute agreement.

    ICC(2,1) of Shrout & Fleiss (Psychol Bull 86:420, 1979), ICC(A,1) of McGraw & Wong (Psychol
    Methods 1:30, 1996): a difference between sites counts as disagreement, also where it is the
    same for everyone. The interval is theirs, with Satterthwaite's degrees of freedom.

    Parameters
    ----------
    values : (people, scans) numbers
        Column by column the same site or session for everyone, in one unit; NaN where a scan is
        missing.

    Returns
    -------
    IntraclassCorrelation

    Raises
    ------
    DataError
        Fewer than two people with all scans, fewer than two scans, or values that do not differ.
    """
    from scipy.stats import f

    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise DataError(
            "Values must be by person and scan", expected="two axes", got=str(table.shape)
        )
    full = np.isfinite(table).all(axis=1)
    left_out = int((~full).sum())
    table = table[full]
    n, k = table.shape
    unmeasured = DataError(
        "Agreement of scans cannot be measured",
        expected="two people and two scans of each at least, and values that differ",
        got=f"{n} people with all of {k} scans",
    )
    if n < 2 or k < 2:
        raise unmeasured
    mean = table.mean()
    of_people, of_scans = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    people = k * float(np.sum((of_people - mean) ** 2)) / (n - 1)
    scans = n * float(np.sum((of_scans - mean) ** 2)) / (k - 1)
    error = float(np.sum((table - of_people - of_scans + mean) ** 2)) / ((n - 1) * (k - 1))
    total = people + (k - 1) * error + k / n * (scans - error)
    if total <= _ROUNDING * float(np.mean(table**2)):
        raise unmeasured
    rho = (people - error) / total
    if np.isclose(rho, 1, rtol=0, atol=1e-12):
        return IntraclassCorrelation(1.0, 1.0, 1.0, n, k, left_out)
    if people + error <= _ROUNDING * float(np.mean(table**2)):
        # People are all alike: what differs is the site, of everyone by the same.
        raise unmeasured
    # An estimate may be negative, a share of variance is not.
    odds = max(rho, 0.0) / (1 - rho)
    a, b = k / n * odds, 1 + k * (n - 1) / n * odds
    free = (a * scans + b * error) ** 2 / (
        (a * scans) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    tail = (1 + _CONFIDENCE) / 2
    lower, upper = float(f.ppf(tail, n - 1, free)), float(f.ppf(tail, free, n - 1))
    disagreement = k * scans + (k * n - k - n) * error
    low = n * (people - lower * error) / (lower * disagreement + n * people)
    high = n * (upper * people - error) / (disagreement + n * upper * people)
    return IntraclassCorrelation(rho, low, high, n, k, left_out)
