"""How many people would show an effect, when scans of several sites are compared as they are."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, isfinite, sqrt

__all__ = ["ALPHA", "EFFECT", "POWER", "people_per_site"]

EFFECT = 0.2
"""Difference of two groups in standard deviations of people within a site: a small one (Cohen)."""
POWER, ALPHA = 0.8, 0.05
_MOST_SHARE = 0.9999


def people_per_site(share: float, n_sites: int) -> int | None:
    """People that each site must scan for a two-sided t test to show the effect.

    Half of each site's people are of either group, and the site is not in the model: what it
    explains is noise. With a share s of the variance of the measure between sites, an effect of d
    within sites is one of d sqrt(1 - s) in all scans.

    Parameters
    ----------
    share : float
        Of the variance that sites explain, such as partial omega squared; below 0 counts as 0.
    n_sites : int

    Returns
    -------
    int or None
        None where the share is not a number, or leaves nothing.

    Examples
    --------
    >>> people_per_site(0.0, 1), people_per_site(0.5, 4)
    (788, 393)
    """
    if not isfinite(share) or share > _MOST_SHARE:
        return None
    return ceil(2 * _group(sqrt(1 - max(share, 0.0))) / n_sites)


@lru_cache(maxsize=256)
def _group(shrunk: float) -> int:
    """People of each of two groups."""
    from statsmodels.stats.power import TTestIndPower

    found = TTestIndPower().solve_power(effect_size=EFFECT * shrunk, power=POWER, alpha=ALPHA)
    return ceil(float(found))
