"""The random-effects model of how scans look: site, covariates, person.

One measure y of scan i of person p at site s, for example the logarithm of grey over white matter:

    y_i = mu + u_s + x_i b + e_p + r_i,   u ~ N(0, T^2), b ~ N(0, W), e ~ N(0, S^2), r ~ N(0, R^2)

This is the model behind ComBat (Johnson et al., Biostatistics 8:118, 2007) and of mixed models
(Laird and Ware, Biometrics 38:963, 1982). What goes out of a scan is the difference of two sites,
d = u_target - u_source; what a person deviates by, e_p + x_i b, stays. Scans of one person are
averaged first, so that e_p + r_i is one residual a person.

With T, W and the residual's variance given, d has a normal posterior. Its mean is pulled to zero
as far as the scans leave it open: few people, people who vary, and people who differ in covariates
between the sites, all widen it. The residual's variance itself is a scaled inverse chi-square
posterior: what real tables say (`priors`) counts as so many people, those of the two sites count
as themselves (Gelman et al., Bayesian Data Analysis, 3rd ed., 2013, chapter 3).

The target may be the mean of several sites, each of which counts once: d is then the mean of their
u less u_source, with a mean of its own for each of them (effect coding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError

__all__ = ["Difference", "mean_per_person", "site_difference", "widening"]

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Difference of two sites in one measure, in the unit of the measure.

    Attributes
    ----------
    raw : float
        Mean of the target's people less that of the source's.
    mean : float
        Posterior mean: adjusted for covariates and shrunk by its evidence.
    standard_error : float
        Of the adjusted difference before shrinkage; infinite where covariates leave it open.
    posterior_sd : float
    log_odds_different : float
        Logarithm of the Bayes factor of "the sites differ" against "they do not", Savage-Dickey
        (Dickey, Ann. Math. Stat. 42:204, 1971).
    residual_sd : float
        Between people of one site.
    """

    raw: float
    mean: float
    standard_error: float
    posterior_sd: float
    log_odds_different: float
    residual_sd: float


def mean_per_person(
    values: ArrayLike, people: Sequence[str]
) -> tuple[_Array, tuple[str, ...], _Array]:
    """Average the scans of each person.

    Parameters
    ----------
    values : (N, K) float
        One row a scan.
    people : sequence of str
        Whose scan each row is.

    Returns
    -------
    means : (P, K) float64
        One row a person, sorted by name.
    people : tuple of str
    repeat_variance : (K,) float64
        Pooled variance of scans of one person; NaN where nobody was scanned twice.
    """
    table = np.asarray(values, dtype=np.float64)
    names = tuple(sorted(set(people)))
    own = np.array(people)
    means = np.stack([table[own == name].mean(axis=0) for name in names])
    within = sum(
        np.square(table[own == name] - mean).sum(axis=0)
        for name, mean in zip(names, means, strict=True)
    )
    degrees = len(table) - len(names)
    repeat = within / degrees if degrees else np.full(table.shape[1], np.nan)
    return means, names, np.asarray(repeat)


