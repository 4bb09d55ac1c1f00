"""By how much one site is smoother than another along each axis."""

from __future__ import annotations

import numpy as np

from bids_harmony.sites.priors import prior_of
from bids_harmony.sites.random_effects import mean_per_person, site_difference
from bids_harmony.sites.scan_measures import ScanMeasures

__all__ = ["MOST_BLUR", "sharpness_difference"]

Array = np.ndarray

MOST_BLUR = 1.5
"""mm^2; a blur of more would take small lesions away with the edges."""
#: mm^2 on top of each variance, so that sharpened scans, which show less than none, have a
#: logarithm. Variances scatter in proportion to their size.
_OFFSET = 2.0
#: Edges of cortex show more than is added to their blur: by known blurs of simulated scans.
_RESPONSE = 0.8
_LEAST, _MOST = -1.5, 4.0


def sharpness_difference(
    source: ScanMeasures, target: ScanMeasures, modality: str, *, same_person: bool
) -> Array:
    """Variance of the blur that leads from one site to the other, by the random-effects model.

    Parameters
    ----------
    source, target : ScanMeasures
    modality : str
    same_person : bool
        One person stands for both sites.

    Returns
    -------
    (3,) float64
        mm^2 along each axis, negative where the target is sharper; 0 where nothing is known.
    """
    change = np.zeros(3)
    if source.blur is None or target.blur is None:
        return change
    prior = prior_of(modality, "blur")
    for axis in range(3):
        (own, _), (other, people) = (_logs(site, axis) for site in (source, target))
        if own.size and other.size:
            moved = site_difference(
                own,
                other,
                between_sites_sd=prior.between_sites_sd,
                residual_sd=prior.repeat_sd if same_person else prior.residual_sd,
                prior_people=prior.people,
                target_groups=target.groups_of(people),
            ).mean
            change[axis] = np.exp(own.mean()) * np.expm1(moved)
    return np.clip(_RESPONSE * change, _LEAST, _MOST)


def _logs(site: ScanMeasures, axis: int) -> tuple[Array, tuple[str, ...]]:
    """One number a person of whom the blur is known, and these people."""
    assert site.blur is not None
    blur = site.blur[:, axis]
    known = np.isfinite(blur)
    people = [person for person, own in zip(site.people, known, strict=True) if own]
    if not people:
        return np.zeros(0), ()
    logs, names, _ = mean_per_person(np.log(blur[known] + _OFFSET)[:, None], people)
    return logs[:, 0], names
