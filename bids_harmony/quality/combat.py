"""ComBat: sites brought to one location and scale, measure by measure.

What most readers know as harmonization of numbers; the yardstick for harmonization of images.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping

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
from bids_harmony.quality.person_intercepts import fit_with_people

__all__ = ["combat", "leave_person_out"]

logger = logging.getLogger(__name__)

#: The iteration has ended when no location (standard deviations) or scale (relative) moves more.
_CONVERGED = 1e-6
_ROUNDS = 1000
#: Variance left of a measure, relative to its mean square, that is rounding.
_ROUNDING = 1e-24

#: Scans that tell a site: of others for somebody who is left out, and of a reference.
_FEWEST_OTHERS = 2

_Array = NDArray[np.float64]


def combat(
    values: ArrayLike,
    sites: ArrayLike,
    *,
    covariates: Mapping[str, ArrayLike] | None = None,
    reference: str | None = None,
    learn_on: ArrayLike | None = None,
    people: ArrayLike | None = None,
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
        F measures of N scans, each in its own unit; NaN where a measure is missing. A scan
        counts for the measures that it has.
    sites : (N,) words
        Of each scan.
    covariates : mapping of name to (N,) numbers or words, optional
        Whose effects are to stay. What is not named here, and differs between sites, is taken
        for a site effect and goes.
    reference : str, optional
        A site to whose location and scale the others are brought (Stein et al. 2015; neuroCombat's
        ``ref_batch``); its own scans stay as they are. By default that of all scans together.
    learn_on : (N,) bool, optional
        Scans on which site effects are learnt; what is learnt is applied to all. A scan of a site
        that none of them shows has NaN.
    people : (N,) words, optional
        Whose scan each is, where people were scanned repeatedly: each has an intercept of their
        own, which stays (Beer et al., NeuroImage 220:117129, 2020).

    Returns
    -------
    (N, F) float64
        In the units of `values`; NaN where these are.

    Raises
    ------
    DataError
        Missing sites or covariates, fewer than two sites, too few scans, sites that a covariate
        tells apart, or a reference that is none of the sites.
    """
    data = np.asarray(values, dtype=np.float64)
    columns = {k: as_column(v) for k, v in (covariates or {}).items()}
    places = as_column(sites)
    learnt = np.ones(len(places), bool) if learn_on is None else np.asarray(learn_on, bool)
    _check(data, places, columns, learnt, reference)
    names, batches = indicator_columns(places)
    shown = batches[learnt].sum(axis=0) > 0
    names, batches = [n for n, own in zip(names, shown, strict=True) if own], batches[:, shown]
    own = {k: covariate_columns(v) for k, v in columns.items()}
    one = np.zeros(int(learnt.sum()), dtype=np.intp)
    of_covariates, _ = separate_sites(
        centred(batches[learnt], one), {k: centred(v[learnt], one) for k, v in own.items()}
    )
    design = np.column_stack([batches, *own.values()])
    there = np.isfinite(data)
    counts = np.array([batches[learnt & rows].sum(axis=0) for rows in there.T])
    fewest = int(counts.sum(axis=1).min())
    if fewest <= len(names) + of_covariates.shape[1]:
        raise DataError(
            "Too few scans for ComBat",
            expected=f"more than {len(names)} sites and {of_covariates.shape[1]} covariates",
            got=f"{fewest} scans",
        )
    own_level: _Array | float = 0.0
    if people is None:
        slopes = _lines(design[learnt], data[learnt])
    else:
        slopes, own_level, spread = fit_with_people(design, data, as_column(people), learnt)
    level = (counts * slopes[: len(names)].T).sum(axis=1) / counts.sum(axis=1)
    judged = learnt
    if reference is not None:
        if counts[:, names.index(reference)].min() < _FEWEST_OTHERS:
            raise DataError(
                "The reference shows a measure too seldom",
                where=reference,
                expected=f"{_FEWEST_OTHERS} scans with each measure",
                got=str(int(counts[:, names.index(reference)].min())),
            )
        level = slopes[names.index(reference)]
        judged = learnt & (places.astype(str) == reference)
    expected = level + design[:, len(names) :] @ slopes[len(names) :] + own_level
    if people is None or reference is not None:
        residual = data - design @ slopes - own_level
        spread = np.sqrt(_mean_where(np.square(residual), there & judged[:, None]))
    # A measure without noise has no scale: it keeps what the covariates say of it.
    size = _mean_where(np.square(data), there & learnt[:, None])
    noisy = spread**2 > _ROUNDING * size
    standard = (data - expected)[:, noisy] / spread[noisy]
    if standard.shape[1] == 1 and counts[noisy].min() < 2:
        raise DataError(
            "The only scan of a site says nothing of the site in one measure",
            where=names[int(counts[noisy][0].argmin())],
            expected="two scans of each site, or several measures that vary",
            got="one of each",
        )
    result = np.where(there & (batches.sum(axis=1) > 0)[:, None], expected, np.nan)
    for name, members in zip(names, batches.T > 0 if noisy.any() else (), strict=False):
        if name == reference:
            result[members] = data[members]
            continue
        location, variance = _site_effects(standard[members & learnt])
        kept = (standard[members] - location) / np.sqrt(variance) * spread[noisy]
        result[np.ix_(members, noisy)] += kept
    return result


