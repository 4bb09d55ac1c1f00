"""SSIMH: the low frequencies of every slice are those of a reference scan of the target site."""

from __future__ import annotations

from pathlib import Path

from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.spectrum import exchange_low_frequencies
from bids_harmony.methods import Applied, finish
from bids_harmony.methods.fitted import Fitted

__all__ = ["SSIMH"]


class SSIMH(Fitted):
    """Spectrum swapping-based image-level harmonization (Guan et al. 2022).

    Parameters
    ----------
    model_dir : Path
    """

    def __init__(self, model_dir: Path) -> None:
        super().__init__("ssimh", model_dir)

    def fitted_modalities(self) -> set[str]:
        """Modalities with a reference scan."""
        return set(self.tensors)

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan; a scan of the target site is not exempt."""
        self.check_target(modality, target_site)
        wanted = self.tensors[modality].numpy()
        return finish(exchange_low_frequencies(prepared.data, wanted), prepared.mask)
