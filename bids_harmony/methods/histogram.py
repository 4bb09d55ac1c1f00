"""Closed-form methods: what histogram matching and smooth ratio fields can do without learning."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bids_harmony import __version__
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.intensity import correct_bias
from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.volume import Volume
from bids_harmony.methods import Applied, finish
from bids_harmony.methods.conditioned import (
    closed_form,
    low_order_form,
    ratio_matched,
    tissue_match,
)
from bids_harmony.methods.fitted import Fitted
from bids_harmony.methods.profiled import Profiled
from bids_harmony.sites.profile_cache import ProfileSource

__all__ = ["Histogram", "HistogramN4", "match_distribution", "without_bias"]

Array = np.ndarray

#: Spacing on which N4 estimates its field, mm, however coarse the reference grid is.
_FIELD_GRID_MM = 4.0


_FORMS = {
    "histogram-ratio": ratio_matched,
    "histogram-fit": low_order_form,
    "histogram-tissue": tissue_match,
    "histogram-relative": closed_form,
}


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


def without_bias(data: Array, mask: Array, grid: ReferenceGrid) -> Array:
    """Correct the smooth bias of a prepared scan (N4; see `intensity.correct_bias`).

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled, on the reference grid.
    mask : (X, Y, Z) bool
    grid : ReferenceGrid

    Returns
    -------
    (X, Y, Z) float32
        The mean of the brain is kept.
    """
    volume = Volume(data, grid.affine, nib.Nifti1Image(data, grid.affine), None)
    shrink = int(np.clip(round(_FIELD_GRID_MM / grid.voxel_mm), 1, 4))
    return correct_bias(volume, BrainMask(mask, "given"), shrink_factor=shrink).data


class Histogram(Profiled):
    """Histogram matching to the target site (Nyul and Udupa 1999; Shinohara et al. 2014).

    Parameters
    ----------
    method : str
        ``histogram``: the scan's own landmarks to the mean landmarks of the target site.
        ``histogram-cdf``: its whole distribution to the mean quantiles of the target site.
        ``histogram-ratio``: as ``histogram``, times the smooth ratio of the target's mean image to
        the equally mapped mean image of the source site.
        ``histogram-fit``: the mean of that and of the relative form with a low-order fit of the
        scan's own field (`conditioned.low_order_form`).
        ``histogram-tissue``: the tissues' intensities and the mean field of the target, whatever
        the person's own (`conditioned.tissue_match`).
        ``histogram-relative``: the difference of both sites, which keeps the person
        (`conditioned.closed_form`); the input of the working default's network.
    model_dir : Path
    cache : ProfileSource, optional
    own_profiles : bool
        As for `Profiled`.
    """

    def __init__(
        self,
        method: str,
        model_dir: Path,
        cache: ProfileSource | None = None,
        *,
        own_profiles: bool = True,
    ) -> None:
        super().__init__(model_dir, cache, own_profiles=own_profiles)
        self.name, self.version = method, __version__
        self.needs_source = method in _FORMS

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan; but for the last two, none of the target is exempt."""
        data, mask = prepared.data, prepared.mask
        target = self.profile(modality, target_site)
        if self.name == "histogram":
            result = landmark_map(data, landmarks(data, mask), target.landmarks)
        elif self.name == "histogram-cdf":
            result = match_distribution(data, mask, target.quantiles)
        else:
            source = self.profile(modality, source_site)
            result = _FORMS[self.name](data, mask, source, target, self.voxel_mm)
        return finish(result, mask)


class HistogramN4(Fitted):
    """N4 first, then landmarks, on the scans of the target site as on the scan itself.

    Parameters
    ----------
    model_dir : Path
        Fitted for this method: it has the landmarks of corrected scans.
    """

    def __init__(self, model_dir: Path) -> None:
        super().__init__("histogram-n4", model_dir)
        places = self.metadata["extra"]["landmarks"]
        self.landmarks = {
            (about["site"], about["modality"]): self.tensors[str(number)].numpy()
            for number, about in enumerate(places)
        }

    def fitted_modalities(self) -> set[str]:
        """Modalities with landmarks."""
        return {modality for _, modality in self.landmarks}

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Correct and match one prepared scan; a scan of the target site is not exempt."""
        self.check_target(modality, target_site)
        mask = prepared.mask
        data = without_bias(prepared.data, mask, prepared.grid)
        wanted = self.landmarks[target_site, modality]
        return finish(landmark_map(data, landmarks(data, mask), wanted), mask)