def site_difference(
    source: ArrayLike,
    target: ArrayLike,
    *,
    between_sites_sd: float,
    residual_sd: float,
    prior_people: float,
    source_covariates: ArrayLike | None = None,
    target_covariates: ArrayLike | None = None,
    slope_sd: ArrayLike = (),
    target_groups: Sequence[str] | None = None,
) -> Difference:
    """Estimate the difference of two sites in one measure.

    Parameters
    ----------
    source, target : (P,), (Q,) float
        The measure of one or more people of each site.
    between_sites_sd : float
        T, standard deviation of sites about the mean of all.
    residual_sd : float
        Standard deviation between people of one site, from tables of other people.
    prior_people : float
        As many people as that counts for.
    source_covariates, target_covariates : (P, C), (Q, C) float, optional
        x of each person, on any origin.
    slope_sd : (C,) float
        Standard deviation of each slope b, in units of the measure per unit of the covariate.
    target_groups : sequence of str, optional
        Where the target is the mean of several sites, the site of each of its people; the source
        is none of them.

    Returns
    -------
    Difference

    Raises
    ------
    DataError
        A site has nobody, or covariates do not fit the people.
    """
    first, second = (np.asarray(v, dtype=np.float64) for v in (source, target))
    if not (first.size and second.size):
        raise DataError(
            "A difference of sites needs people of both",
            expected="at least one of each",
            got=f"{first.size} and {second.size}",
        )
    slopes = np.atleast_1d(np.asarray(slope_sd, dtype=np.float64))
    covariates = _stacked(source_covariates, target_covariates, (first.size, second.size), slopes)
    y = np.concatenate([first, second])
    among = _effects(y.size, target_groups)
    sites = among.shape[1] + 1
    n, scale = y.size, (1 + 1 / sites) * between_sites_sd**2
    # Columns: common mean (no prior), difference, the target's sites about their mean (no prior),
    # slopes.
    design = np.column_stack([np.ones(n), np.arange(n) >= first.size, among, covariates])
    precision = np.concatenate([[0.0, 1 / scale], np.zeros(sites - 1), 1 / np.square(slopes)])
    variance = _residual_variance(y, design, residual_sd, prior_people)
    inverse = np.linalg.inv(design.T @ design / variance + np.diag(precision))
    mean = inverse @ design.T @ y / variance
    d, spread = float(mean[1]), float(inverse[1, 1])
    # A normal likelihood and this prior gave that posterior: the likelihood's own spread follows.
    own = 1 / spread - 1 / scale
    log_odds = 0.5 * (np.log(spread / scale) + d * d / spread)
    return Difference(
        raw=float(_mean_of_sites(second, target_groups) - first.mean()),
        mean=d,
        standard_error=float(np.sqrt(1 / own)) if own > 1e-12 / scale else float("inf"),
        posterior_sd=float(np.sqrt(spread)),
        log_odds_different=float(log_odds),
        residual_sd=float(np.sqrt(variance)),
    )


def _effects(count: int, groups: Sequence[str] | None) -> _Array:
    """Columns of the target's sites, the last rows, that add up to nothing over sites."""
    names = sorted(set(groups or ()))
    columns = np.zeros((count, max(len(names) - 1, 0)))
    if groups is not None:
        own = columns[count - len(groups) :]
        for column, name in enumerate(names[:-1]):
            own[np.array(groups) == name, column] = 1
        own[np.array(groups) == names[-1]] = -1
    return columns


def _mean_of_sites(values: _Array, groups: Sequence[str] | None) -> float:
    if groups is None:
        return float(values.mean())
    own = np.array(groups)
    return float(np.mean([values[own == name].mean() for name in sorted(set(groups))]))


def widening(
    found: Sequence[Difference], between_sites_sd: Sequence[float], sites: int = 1
) -> float:
    """How much more than most two sites these two differ, from several measures of one kind.

    The prior of each measure is to be widened by it: an unusual scanner is not pulled to the usual
    ones (empirical Bayes by the method of moments, as ComBat's over its measures).

    Parameters
    ----------
    found : sequence of Difference
    between_sites_sd : sequence of float
        That each was estimated with.
    sites : int
        Whose mean is the target.

    Returns
    -------
    float
        1 or more.
    """
    expected = [
        (1 + 1 / sites) * sd**2 + min(own.standard_error, 1.0) ** 2
        for own, sd in zip(found, between_sites_sd, strict=True)
    ]
    ratios = [own.raw**2 / e for own, e in zip(found, expected, strict=True)]
    return float(max(sum(ratios) / len(ratios), 1.0) ** 0.5)


def _stacked(
    source: ArrayLike | None, target: ArrayLike | None, counts: tuple[int, int], slopes: _Array
) -> _Array:
    """Covariates of all people, centred; no columns where there are none."""
    parts = [
        np.zeros((count, 0)) if own is None else np.asarray(own, np.float64).reshape(count, -1)
        for own, count in zip((source, target), counts, strict=True)
    ]
    if {part.shape[1] for part in parts} != {slopes.size}:
        raise DataError(
            "Covariates must be those of the slopes",
            expected=f"{slopes.size} columns for both sites",
            got=", ".join(str(part.shape[1]) for part in parts),
        )
    table = np.concatenate(parts)
    return table - table.mean(axis=0)


def _residual_variance(y: _Array, design: _Array, sd: float, people: float) -> float:
    """Posterior mean of the precision's inverse: prior people and those of the sites together.

    Residuals are about the sites' own means and the slopes within sites, least squares; where
    covariates have no spread within sites they take no degree of freedom.
    """
    fitted, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    squares = float(np.square(y - design @ fitted).sum())
    degrees = max(y.size - int(rank), 0)
    return (people * sd**2 + squares) / (people + degrees)
