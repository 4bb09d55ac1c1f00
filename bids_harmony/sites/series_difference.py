"""What the series of two sites differ by, as far as people cannot be its cause.

The target may be the mean of several sites, of which each counts once. A site that is one of S of
them is compared with the others, and (S - 1) / S of that difference is the one to the mean: so no
scan stands on both sides (as `scan_measures.ScanMeasures.seen_from`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_harmony.sites.names import same_site
from bids_harmony.sites.series_profile import SeriesProfile
from bids_harmony.sites.sharpness_difference import MOST_BLUR

__all__ = ["b_scale", "blur_between", "order_scales", "shrunk_shift"]

Array = np.ndarray


def shrunk_shift(
    source: Array,
    targets: Sequence[Array],
    beyond: float,
    common_error: float = 0.0,
    *,
    is_member: bool = False,
) -> Array:
    """Difference of a site's mean from that of others as far as people cannot be its cause.

    The difference of two means over a handful of people is mostly a difference of people. It is
    shrunk by what is known of its error, d (1 - (k se / d)^2), and to nothing within k standard
    errors: a positive-part estimator as that of James and Stein (1961), one dimension at a time,
    in the spirit of ComBat's empirical Bayes (Johnson et al. 2007, Biostatistics 8:118). People
    scatter about the mean of their own site.

    Parameters
    ----------
    source : (scans, L) float
        L quantities in the scans of the source.
    targets : sequence of (scans, L) float
        The same of one site, or of each of those whose mean is the target; without the source.
    beyond : float
        k.
    common_error : float
        Standard error of the difference of two sites that no number of people lowers.
    is_member : bool
        Whether the source is one more of the sites whose mean is the target.

    Returns
    -------
    (L,) float
        Target minus source. A site with NaN among its values does not count; 0 where the source
        has one, or either side has a single scan.
    """
    if len(source) < 2 or not targets:
        return np.zeros(source.shape[1])
    means = np.array([own.mean(axis=0) for own in targets])
    shown = np.isfinite(means)
    counts = np.array([[len(own)] for own in targets]) * shown
    sites, scans = shown.sum(axis=0), counts.sum(axis=0)
    at_least_one = np.maximum(sites, 1)
    middle = np.where(shown, means, 0).sum(axis=0) / at_least_one
    shift = np.where(scans > 1, middle, np.nan) - source.mean(axis=0)
    degrees = np.maximum(len(source) + scans - 1 - at_least_one, 1)
    squares = np.square(source - source.mean(axis=0)).sum(axis=0)
    for own, mean, counted in zip(targets, means, shown, strict=True):
        squares = squares + np.where(counted, np.square(own - mean).sum(axis=0), 0)
    variance = squares / degrees
    inverse = np.where(shown, 1 / np.maximum(counts, 1), 0).sum(axis=0) / at_least_one**2
    # Half of it is the source's, the other half is shared by the others.
    common = common_error**2 * (1 + 1 / at_least_one) / 2
    error = variance * (1 / len(source) + inverse) + common
    kept = np.maximum(1 - beyond**2 * error / np.maximum(np.square(shift), 1e-12), 0)
    share = sites / (sites + 1) if is_member else 1.0
    return np.where(np.isfinite(shift), share * kept * shift, 0.0)


def _others(source: SeriesProfile, target: SeriesProfile) -> tuple[list[SeriesProfile], bool]:
    """The sites of a target that a site is compared with, and whether it is one more of them."""
    if not target.groups:
        return [target], False
    others = [part for part in target.parts if not same_site(part.site, source.site)]
    return others, len(others) < len(target.parts)


BEYOND_LEVEL = 3.0
"""Standard errors: some ten levels are compared for each pair of sites."""


def order_scales(source: SeriesProfile, target: SeriesProfile, b: float) -> Array:
    """Factors that bring the levels of one site to those of another, as far as they are known.

    Parameters
    ----------
    source, target : SeriesProfile
    b : float
        Of a shell that both have, s/mm2.

    Returns
    -------
    (L,) float
        For coefficients of orders 0, 2, ...; 1 where nothing is known (`shrunk_shift`).

    Raises
    ------
    DataError
        One of them has no such shell (`diffusion.gradients.match_shells`).
    """
    others, is_member = _others(source, target)
    common = target.name_of(b)
    own = source.levels(source.name_of(b))
    levels = [site.levels(site.name_of(common)) for site in others]
    orders = min(part.shape[1] for part in (own, *levels))
    cut = [part[:, :orders] for part in levels]
    return np.exp(shrunk_shift(own[:, :orders], cut, BEYOND_LEVEL, is_member=is_member))


BEYOND_WATER = 2.0
"""Standard errors; one number is compared."""


def b_scale(source: SeriesProfile, target: SeriesProfile) -> float:
    """How much stronger the source's gradients are than the target's, seen in free water.

    Returns
    -------
    float
        1 where fewer than two scans of either site show free water, or where both differ by no
        more than scans of one site do.
    """
    others, is_member = _others(source, target)

    def logs(site: SeriesProfile) -> Array:
        known = [[m.water] for _, m in site.scans if np.isfinite(m.water)]
        return np.log(known).reshape(-1, 1)

    shown = [own for own in map(logs, others) if len(own)]
    shift = shrunk_shift(logs(source), shown, BEYOND_WATER, is_member=is_member)
    return float(np.exp(-shift[0]))


BEYOND_BLUR = 2.0
"""Standard errors."""
BLUR_ERROR = 0.2
"""mm^2; scanners with one point spread differ by 0.3, for contrast and k-space count as well."""
MOST_SHARPENED = 2.0
"""mm^2; what a wider point spread has taken is mostly lost."""


def blur_between(source: SeriesProfile, target: SeriesProfile) -> Array:
    """Blur that makes series of the source as smooth as those of the target, or sharper.

    Returns
    -------
    (3,) float
        Variance along axes next to R, A and S, mm^2, within `MOST_BLUR` and `MOST_SHARPENED`:
        negative where the target is the sharper one; 0 where fewer than two scans of either site
        tell, or both differ by no more than scans of one site do.
    """
    others, is_member = _others(source, target)

    def along(axis: int, site: SeriesProfile) -> Array:
        known = [[m.blur[axis]] for _, m in site.scans if np.isfinite(m.blur[axis])]
        return np.array(known).reshape(-1, 1)

    found = [
        shrunk_shift(
            along(axis, source),
            [own for own in (along(axis, site) for site in others) if len(own)],
            BEYOND_BLUR,
            BLUR_ERROR,
            is_member=is_member,
        )[0]
        for axis in range(3)
    ]
    return np.clip(found, -MOST_SHARPENED, MOST_BLUR)
