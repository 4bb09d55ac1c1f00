"""Closed-form methods: what histogram matching and smooth ratio fields can do without learning.

After Nyul and Udupa (1999) and Shinohara et al. (2014), and beyond.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.methods.base import Applied, finish
from bids_harmony.methods.profiled import Profiled
from bids_harmony.methods.site_forms import (
    closed_form,
    low_order_form,
    ratio_matched,
    tissue_match,
)
from bids_harmony.sites.image_profile import ImageProfile

__all__ = [
    "Histogram",
    "HistogramCDF",
    "HistogramFit",
    "HistogramRatio",
    "HistogramRelative",
    "HistogramTissue",
    "match_distribution",
]

Array = np.ndarray


class Histogram(Profiled):
    """The scan's own landmarks to the mean landmarks of the target site."""

    name = "histogram"

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan; a scan of the target site is not exempt."""
        data, mask = prepared.data, prepared.mask
        wanted = self.profile(modality, target_site).landmarks
        return finish(landmark_map(data, landmarks(data, mask), wanted), mask)


class HistogramCDF(Profiled):
    """The scan's whole distribution to the mean quantiles of the target site."""

    name = "histogram-cdf"

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan; a scan of the target site is not exempt."""
        data, mask = prepared.data, prepared.mask
        wanted = self.profile(modality, target_site).quantiles
        return finish(match_distribution(data, mask, wanted), mask)


class _BetweenSites(Profiled):
    """A closed form of the profiles of both sites."""

    needs_source = True

    #: One of `site_forms`: scaled data (X, Y, Z), mask, both profiles and the grid's spacing in mm
    #: to harmonized data.
    form: ClassVar[staticmethod[[Array, Array, ImageProfile, ImageProfile, float], Array]]

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan."""
        target = self.profile(modality, target_site)
        source = self.profile(modality, source_site)
        made = self.form(prepared.data, prepared.mask, source, target, self.voxel_mm)
        return finish(made, prepared.mask)


class HistogramRatio(_BetweenSites):
    """Landmarks as `Histogram`, times the smooth ratio of the target's mean image to the equally
    mapped mean image of the source site."""

    name = "histogram-ratio"
    form = staticmethod(ratio_matched)


class HistogramFit(_BetweenSites):
    """The mean of `HistogramRatio` and of the relative form with a low-order fit of the scan's own
    field."""

    name = "histogram-fit"
    form = staticmethod(low_order_form)


class HistogramTissue(_BetweenSites):
    """The tissues' intensities and the mean field of the target, whatever the person's own; a scan
    of the target site comes back unchanged."""

    name = "histogram-tissue"
    form = staticmethod(tissue_match)


class HistogramRelative(_BetweenSites):
    """The difference of both sites, which keeps the person; the input of the working default's
    network. A scan of the target site comes back unchanged."""

    name = "histogram-relative"
    uses_tissue_map = True
    form = staticmethod(closed_form)


def match_distribution(data: Array, mask: Array, target_quantiles: Array) -> Array:
    """Give the foreground another distribution, y = F_target^-1(F_source(x)).

    Parameters
    ----------
    data : (X, Y, Z) float32
    mask : (X, Y, Z) bool
    target_quantiles : (Q,) float
        At Q evenly spaced levels from 0 to 100 %; both distribution functions are linear between.

    Returns
    -------
    (X, Y, Z) float32
        Monotone in `data`. Where the source's function jumps (many equal intensities), the middle
        of the target's quantiles there is taken.
    """
    levels = np.linspace(0, 100, len(target_quantiles))
    source = np.percentile(data[mask], levels).astype(np.float64)
    knots, place = np.unique(source, return_inverse=True)
    first = np.searchsorted(place, np.arange(knots.size), side="left")
    last = np.searchsorted(place, np.arange(knots.size), side="right") - 1
    level = (levels[first] + levels[last]) / 2
    wanted = np.interp(level, levels, target_quantiles)
    return np.interp(data, knots, wanted).astype(np.float32)
