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
        Of weights and own banks.
    device : str
        A torch device that exists: "cpu" or "cuda:N".
    name, version : str
        For sidecars.
    shelf : Path, optional
        Folder of banks that were made on the fly.
    identity : str
        sha256 of what counts for one scan: weights and two banks.
    source_site : str
        The scan's site as the banks spell it.
    source_scans, target_scans : tuple of str
        Labels of the scans behind these banks.
    source_look, target_look : Path, optional
        For diffusion series: files of the sites' looks.
    """

    method: str
    folder: Path
    sha256: str
    device: str
    name: str = ""
    version: str = ""
    shelf: Path | None = None
    identity: str = ""
    source_site: str = ""
    source_scans: tuple[str, ...] = ()
    target_scans: tuple[str, ...] = ()
    source_look: Path | None = None
    target_look: Path | None = None

    def for_sidecar(self) -> dict[str, Any]:
        """As `bids.sidecar.harmonized_sidecar` takes it."""
        return {
            "Name": self.name or self.method,
            "Version": self.version or None,
            "SHA256": self.sha256,
            "SiteBanksSHA256": self.identity,
            "SourceSiteScans": list(self.source_scans),
            "TargetSiteScans": list(self.target_scans),
        }

    def for_node(self, settings: Settings) -> dict[str, Any]:
        """As the nodes take it that harmonize, `interfaces.model_input.ModelInput`."""
        return {
            "method": self.method,
            "model_dir": str(self.folder),
            "model_sha256": self.sha256,
            "identity": self.identity,
            "shelf_dir": str(self.shelf or ""),
            "skull_strip": settings.skull_strip,
            "seed": settings.random_seed,
            "device": self.device,
            "batch_size": settings.batch_size,
            "use_gpu": self.device != "cpu",
        }
