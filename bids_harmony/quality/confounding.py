"""Can effects of the site and of a covariate be told apart at all?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.quality.design import as_column, indicator_columns, known, numbers

__all__ = ["LARGE_SHARE", "SIGNIFICANCE", "Confounding", "confounding"]

#: Stricter than usual: every covariate is tested, and one false alarm spoils the others.
SIGNIFICANCE = 0.01
#: A correlation of 0.5. The variance of an estimated effect grows by 1 / (1 - share), a third.
LARGE_SHARE = 0.25


@dataclass(frozen=True)
class Confounding:
    """How far sites differ in a covariate.

    Attributes
    ----------
    share : float
        From 0 (sites are alike) to 1 (the site tells the covariate). Numbers: eta squared; words:
        the square of Cramer's V, corrected for bias.
    p : float
        That sites are alike: F test of numbers, chi-square test of words.
    n : int
        Scans of which both are known.
    confounded : bool
        Whether effects of site and covariate cannot be told apart in these scans.
    """

    share: float
    p: float
    n: int
    confounded: bool


def confounding(sites: ArrayLike, covariate: ArrayLike) -> Confounding:
    """Measure how far the covariate depends on the site.

    Where it does (all patients at one scanner, or older people at the other), a difference between
    sites may be one between people. Then a site effect that is small after harmonization may mean
    that a difference between people was taken away, and an effect of the covariate may be that of
    the scanner. No statistics of the same scans can say which; scans of the same people at
    several sites can.

    Confounded is a covariate that differs between sites significantly and much (p <
    `SIGNIFICANCE` and a share of `LARGE_SHARE` and more), or of which some site with two scans
    and more has a single value that no other site has.

    Parameters
    ----------
    sites : (N,) words
        Of each scan.
    covariate : (N,) numbers or words
        Of each scan, such as age in years or the sex. ``n/a``, None and NaN are missing.

    Returns
    -------
    Confounding

    Raises
    ------
    DataError
        Lengths differ, or the covariate is known of fewer than two sites.

    References
    ----------
    Bergsma, J Korean Stat Soc 42:323, 2013 (bias of Cramer's V).
    """
    places, values = (as_column(c) for c in (sites, covariate))
    if len(places) != len(values):
        raise DataError(
            "Every scan needs its site and its covariate",
            expected=f"{len(places)} values",
            got=str(len(values)),
        )
    keep = known(places) & known(values)
    places, values = places[keep].astype(str), values[keep]
    if len(set(places)) < 2:
        raise DataError(
            "Sites cannot be compared",
            expected="a covariate that is known at two sites and more",
            got=f"{keep.sum()} scans of {len(set(places))} sites",
        )
    found = numbers(values)
    levels = values.astype(str) if found is None else found
    share, p = _of_words(places, levels) if found is None else _of_numbers(places, levels)
    differs = p < SIGNIFICANCE and share >= LARGE_SHARE
    return Confounding(share, p, len(places), differs or _has_its_own_value(places, levels))


def _of_numbers(sites: NDArray, values: NDArray[np.float64]) -> tuple[float, float]:
    """Eta squared by site, and p of the F test of a one-way analysis of variance."""
    from scipy.stats import f as f_distribution

    if np.ptp(values) == 0:
        return 0.0, 1.0
    columns = indicator_columns(sites)[1]
    counts = columns.sum(axis=0)
    own_mean = columns @ (columns.T @ values / counts)
    total = float(np.sum((values - values.mean()) ** 2))
    within = float(np.sum((values - own_mean) ** 2))
    share = min(max(1 - within / total, 0.0), 1.0)
    df_sites, df_error = len(counts) - 1, len(values) - len(counts)
    if df_error < 1:
        return share, 1.0
    if share == 1:
        return share, 0.0
    f = share / df_sites / ((1 - share) / df_error)
    return share, float(f_distribution.sf(f, df_sites, df_error))


def _of_words(sites: NDArray, values: NDArray) -> tuple[float, float]:
    """Square of Cramer's V less its bias, and p of the chi-square test."""
    from scipy.stats import chi2_contingency

    table = indicator_columns(sites)[1].T @ indicator_columns(values)[1]
    n = float(table.sum())
    rows, columns = table.shape
    if columns < 2:
        return 0.0, 1.0
    test = chi2_contingency(table, correction=False)
    phi = max(test.statistic / n - (rows - 1) * (columns - 1) / (n - 1), 0.0)
    least = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    share = min(phi / least, 1.0) if least > 0 else 0.0
    return float(share), float(test.pvalue)


def _has_its_own_value(sites: NDArray, values: NDArray) -> bool:
    """Whether some site with two scans and more has one value, and no other site has it."""
    for site in np.unique(sites):
        own = values[sites == site]
        if (
            len(own) > 1
            and len(np.unique(own)) == 1
            and not np.isin(values[sites != site], own).any()
        ):
            return True
    return False
