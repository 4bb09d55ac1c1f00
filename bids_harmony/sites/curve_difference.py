"""How the intensities of two sites differ once their tissues lie on each other: the map's bend.

Three tissues give a map its anchors. Between and beyond them two scanners still differ: a vendor's
intensity curve, a nearly saturated white matter, partial volume. Each scan's curve is put onto the
anchors of the target, so that neither gain nor contrast nor the person's own contrast count; what
is left between the sites is the bend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from bids_harmony.imaging.tissue_units import anchored
from bids_harmony.sites.priors import prior_of
from bids_harmony.sites.random_effects import (
    Difference,
    mean_per_person,
    site_difference,
    widening,
)
from bids_harmony.sites.scan_measures import ScanMeasures

__all__ = ["Bend", "curve_difference"]

Array = np.ndarray

_CSF = 2
#: Knots closer than this (white matter is 1) are one.
_KNOTS_APART = 0.01
#: Below so little signal there are no brains, and the map ends at 0.
_DARK = 0.02


@dataclass(frozen=True, eq=False)
class Bend:
    """A change of intensities on a scale where the target's white matter is 1.

    Attributes
    ----------
    tissues : tuple of int
        Which of grey matter, white matter and CSF anchor a scan on the scale, darkest first; white
        matter alone where the sites show tissues in another order.
    anchors : (T,) float64
        Where they lie.
    places, change : (K,) float64
        Quantiles of the source's scans on the scale, and what is added to each.
    """

    tissues: tuple[int, ...]
    anchors: Array
    places: Array
    change: Array

    def apply(
        self, data: Array, means: Array, slopes: tuple[float, float], beyond: tuple[float, float]
    ) -> Array:
        """Bend intensities whose tissues lie at the target's already.

        Parameters
        ----------
        data : (X, Y, Z) float32
        means : (3,) float
            Where grey matter, white matter and CSF of this scan lie in it.
        slopes : tuple of float
            Least and most slope of the change.
        beyond : tuple of float
            The same where it is brighter than grey and white matter: lesions lie there, and little
            else that is not partly fluid.

        Returns
        -------
        (X, Y, Z) float32
            Increasing in `data`; the input where the tissues are not in the sites' order.
        """
        own = means[list(self.tissues)]
        if np.any(np.diff(own) <= 0):
            return data
        knots, moved = self._bounded(slopes, beyond)
        place = anchored(data, own, self.anchors)
        bent = PchipInterpolator(knots, moved)(np.clip(place, knots[0], knots[-1]))
        bent += np.maximum(place - knots[-1], 0) + np.minimum(place - knots[0], 0)
        return anchored(np.maximum(bent, 0), self.anchors, own).astype(np.float32)

    def _bounded(
        self, slopes: tuple[float, float], beyond: tuple[float, float]
    ) -> tuple[Array, Array]:
        """Knots apart from each other, and where they go without too steep or flat a map."""
        brain = max(a for a, t in zip(self.anchors, self.tissues, strict=True) if t != _CSF)
        knots, moved = [0.0], [0.0]
        for place, change in zip(self.places, self.change, strict=True):
            step = place - knots[-1]
            if step < (_DARK if len(knots) == 1 else _KNOTS_APART):
                continue
            least, most = beyond if place > brain else slopes
            goal = min(max(place + change, moved[-1] + least * step), moved[-1] + most * step)
            knots.append(float(place))
            moved.append(float(goal))
        return np.array(knots), np.array(moved)


def curve_difference(
    source: ScanMeasures, target: ScanMeasures, modality: str, *, same_person: bool
) -> Bend | None:
    """Estimate the bend between two sites, each quantile by the random-effects model.

    Parameters
    ----------
    source, target : ScanMeasures
    modality : str
    same_person : bool
        One person stands for both sites.

    Returns
    -------
    Bend or None
        None where the curves of a site were not kept.
    """
    if source.curves is None or target.curves is None:
        return None
    usual_means = target.average(target.means)
    order = np.argsort(usual_means, kind="stable")
    if not np.array_equal(order, np.argsort(source.means.mean(axis=0), kind="stable")):
        order = np.array([1])
    anchors = usual_means[order] / usual_means[1]

    def placed(site: ScanMeasures) -> tuple[Array, tuple[str, ...]]:
        assert site.curves is not None
        rows = [
            anchored(c, m[order], anchors) for c, m in zip(site.curves, site.means, strict=True)
        ]
        return mean_per_person(np.stack(rows), site.people)[:2]

    (own, _), (other, people) = placed(source), placed(target)
    groups = target.groups_of(people)
    prior = prior_of(modality, "curve")

    def differ(between_sites_sd: float) -> list[Difference]:
        return [
            site_difference(
                own[:, level],
                other[:, level],
                between_sites_sd=between_sites_sd,
                residual_sd=prior.repeat_sd if same_person else prior.residual_sd,
                prior_people=prior.people,
                target_groups=groups,
            )
            for level in range(own.shape[1])
        ]

    usual = differ(prior.between_sites_sd)
    wider = widening(usual, [prior.between_sites_sd] * len(usual), len(set(groups or ("",))))
    change = np.array([found.mean for found in differ(wider * prior.between_sites_sd)])
    places = own.mean(axis=0)
    return Bend(tuple(order.tolist()), anchors, places, _pinned(places, change, anchors))


def _pinned(places: Array, change: Array, anchors: Array) -> Array:
    """The change less a line between the anchors through what it is at each.

    Where the tissues lie is measured better than quantiles tell: without this, grey matter kept
    five hundredths less of what people differ in.
    """
    return np.asarray(change - np.interp(places, anchors, np.interp(anchors, places, change)))
