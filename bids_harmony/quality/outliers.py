"""Which scans are unlike the others of their site?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError

__all__ = ["FEWEST", "Outliers", "outliers"]

#: A group of fewer has no median absolute deviation to speak of.
FEWEST = 5
#: Of the absolute score.
_LIMIT = 3.5
#: Of a normal distribution: standard deviation over median and over mean absolute deviation.
_OF_MEDIAN, _OF_MEAN = 1 / 0.6745, 1.253314
#: Deviations of less, relative to the values, are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Outliers:
    """How far values lie from the middle of their group.

    Attributes
    ----------
    scores : (N,) float64
        Modified z-scores, with sign; NaN where the value is missing.
    flagged : (N,) bool
        Whether the score is beyond the limit.
    """

    scores: NDArray[np.float64]
    flagged: NDArray[np.bool_]


def outliers(values: ArrayLike, groups: ArrayLike | None = None) -> Outliers:
    """Find outliers by the median absolute deviation (MAD).

    The modified z-score is 0.6745 (value - median) / MAD; more than 3.5 is an outlier (Iglewicz &
    Hoaglin, How to Detect and Handle Outliers, ASQC 1993). Where more than half of the values are
    one, the MAD is 0 and the mean absolute deviation takes its place, times 1.253314.

    Parameters
    ----------
    values : (N,) numbers
        Any unit; missing where not finite.
    groups : (N,) words, optional
        Such as the site. Values are compared within their group if it has `FEWEST` known values
        or more, else with all.

    Returns
    -------
    Outliers

    Raises
    ------
    DataError
        Lengths differ, or values have several axes.
    """
    data = np.asarray(values, dtype=np.float64)
    names = np.zeros(data.shape, str) if groups is None else np.asarray(groups).astype(str)
    if data.ndim != 1 or names.shape != data.shape:
        raise DataError(
            "Every value needs its group",
            expected="two columns of one length",
            got=f"{data.shape}, {names.shape}",
        )
    there = np.isfinite(data)
    scores = np.full(len(data), np.nan)
    for name in np.unique(names):
        own = (names == name) & there
        like = own if own.sum() >= FEWEST else there
        scores[own] = _scores(data[own], data[like])
    return Outliers(scores, np.abs(scores) > _LIMIT)


def _scores(values: NDArray[np.float64], like: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modified z-scores of values among `like`."""
    if not len(like):
        return np.empty(0)
    middle = float(np.median(like))
    away = np.abs(like - middle)
    least = _ROUNDING * abs(middle)
    for spread in (_OF_MEDIAN * float(np.median(away)), _OF_MEAN * float(np.mean(away))):
        if spread > least:
            return (values - middle) / spread
    return np.zeros(len(values))
