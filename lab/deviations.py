"""A measure of people who were scanned at several sites: what is the site's, what the person's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError

__all__ = ["person_correlation", "site_variance"]


def site_variance(values: NDArray) -> float:
    """Variance between sites of the same people, freed of what is noise in the sites' means.

    Parameters
    ----------
    values : (people, sites) float
        Such as the log of grey over white matter; everybody at every site.

    Returns
    -------
    float
        Component of variance of the sites in a two-way analysis without interaction (Searle,
        Casella and McCulloch 1992, Variance Components); 0 where the estimate is below.

    Raises
    ------
    DataError
        Fewer than two people or sites, or a value is not known.
    """
    table = _checked(values)
    people, sites = table.shape
    means = table.mean(axis=0)
    rest = table - means - table.mean(axis=1, keepdims=True) + table.mean()
    error = np.square(rest).sum() / ((people - 1) * (sites - 1))
    return float(max(means.var(ddof=1) - error / people, 0.0))


def person_correlation(values: NDArray, truth: NDArray) -> float:
    """Correlation of people's deviations from the mean of each site with those of the truth.

    Parameters
    ----------
    values : (people, sites) float
    truth : (people,) float
        What should be seen of each person, at whichever site.

    Returns
    -------
    float
        1: everybody differs from the others of a site as they should, in all sites by one scale.

    Raises
    ------
    DataError
        As `site_variance`, or the truth is not one number for each person.
    """
    table = _checked(values, sites=1)
    true = np.asarray(truth, dtype=np.float64)
    if true.shape != table.shape[:1] or not np.isfinite(true).all():
        raise DataError(
            "The truth must be known of everybody",
            expected=f"{len(table)} numbers",
            got=f"shape {true.shape}",
        )
    deviation = table - table.mean(axis=0)
    goal = np.broadcast_to((true - true.mean())[:, None], table.shape)
    size = np.sqrt(np.square(deviation).sum() * np.square(goal).sum())
    return float((deviation * goal).sum() / size) if size else float("nan")


def _checked(values: NDArray, sites: int = 2) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=np.float64)
    small = table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < sites
    if small or not np.isfinite(table).all():
        raise DataError(
            "Everybody must be measured at every site",
            expected=f"two people and {sites} sites or more, finite values",
            got=f"shape {table.shape}",
        )
    return table
