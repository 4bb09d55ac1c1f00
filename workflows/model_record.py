"""Which model harmonizes a scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["Model"]


@dataclass(frozen=True)
class Model:
    """Which model harmonizes: enough to load it in a worker and to recognize it in a hash.

    Attributes
    ----------
    method : str
    folder : Path
    sha256 : str
        Of weights and own profiles.
    device : str
        A torch device that exists: "cpu" or "cuda:N".
    name, version : str
        For sidecars.
    cache : Path, optional
        Folder of profiles that were made on the fly.
    identity : str
        sha256 of what counts for one scan: weights and two profiles.
    source_site : str
        The scan's site as the profiles spell it.
    source_scans, target_scans : tuple of str
        Labels of the scans behind these profiles.
    source_profile, target_profile : Path, optional
        For diffusion series: files of the sites' profiles.
    profile_filter : str, optional
        Query that the people behind the profiles fit.
    """

    method: str
    folder: Path
    sha256: str
    device: str
    name: str = ""
    version: str = ""
    cache: Path | None = None
    identity: str = ""
    source_site: str = ""
    source_scans: tuple[str, ...] = ()
    target_scans: tuple[str, ...] = ()
    source_profile: Path | None = None
    target_profile: Path | None = None
    profile_filter: str | None = None

    def for_sidecar(self) -> dict[str, Any]:
        """As `bids.sidecar.harmonized_sidecar` takes it."""
        return {
            "Name": self.name or self.method,
            "Version": self.version or None,
            "SHA256": self.sha256,
            "SiteBanksSHA256": self.identity,
            "SourceSiteScans": list(self.source_scans),
            "TargetSiteScans": list(self.target_scans),
            "ProfileFilter": self.profile_filter,
        }

    def for_node(self, settings: Settings) -> dict[str, Any]:
        """As the nodes take it that harmonize, `interfaces.model_input.ModelInput`."""
        return {
            "method": self.method,
            "model_dir": str(self.folder),
            "model_sha256": self.sha256,
            "identity": self.identity,
            "cache_dir": str(self.cache or ""),
            "skull_strip": settings.skull_strip,
            "seed": settings.random_seed,
            "device": self.device,
            "batch_size": settings.batch_size,
            "use_gpu": self.device != "cpu",
        }
