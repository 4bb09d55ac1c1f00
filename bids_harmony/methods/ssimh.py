"""SSIMH: the low frequencies of every slice are those of a reference scan of the target site."""

from __future__ import annotations

from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.spectrum import exchange_low_frequencies
from bids_harmony.methods.base import Applied, finish
from bids_harmony.methods.trained import TrainedMethod

__all__ = ["SSIMH"]


class SSIMH(TrainedMethod):
    """Spectrum swapping-based image-level harmonization (Guan et al. 2022)."""

    name = "ssimh"

    def modalities(self) -> set[str]:
        """Modalities with a reference scan."""
        return set(self.tensors)

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan; a scan of the target site is not exempt."""
        self.check_target(modality, target_site)
        wanted = self.tensors[modality].numpy()
        return finish(exchange_low_frequencies(prepared.data, wanted), prepared.mask)
