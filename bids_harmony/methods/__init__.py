"""Methods of harmonization behind one protocol: load once, apply to prepared scans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bids_harmony.exceptions import UsageError
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.methods.registry import METHOD_NEEDS

if TYPE_CHECKING:
    from bids_harmony.sites.difference import SiteDifference
    from bids_harmony.sites.image_profile import ImageProfile
    from bids_harmony.sites.profile_cache import ProfileSource

__all__ = [
    "Applied",
    "Harmonizer",
    "check_method_for_series",
    "finish",
    "learns_sites",
    "load_harmonizer",
]


#: Methods that need more of a site than a profile.
_TRAINED_FOR_SITES = ("cgan", "simix", "ssimh", "histogram-n4")


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


def learns_sites(method: str) -> bool:
    """Whether a handful of scans is all that a method needs to know of a site."""
    return method not in _TRAINED_FOR_SITES


def check_method_for_series(method: str) -> None:
    """Refuse a method that does not go by profiles made on the fly, as diffusion series need it.

    Raises
    ------
    UsageError
    """
    if not learns_sites(method):
        raise UsageError(
            f"The method {method} does not harmonize diffusion series",
            where="--method",
            expected=", ".join(m for m in METHOD_NEEDS if m not in _TRAINED_FOR_SITES),
            got=method,
            hint="It knows only what it was trained with; leave the series out with --modalities.",
        )


def load_harmonizer(
    method: str,
    model_dir: Path,
    cache: ProfileSource | None = None,
    *,
    device: str = "cpu",
    batch_size: int = 0,
    own_profiles: bool = True,
) -> Harmonizer:
    """Load a fitted method from a model folder.

    Parameters
    ----------
    method : str
        Name in `methods.METHOD_NEEDS`. Methods that are not trained use the site profiles of any
        model folder.
    model_dir : Path
    cache : ProfileSource, optional
        Profiles of sites that the model does not know, for methods that need no more than that.
    device : str
    batch_size : int
        Slices per pass, 0 for what suits the device.
    own_profiles : bool
        False leaves a model's own profiles and their grid aside: only the cache counts, as for
        diffusion series.

    Raises
    ------
    UsageError
        There is no such method, or it does not go by profiles on a cache and its own are not to
        count.
    MissingInput, DataError
        The folder was not made by the level train, or for another method.
    """
    from bids_harmony.methods.cgan import CGAN
    from bids_harmony.methods.controls import Control
    from bids_harmony.methods.histogram import Histogram, HistogramN4
    from bids_harmony.methods.ihf import IHF
    from bids_harmony.methods.simix import SiMix
    from bids_harmony.methods.ssimh import SSIMH

    if method not in METHOD_NEEDS:
        raise UsageError("Unknown method", expected=", ".join(METHOD_NEEDS), got=repr(method))
    if method == "ihf":
        return IHF(
            model_dir, cache, device=device, batch_size=batch_size, own_profiles=own_profiles
        )
    if not own_profiles:
        check_method_for_series(method)
    if method == "cgan":
        return CGAN(model_dir, device=device, batch_size=batch_size)
    if method == "simix":
        return SiMix(model_dir, device=device, batch_size=batch_size)
    if method == "ssimh":
        return SSIMH(model_dir)
    if method == "histogram-n4":
        return HistogramN4(model_dir)
    if method in ("none", "blur"):
        return Control(method, model_dir, cache, own_profiles=own_profiles)
    return Histogram(method, model_dir, cache, own_profiles=own_profiles)
