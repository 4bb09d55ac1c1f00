"""Methods of harmonization behind one protocol: load once, apply to prepared scans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bids_harmony.exceptions import UsageError
from bids_harmony.imaging.prepared import Prepared

__all__ = ["Applied", "Harmonizer", "load_harmonizer"]


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
    out_of_distribution : float or None
        None where the method cannot tell.
    """

    data: np.ndarray
    round_trip_error: float
    out_of_distribution: float | None


class Harmonizer(Protocol):
    """A fitted method."""

    name: str
    version: str
    sha256: str
    voxel_mm: float

    def sites(self, modality: str) -> tuple[str, ...]:
        """Sites that the method knows for a modality."""
        ...

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan."""
        ...

    def target_scale(self, modality: str, site: str) -> float:
        """Median scale of the site's scans, in its stored units."""
        ...

    def target_look(self, modality: str, site: str) -> np.ndarray:
        """Mean image of the site on the reference grid."""
        ...

    def target_quantiles(self, modality: str, site: str) -> np.ndarray:
        """Intensity quantiles 0 to 100 % of the site, (101,)."""
        ...


def load_harmonizer(
    method: str, model_dir: Path, *, device: str = "cpu", batch_size: int = 8
) -> Harmonizer:
    """Load a fitted method from a model folder.

    Parameters
    ----------
    method : {"ihf", "histogram", "histogram-ratio", "histogram-fit"}
        The closed forms use the site banks of the same folder.
    model_dir : Path
    device : str
    batch_size : int
        Slices per pass.
    """
    from bids_harmony.harmonizers.histogram import HISTOGRAM_METHODS, Histogram
    from bids_harmony.harmonizers.ihf import IHF

    if method == "ihf":
        return IHF(model_dir, device=device, batch_size=batch_size)
    if method in HISTOGRAM_METHODS:
        return Histogram(method, model_dir)
    raise UsageError(
        "Unknown method", expected=", ".join(("ihf", *HISTOGRAM_METHODS)), got=repr(method)
    )
