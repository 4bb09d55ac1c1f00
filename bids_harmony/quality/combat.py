"""ComBat: sites brought to one location and scale, measure by measure.

What most readers know as harmonization of numbers; the yardstick for harmonization of images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.quality.design import (
    as_column,
    centred,
    covariate_columns,
    indicator_columns,
    known,
    separate_sites,
)

__all__ = ["combat"]

#: The iteration has ended when no location (standard deviations) or scale (relative) moves more.
_CONVERGED = 1e-6
_ROUNDS = 1000
#: Variance left of a measure, relative to its mean square, that is rounding.
_ROUNDING = 1e-24

_Array = NDArray[np.float64]


def combat(
    values: ArrayLike,
    sites: ArrayLike,
    *,
    covariates: Mapping[str, ArrayLike] | None = None,
) -> _Array:
    """Take additive and multiplicative site effects out of measures.

    The model is that of Johnson, Li & Rabinovic (Biostatistics 8:118, 2007), used as Fortin et
    al. do for images (NeuroImage 161:149, 2017; 167:104, 2018): value = mean + covariates +
    location of the site + scale of the site x noise. Locations have a normal and variances an
    inverse gamma prior over measures, one pair of each site, whose parameters are found by the
    method of moments (parametric empirical Bayes).

    One measure has no others to learn a prior from: its locations and scales are then plain
    estimates. The scale of a site of one scan is that of all.

    Parameters
    ----------
    values : (N, F) numbers
        F measures of N scans, each in its own unit.
    sites : (N,) words
        Of each scan.
    covariates : mapping of name to (N,) numbers or words, optional
        Whose effects are to stay. What is not named here, and differs between sites, is taken
        for a site effect and goes.

    Returns
    -------
    (N, F) float64
        In the units of `values`.

    Raises
    ------
    DataError
        Missing values, fewer than two sites, too few scans, or sites that a covariate tells apart.
    """
    data = np.asarray(values, dtype=np.float64)
    columns = {k: as_column(v) for k, v in (covariates or {}).items()}
    places = as_column(sites)
    _check(data, places, columns)
    names, batches = indicator_columns(places)
    counts = batches.sum(axis=0)
    own = {k: covariate_columns(v) for k, v in columns.items()}
    one = np.zeros(len(data), dtype=np.intp)
    of_covariates, _ = separate_sites(
        centred(batches, one), {k: centred(v, one) for k, v in own.items()}
    )
    if len(data) <= len(names) + of_covariates.shape[1]:
        raise DataError(
            "Too few scans for ComBat",
            expected=f"more than {len(names)} sites and {of_covariates.shape[1]} covariates",
            got=f"{len(data)} scans",
        )
    design = np.column_stack([batches, *own.values()])
    slopes = np.linalg.lstsq(design, data, rcond=None)[0]
    level = counts @ slopes[: len(names)] / len(data)
    expected = level + design[:, len(names) :] @ slopes[len(names) :]
    residual = data - design @ slopes
    spread = np.sqrt(np.mean(residual**2, axis=0))
    # A measure without noise has no scale: it keeps what the covariates say of it.
    noisy = spread**2 > _ROUNDING * np.mean(data**2, axis=0)
    standard = (data - expected)[:, noisy] / spread[noisy]
    if standard.shape[1] == 1 and counts.min() < 2:
        raise DataError(
            "The only scan of a site says nothing of the site in one measure",
            where=names[int(counts.argmin())],
            expected="two scans of each site, or several measures that vary",
            got="one of each",
        )
    result = expected.copy()
    for members in batches.T > 0 if noisy.any() else ():
        location, variance = _site_effects(standard[members])
        kept = (standard[members] - location) / np.sqrt(variance) * spread[noisy]
        result[np.ix_(members, noisy)] += kept
    return result


def _check(data: _Array, places: NDArray, covariates: Mapping[str, NDArray]) -> None:
    lengths = {len(places), *(len(v) for v in covariates.values())}
    if data.ndim != 2 or lengths != {len(data)} or not data.size:
        raise DataError(
            "Every scan needs its measures, its site and its covariates",
            expected="values by scan and measure, and columns of the same length",
            got=f"{data.shape} values, columns of {', '.join(map(str, sorted(lengths)))}",
        )
    missing = [k for k, v in ({"sites": places} | dict(covariates)).items() if not known(v).all()]
    if not np.isfinite(data).all():
        missing.insert(0, "values")
    if missing:
        raise DataError(
            "ComBat cannot use scans of which something is missing",
            where=", ".join(missing),
            hint="Leave these scans or columns out.",
        )
    if len(set(places.astype(str))) < 2:
        raise DataError("ComBat needs two sites and more", got="one")


def _site_effects(standard: _Array) -> tuple[_Array, _Array]:
    """Location and variance of a site in each measure, shrunk to what measures share.

    Parameters
    ----------
    standard : (n, F) float64
        Standardized values of the site's scans.

    Returns
    -------
    location, variance : (F,) float64
    """
    n, measures = standard.shape
    location = standard.mean(axis=0)
    variance = standard.var(axis=0, ddof=1) if n > 1 else np.ones(measures)
    if measures == 1:
        return location, np.where(variance > 0, variance, 1.0)
    prior, prior_variance = location.mean(), location.var(ddof=1)

    def posterior_location(variance: _Array) -> _Array:
        weight = n * prior_variance + variance
        return (n * prior_variance * location + variance * prior) / weight

    middle, scatter = variance.mean(), variance.var(ddof=1)
    if n < 2 or not scatter > 0:  # known beforehand, or the same in all measures
        fixed = np.full(measures, middle if middle > 0 else 1.0)
        return posterior_location(fixed), fixed
    # Inverse gamma of the same mean and variance.
    shape, scale = 2 + middle**2 / scatter, middle + middle**3 / scatter
    now, spread = location, variance
    for _ in range(_ROUNDS):
        before, spread_before = now, spread
        now = posterior_location(spread)
        squares = np.sum((standard - now) ** 2, axis=0)
        spread = (scale + squares / 2) / (n / 2 + shape - 1)
        moved = np.abs(now - before).max(), np.abs(1 - spread_before / spread).max()
        if max(moved) < _CONVERGED:
            break
    return now, spread
