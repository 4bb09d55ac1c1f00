"""Is a difference between people, such as that of age, kept when scans are harmonized?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.quality.design import (
    as_column,
    centred,
    directions,
    indicator_columns,
    known,
    numbers,
)

__all__ = ["EffectKept", "effect_kept"]

#: Differences within sites of less, relative to those of all people, are rounding.
_ROUNDING = 1e-9
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class EffectKept:
    """Slope on a covariate before and after.

    Attributes
    ----------
    slope_before, slope_after : float
        Unit of the values per unit of the covariate; of words, the second level less the first.
    ratio : float
        After over before; 1 is an effect kept whole.
    low, high : float
        Confidence interval of the ratio; infinite where the slope before may be zero, since then
        any ratio is possible.
    p_before : float
        That there was no slope before. Where it is large there was nothing to keep.
    n : int
        Scans of which the covariate and both values are known.
    levels : tuple of str
        First and second level of words; empty for numbers.
    """

    slope_before: float
    slope_after: float
    ratio: float
    low: float
    high: float
    p_before: float
    n: int
    levels: tuple[str, ...] = ()


def effect_kept(
    covariate: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    *,
    sites: Sequence[str] | None = None,
    others: ArrayLike | None = None,
) -> EffectKept:
    """Share of the effect of a covariate that is left, with Fieller's confidence interval.

    Both slopes come from the same people, so that their errors go together; the interval
    (Fieller, J R Stat Soc B 16:175, 1954) holds every ratio r for which `after` - r `before` has
    no slope that differs from zero.

    Parameters
    ----------
    covariate : (people,) numbers or words
        Such as age in years, or words of two levels, which are sorted and become 0 and 1.
        ``n/a``, None and NaN are missing.
    before, after : (people,) array-like
        A value of each person, such as the median FA of white matter; in one unit.
    sites : sequence of str, optional
        Of each person. Slopes are then those within sites: a site whose people are older and
        whose scanner shows higher values would otherwise make an effect of age.
    others : (people, C) numbers, optional
        Further covariates, known of everyone: slopes are then those of a multiple regression.

    Returns
    -------
    EffectKept

    Raises
    ------
    DataError
        Fewer than four people, unequal numbers, people of one value, words of more than two
        levels, or a covariate that the others hold already.
    """
    from scipy.stats import linregress, t

    x, a, b, names, levels, keep = _known_rows(covariate, before, after, sites)
    blocks = np.unique(names, return_inverse=True)[1]
    range_of_all = np.ptp(x)
    columns = centred(np.column_stack([x, a, b]), blocks)
    further = 0
    if others is not None:
        beside = directions(centred(_numbers_of_all(others, keep), blocks))
        columns = columns - beside @ (beside.T @ columns)
        further = beside.shape[1]
    x, a, b = columns.T
    free = len(x) - int(blocks.max()) - 2 - further
    if free < 1 or np.ptp(x) <= _ROUNDING * range_of_all:
        raise DataError(
            "Too few people for the effect within sites",
            expected="more people than sites, covariates and one, and sites with several values",
            got=f"{len(x)} people of {blocks.max() + 1} sites, {further + 1} covariates",
        )
    first, second = linregress(x, a), linregress(x, b)
    slope, other = float(first.slope), float(second.slope)
    # The covariance of two slopes from the variances of both and of their sum.
    together = (linregress(x, a + b).stderr ** 2 - first.stderr**2 - second.stderr**2) / 2
    # linregress knows of one mean only, and divides by n - 2.
    wider = (len(x) - 2) / free
    error = float(first.stderr) * np.sqrt(wider)
    p = float(2 * t.sf(abs(slope) / error, free)) if error else float(slope == 0)
    limit = float(t.ppf((1 + _CONFIDENCE) / 2, free)) ** 2 * wider
    # (other - r slope)^2 <= limit (Vb - 2 r Vab + r^2 Va), a quadratic in r.
    square = slope**2 - limit * first.stderr**2
    middle = slope * other - limit * together
    rest = other**2 - limit * second.stderr**2
    ratio = other / slope if slope else float("nan")
    low, high = float("-inf"), float("inf")
    if square > 0:
        half = np.sqrt(max(middle**2 - square * rest, 0.0))
        low, high = float((middle - half) / square), float((middle + half) / square)
    return EffectKept(slope, other, ratio, low, high, p, len(x), levels)


def _numbers_of_all(others: ArrayLike, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Further covariates of the people that are kept, at a spread of 1."""
    table = np.asarray(others, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(keep) or not np.isfinite(table[keep]).all():
        raise DataError(
            "Further covariates do not make slopes",
            expected=f"a table of {len(keep)} people, everything known",
            got=f"a table of shape {table.shape}",
        )
    spread = table[keep].std(axis=0)
    return table[keep] / np.where(spread > 0, spread, 1)


def _known_rows(
    covariate: Any, before: Any, after: Any, sites: Sequence[str] | None
) -> tuple[NDArray, NDArray, NDArray, NDArray, tuple[str, ...], NDArray]:
    """Covariate as numbers, both values, site and names of levels, and where all are known."""
    columns = [as_column(c) for c in (covariate, before, after)]
    columns.append(as_column([""] * len(columns[0]) if sites is None else sites))
    lengths = [len(c) for c in columns]
    if len(set(lengths)) > 1:
        raise DataError(
            "Covariate and values do not make a slope",
            expected="one covariate, two values and a site for each person",
            got=", ".join(map(str, lengths)),
        )
    keep = np.all([known(c) for c in columns[:3]], axis=0)
    if sites is not None:
        keep &= known(columns[3])
    x, a, b, names = (c[keep] for c in columns)
    found, levels = numbers(x), list[str]()
    if found is None:
        levels, indicators = indicator_columns(x)
        found = indicators[:, -1]
    if len(found) < 4 or np.ptp(found) == 0 or len(levels) > 2:
        raise DataError(
            "Covariate and values do not make a slope",
            expected="four people and more, of several numbers or of two words",
            got=f"{len(found)} people of {', '.join(levels) or 'one value or few'}",
        )
    values = a.astype(np.float64), b.astype(np.float64)
    return found, *values, names.astype(str), tuple(levels), keep
