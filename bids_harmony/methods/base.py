"""What every method of harmonization is to its callers: load once, apply to prepared scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from bids_harmony.imaging.prepared import Prepared
    from bids_harmony.methods.tissue_form import TissueMap
    from bids_harmony.sites.difference import SiteDifference
    from bids_harmony.sites.image_profile import ImageProfile

__all__ = ["Applied", "Harmonizer", "finish"]


@dataclass(frozen=True, eq=False)
class Applied:
    """What a harmonizer made of a scan.

    Attributes
    ----------
    data : (X, Y, Z) float32
        On the reference grid, in units of the scan's scale, 0 outside the mask.
    round_trip_error : float
        Largest difference that the network leaves with its modulation switched off; 0 for methods
        without a network.
    """

    data: np.ndarray
    round_trip_error: float


def finish(data: np.ndarray, mask: np.ndarray, round_trip_error: float = 0.0) -> Applied:
    """Give any method's result the same end: nothing negative, 0 outside the mask, float32."""
    finished = np.where(mask, np.maximum(data, 0), 0).astype(np.float32)
    return Applied(finished, round_trip_error)


class Harmonizer(Protocol):
    """A fitted method."""

    name: str
    version: str
    sha256: str
    voxel_mm: float
    #: Whether `apply` needs a profile of the source site beside that of the target.
    needs_source: bool

    def sites(self, modality: str) -> tuple[str, ...]:
        """Sites that the method knows for a modality."""
        ...

    def own_sites(self, modality: str) -> tuple[str, ...]:
        """Those that it knows by itself, without profiles made on the fly."""
        ...

    def targets(self, modality: str) -> tuple[str, ...]:
        """Sites that the method can harmonize to; all, or the one that it was fitted for."""
        ...

    def profile(self, modality: str, site: str) -> ImageProfile:
        """What is known of a site."""
        ...

    def has_profile(self, modality: str, site: str) -> bool:
        """Whether anything is."""
        ...

    def identity(self, modality: str, source_site: str, target_site: str) -> str:
        """sha256 of all that the result depends on beside the scan."""
        ...

    def evidence(self, modality: str, source_site: str, target_site: str) -> SiteDifference | None:
        """What is known of the difference of two sites; None where either is not known."""
        ...

    def tissue_map(
        self, prepared: Prepared, modality: str, source_site: str, target_site: str
    ) -> TissueMap | None:
        """What the closed form did to a scan; None where the method has none of that kind."""
        ...

    def novelty(self, prepared: Prepared, modality: str) -> float | None:
        """How far a scan is from training, 1 at the border; None where the method cannot tell."""
        ...

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan."""
        ...

    def target_mean(self, modality: str, site: str) -> np.ndarray:
        """Mean image of the site on the reference grid."""
        ...

    def target_quantiles(self, modality: str, site: str) -> np.ndarray:
        """Intensity quantiles 0 to 100 % of the site, (101,)."""
        ...
