"""Closed-form methods: what histogram matching and smooth ratio fields can do without learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_harmony import __version__
from bids_harmony.harmonizers import Applied
from bids_harmony.harmonizers.banked import Banked
from bids_harmony.harmonizers.closed_form import landmark_map, landmarks
from bids_harmony.harmonizers.conditioned import closed_form, ratio_matched
from bids_harmony.imaging.prepared import Prepared

__all__ = ["HISTOGRAM_METHODS", "Histogram"]

HISTOGRAM_METHODS = ("histogram", "histogram-ratio", "histogram-fit")


class Histogram(Banked):
    """Histogram matching to the target site (Nyul and Udupa 1999; Shinohara et al. 2014).

    Parameters
    ----------
    method : {"histogram", "histogram-ratio", "histogram-fit"}
        ``histogram``: the scan's own landmarks to the mean landmarks of the target site.
        ``histogram-ratio``: the same, times the smooth ratio of the target's mean image to the
        equally mapped mean image of the source site.
        ``histogram-fit``: the mean of that and of the relative form with a low-order fit of the
        scan's own field (`conditioned.closed_form`); the input of the working default's network.
    model_dir : Path
    """

    def __init__(self, method: str, model_dir: Path) -> None:
        super().__init__(model_dir)
        self.name, self.version = method, __version__

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan; a scan of the target site is not exempt."""
        data, mask = prepared.data, prepared.mask
        target = self.bank(modality, target_site)
        if self.name == "histogram-fit":
            source = self.bank(modality, source_site)
            result = closed_form(data, mask, source, target, self.voxel_mm)
            return Applied(result, 0.0, None)
        if self.name == "histogram-ratio":
            source = self.bank(modality, source_site)
            result = ratio_matched(data, mask, source, target, self.voxel_mm)
            return Applied(result, 0.0, None)
        result = landmark_map(data, landmarks(data, mask), target.landmarks)
        return Applied(np.where(mask, result, 0).astype(np.float32), 0.0, None)
