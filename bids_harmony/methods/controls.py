"""Controls of a comparison: the scan as it is, and a scan with its detail destroyed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_harmony import __version__
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.smoothing import masked_smooth
from bids_harmony.methods import Applied, finish
from bids_harmony.methods.profiled import Profiled
from bids_harmony.sites.profile_cache import ProfileSource

__all__ = ["BLUR_MM", "Control", "blurred"]

#: Standard deviation of the Gaussian, mm: finer detail than folds is gone.
BLUR_MM = 1.5


class Control(Profiled):
    """No harmonization.

    Parameters
    ----------
    method : {"none", "blur"}
        ``none`` returns the scan; a method must beat it. ``blur`` smooths it inside the mask; what
        calls that better than the scan rewards the loss of detail.
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

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Give the scan back, whatever the sites are; the target must be known."""
        self.profile(modality, target_site)
        if self.name == "none":
            return finish(prepared.data, prepared.mask)
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
