"""IHF-Harmony: the closed form first, then the network conditioned on both sites' profiles."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from bids_harmony.devices import exact_convolutions
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.slices import cut_stack, reassemble
from bids_harmony.methods.base import Applied, finish
from bids_harmony.methods.conditioned import condition_scan, predict_change
from bids_harmony.methods.profiled import Profiled
from bids_harmony.model.checkpoint import load_model
from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.sites.training_range import read_ranges, scan_code

__all__ = ["IHF"]


class IHF(Profiled):
    """The trained network of a model folder; parameters are those of `Profiled`."""

    name = "ihf"
    needs_source = True

    def load(self) -> None:
        """Read the network, and the range of the scans that it was trained on."""
        self.network, self.metadata = load_model(self.model_dir, self.device)
        extra = self.metadata["extra"]
        self.version = str(extra["version"])
        self.use_closed_form = self.uses_tissue_map = bool(extra["use_closed_form"])
        self.count_weights(self.metadata["weights"]["sha256"])
        self.ranges = read_ranges(self.model_dir)

    @cached_property
    def encoder(self) -> Encoder | None:
        """The encoder behind the model's codes; None where it is not the shipped one."""
        if self.metadata["encoder"]["name"] != "mri":
            return None
        encoder = load_encoder("mri")
        return encoder if encoder.sha256 == self.metadata["encoder"]["sha256"] else None

    def novelty(self, prepared: Prepared, modality: str) -> float | None:
        """How far the scan's code is from those of training, 1 at the border.

        None for a modality that training had none of, and where the encoder is not at hand.
        """
        if modality not in self.ranges or self.encoder is None:
            return None
        code = scan_code(prepared.data, prepared.mask, self.voxel_mm, self.encoder)
        return self.ranges[modality].score(code)

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan.

        With relative conditioning, a scan of the target site comes back unchanged, bit for bit.
        """
        source = self.profile(modality, source_site)
        target = self.profile(modality, target_site)
        conditioned = condition_scan(
            prepared.data,
            prepared.mask,
            source,
            target,
            voxel_mm=self.voxel_mm,
            config=self.network.config,
            use_closed_form=self.use_closed_form,
        )
        changes = predict_change(
            self.network, conditioned, batch_size=self.batch_size, device=self.device
        )
        data = conditioned.image + reassemble(changes)
        return finish(data, prepared.mask, self._round_trip(conditioned.image))

    @torch.inference_mode()
    def _round_trip(self, image: np.ndarray) -> float:
        """Largest error of the flow without modulation, on the middle slice."""
        stack = torch.from_numpy(cut_stack(image, [image.shape[2] // 2])).to(self.device)
        with exact_convolutions():
            return float((self.network.reconstruct(stack) - stack).abs().max())
