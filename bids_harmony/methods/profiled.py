"""What all methods share: the site profiles of a model folder, and one constructor."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bids_harmony import __version__
from bids_harmony.exceptions import SiteError
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.methods.site_forms import closed_map, site_evidence
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.profile_cache import ProfileSource
from bids_harmony.sites.profile_files import PROFILES_FILE, profile_digest, read_profiles

if TYPE_CHECKING:
    from bids_harmony.methods.tissue_form import TissueMap
    from bids_harmony.sites.difference import SiteDifference

__all__ = ["Profiled"]


class Profiled:
    """A method that knows sites by their profiles.

    Parameters
    ----------
    model_dir : Path
        Folder that the level train wrote, or of the shipped model, which knows no site.
    cache : ProfileSource, optional
        Profiles of other sites, made on the fly. The model's own come before them, but for those
        of images that a user gave in a site's place. The model's grid is the cache's.
    own_profiles : bool
        False leaves the model's own profiles and their grid aside: only the cache counts.
    device : str
    batch_size : int
        Slices per pass, 0 for what suits the device; the result does not depend on it beyond
        rounding. Both are for methods with a network.
    """

    name = ""
    version = __version__
    needs_source = False
    #: Whether it applies `site_forms.closed_form`, alone or before a network.
    uses_tissue_map = False

    def __init__(
        self,
        model_dir: Path,
        cache: ProfileSource | None = None,
        *,
        device: str = "cpu",
        batch_size: int = 0,
        own_profiles: bool = True,
    ) -> None:
        self.model_dir = Path(model_dir)
        self.device, self.batch_size = device, batch_size
        self.cache: ProfileSource | None = cache
        self.profiles: dict[tuple[str, str], ImageProfile] = {}
        self._from_cache: dict[tuple[str, str], ImageProfile] = {}
        profiles_file = self.model_dir / PROFILES_FILE
        if cache is None or (own_profiles and profiles_file.is_file()):
            self.profiles, self.voxel_mm = read_profiles(self.model_dir)
            self.sha256 = hashlib.sha256(profiles_file.read_bytes()).hexdigest()
        else:
            self.voxel_mm = cache.voxel_mm
            self.sha256 = hashlib.sha256(b"").hexdigest()
        self._weights_sha256 = ""
        if cache is not None:
            self.cache = cache.on_grid(self.voxel_mm)
        self.load()

    def load(self) -> None:
        """Read what the model folder has for this method alone; called when it is made."""

    def count_weights(self, sha256: str) -> None:
        """Let the weights count in the method's sha256: a model is weights and profiles."""
        self._weights_sha256 = sha256
        self.sha256 = hashlib.sha256((sha256 + self.sha256).encode()).hexdigest()

    def identity(self, modality: str, source_site: str, target_site: str) -> str:
        """sha256 of all of the model that a scan of one site depends on when it goes to another.

        Profiles of further sites do not change it.
        """
        parts = [self._weights_sha256]
        for site in (source_site, target_site):
            known = self.has_profile(modality, site)
            parts.append(profile_digest(self.profile(modality, site)) if known else "")
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def sites(self, modality: str) -> tuple[str, ...]:
        """Sites with a profile for the modality, sorted."""
        shelved = self.cache.sites(modality) if self.cache else ()
        return tuple(sorted({*self.own_sites(modality), *shelved}))

    def own_sites(self, modality: str) -> tuple[str, ...]:
        """Sites with a profile in the model itself, sorted."""
        return tuple(sorted(site for site, kind in self.profiles if kind == modality))

    def targets(self, modality: str) -> tuple[str, ...]:
        """Sites that the method can harmonize to, sorted."""
        return self.sites(modality)

    def has_profile(self, modality: str, site: str) -> bool:
        """Whether the site is known."""
        return self._find(modality, site) is not None

    def _find(self, modality: str, site: str) -> ImageProfile | None:
        key = site, modality
        if key in self._from_cache:
            return self._from_cache[key]
        own = self.profiles.get(key)
        made_of = self.cache.made_of(site, modality) if self.cache else None
        if self.cache is None or made_of is None:
            return own
        # Only images that a user gave in the site's place come before what the model knows.
        if own is not None and not made_of.get("given"):
            return own
        found = self.cache.read(site, modality)
        if found is None:
            return own
        self._from_cache[key] = found[0]
        return found[0]

    def profile(self, modality: str, site: str) -> ImageProfile:
        """Give the profile of a site.

        Raises
        ------
        SiteError
            Neither the model nor the cache has one.
        """
        profile = self._find(modality, site)
        if profile is None:
            raise SiteError(
                f"The model knows no site {site!r} for {modality}",
                where=str(self.model_dir),
                expected=", ".join(self.sites(modality)) or f"a model trained with {modality}",
                got=site,
                hint="Run the level train with scans of this site.",
            )
        return profile

    def evidence(self, modality: str, source_site: str, target_site: str) -> SiteDifference | None:
        """What is known of the difference of two sites; None where either is not known."""
        source, target = (self._find(modality, site) for site in (source_site, target_site))
        if source is None or target is None or source is target:
            return None
        return site_evidence(source, target)

    def tissue_map(
        self, prepared: Prepared, modality: str, source_site: str, target_site: str
    ) -> TissueMap | None:
        """What the closed form did to a scan; None where the method has none of that kind."""
        if not self.uses_tissue_map:
            return None
        source, target = (self.profile(modality, site) for site in (source_site, target_site))
        return closed_map(prepared.data, prepared.mask, source, target, self.voxel_mm)

    def novelty(self, prepared: Prepared, modality: str) -> float | None:
        """How far a scan is from training, 1 at the border; None where a method cannot tell."""
        return None

    def target_mean(self, modality: str, site: str) -> np.ndarray:
        """Mean image of the site on the reference grid, (X, Y, Z) float32."""
        return self.profile(modality, site).mean_image

    def target_quantiles(self, modality: str, site: str) -> np.ndarray:
        """Intensity quantiles 0 to 100 % of the site, (101,) float64, in units of scale."""
        return self.profile(modality, site).quantiles