def leave_person_out(
    values: ArrayLike,
    sites: ArrayLike,
    people: ArrayLike,
    *,
    covariates: Mapping[str, ArrayLike] | None = None,
    reference: str | None = None,
    only: Collection[str] | None = None,
    own_levels: bool = False,
) -> _Array:
    """Adjust each person's scans by what ComBat learns on all others.

    Learnt on somebody's own scans, site effects fit that person better than the next one: people
    seen at several sites would agree for that alone.

    Parameters
    ----------
    values, sites, covariates, reference
        As for `combat`.
    people : (N,) words
        Whose scan each is.
    only : collection of str, optional
        People to leave out, one at a time; all by default. Scans of others have NaN.
    own_levels : bool
        People were scanned repeatedly, see `combat`.

    Returns
    -------
    (N, F) float64
        NaN for a person without whom a site has fewer than two scans, or a covariate tells sites
        apart: then the others do not suffice.
    """
    data, places = np.asarray(values, dtype=np.float64), as_column(sites).astype(str)
    owners = as_column(people).astype(str)
    result = np.full(data.shape, np.nan)
    for person in sorted(set(owners) if only is None else set(only)):
        own = owners == person
        counts = Counter(places[~own])
        if any(counts[site] < _FEWEST_OTHERS for site in places[own]):
            continue
        try:
            adjusted = combat(
                data,
                places,
                covariates=covariates,
                reference=reference,
                learn_on=~own,
                people=owners if own_levels else None,
            )
        except DataError as error:
            logger.debug("ComBat without %s: %s", person, error)
            continue
        result[own] = adjusted[own]
    return result


def _lines(design: _Array, data: _Array) -> _Array:
    """Least squares of each measure on the scans that have it, (C, F)."""
    there = np.isfinite(data)
    slopes = np.zeros((design.shape[1], data.shape[1]))
    patterns, index = np.unique(there, axis=1, return_inverse=True)
    for number, rows in enumerate(patterns.T):
        alike = np.ravel(index) == number
        found = np.linalg.lstsq(design[rows], data[np.ix_(rows, alike)], rcond=None)
        slopes[:, alike] = found[0]
    return slopes


def _mean_where(values: _Array, there: NDArray[np.bool_]) -> _Array:
    return np.asarray(np.where(there, values, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1))


def _check(
    data: _Array,
    places: NDArray,
    covariates: Mapping[str, NDArray],
    learnt: NDArray[np.bool_],
    reference: str | None,
) -> None:
    lengths = {len(places), len(learnt), *(len(v) for v in covariates.values())}
    if data.ndim != 2 or lengths != {len(data)} or not data.size:
        raise DataError(
            "Every scan needs its measures, its site and its covariates",
            expected="values by scan and measure, and columns of the same length",
            got=f"{data.shape} values, columns of {', '.join(map(str, sorted(lengths)))}",
        )
    missing = [k for k, v in ({"sites": places} | dict(covariates)).items() if not known(v).all()]
    if missing:
        raise DataError(
            "ComBat cannot use scans of which something is missing",
            where=", ".join(missing),
            hint="Leave these scans or columns out.",
        )
    shown = set(places[learnt].astype(str))
    if len(shown) < 2:
        raise DataError("ComBat needs two sites and more", got="one")
    if reference is not None and reference not in shown:
        raise DataError(
            "The reference is none of the sites",
            expected=", ".join(sorted(shown)),
            got=reference,
        )


def _site_effects(standard: _Array) -> tuple[_Array, _Array]:
    """Location and variance of a site in each measure, shrunk to what measures share.

    Parameters
    ----------
    standard : (n, F) float64
        Standardized values of the site's scans; NaN where one is missing.

    Returns
    -------
    location, variance : (F,) float64
    """
    measures = standard.shape[1]
    there = np.isfinite(standard)
    n = there.sum(axis=0)
    # A measure that no scan of the site has takes what the others say.
    location = np.where(there, standard, 0).sum(axis=0) / np.maximum(n, 1)
    squares = np.where(there, np.square(standard - location), 0).sum(axis=0)
    variance = squares / np.maximum(n - 1, 1)
    if measures == 1:
        return location, np.where(variance > 0, variance, 1.0)
    prior, prior_variance = location[n > 0].mean(), location[n > 0].var(ddof=1)

    def posterior_location(variance: _Array) -> _Array:
        weight = n * prior_variance + variance
        return (n * prior_variance * location + variance * prior) / weight

    seen = variance[n > 1]
    middle = seen.mean() if seen.size else 1.0
    scatter = seen.var(ddof=1) if seen.size > 1 else 0.0
    if not scatter > 0:  # known beforehand, or the same in all measures
        fixed = np.full(measures, middle if middle > 0 else 1.0)
        return posterior_location(fixed), fixed
    # Inverse gamma of the same mean and variance.
    shape, scale = 2 + middle**2 / scatter, middle + middle**3 / scatter
    now, spread = location, np.where(n > 1, variance, middle)
    for _ in range(_ROUNDS):
        before, spread_before = now, spread
        now = posterior_location(spread)
        squares = np.where(there, np.square(standard - now), 0).sum(axis=0)
        spread = (scale + squares / 2) / (n / 2 + shape - 1)
        moved = np.abs(now - before).max(), np.abs(1 - spread_before / spread).max()
        if max(moved) < _CONVERGED:
            break
    return now, spread
