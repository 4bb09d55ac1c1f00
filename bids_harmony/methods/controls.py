"""Controls of a comparison: the scan as it is, and a scan with its detail destroyed."""

from __future__ import annotations

import numpy as np

from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.smoothing import masked_smooth
from bids_harmony.methods.base import Applied, finish
from bids_harmony.methods.profiled import Profiled

__all__ = ["BLUR_MM", "Blur", "Unchanged", "blurred"]

#: Standard deviation of the Gaussian, mm: finer detail than folds is gone.
BLUR_MM = 1.5


class Unchanged(Profiled):
    """The scan as it is: what a method must beat."""

    name = "none"

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Give the scan back, whatever the sites are; the target must be known."""
        self.profile(modality, target_site)
        return finish(prepared.data, prepared.mask)


class Blur(Profiled):
    """The scan smoothed inside the mask: what calls that better than the scan rewards the loss of
    detail."""

    name = "blur"

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Blur the scan, whatever the sites are; the target must be known."""
        self.profile(modality, target_site)
        return finish(blurred(prepared.data, prepared.mask, self.voxel_mm), prepared.mask)


def blurred(data: np.ndarray, mask: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Smooth inside the mask by `BLUR_MM`.

    Parameters
    ----------
    data : (X, Y, Z) float32
    mask : (X, Y, Z) bool
    voxel_mm : float

    Returns
    -------
    (X, Y, Z) float32
        As `masked_smooth` leaves it.
    """
    return masked_smooth(data, mask, BLUR_MM / voxel_mm)
