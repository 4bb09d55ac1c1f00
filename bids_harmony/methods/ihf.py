"""IHF-Harmony: the closed form first, then the network conditioned on both sites' profiles."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bids_harmony.devices import exact_convolutions
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.slices import cut_stack
from bids_harmony.methods.base import Applied, finish
from bids_harmony.methods.profiled import Profiled
from bids_harmony.model.description import read_description
from bids_harmony.model.shipped import MRI_ENCODER_SHA256, SHIPPED_MODEL
from bids_harmony.sites.training_range import TrainingRange, read_ranges, scan_code

if TYPE_CHECKING:
    from bids_harmony.model.encoder import Encoder
    from bids_harmony.model.network import IHFNetwork
    from bids_harmony.model.presets import NetworkConfig

__all__ = ["IHF"]


class IHF(Profiled):
    """The trained network of a model folder; parameters are those of `Profiled`."""

    name = "ihf"
    needs_source = True

    def load(self) -> None:
        """Read what the network is, and see that it is sound.

        The shipped one is; it and torch are loaded when they are asked for: whoever plans a run
        has others compute.
        """
        description = read_description(self.model_dir)
        self.config: NetworkConfig = description.config
        self.metadata = description.metadata
        extra = self.metadata["extra"]
        self.version = str(extra["version"])
        self.use_closed_form = self.uses_tissue_map = bool(extra["use_closed_form"])
        self.count_weights(self.metadata["weights"]["sha256"])
        if self.model_dir.resolve() != SHIPPED_MODEL:
            _ = self.members, self.ranges

    @cached_property
    def members(self) -> tuple[IHFNetwork, ...]:
        """The networks whose mean is applied, in evaluation mode, on the method's device."""
        from bids_harmony.model.checkpoint import load_members

        return load_members(self.model_dir, self.device)[0]

    @property
    def network(self) -> IHFNetwork:
        """The first of the networks."""
        return self.members[0]

    @cached_property
    def ranges(self) -> dict[str, TrainingRange]:
        """Range of the scans that it was trained on, by modality."""
        return read_ranges(self.model_dir)

    @property
    def encoder_sha256(self) -> str | None:
        """Hash of the encoder behind the model's codes; None where it is not the shipped one."""
        told = self.metadata["encoder"]
        shipped = told["name"] == "mri" and told["sha256"] == MRI_ENCODER_SHA256
        return MRI_ENCODER_SHA256 if shipped else None

    @cached_property
    def encoder(self) -> Encoder | None:
        """The encoder behind the model's codes; None where it is not the shipped one."""
        from bids_harmony.model.encoder import load_encoder

        return load_encoder("mri") if self.encoder_sha256 else None

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
        from bids_harmony.methods.conditioned import change_volume, condition_scan

        source = self.profile(modality, source_site)
        target = self.profile(modality, target_site)
        conditioned = condition_scan(
            prepared.data,
            prepared.mask,
            source,
            target,
            voxel_mm=self.voxel_mm,
            config=self.config,
            use_closed_form=self.use_closed_form,
        )
        change = change_volume(
            self.members, conditioned, batch_size=self.batch_size, device=self.device
        )
        data = conditioned.image + change
        return finish(data, prepared.mask, self._round_trip(conditioned.image))

    def _round_trip(self, image: np.ndarray) -> float:
        """Largest error of the flow without modulation, on the middle slice."""
        import torch

        stack = torch.from_numpy(cut_stack(image, [image.shape[2] // 2])).to(self.device)
        with torch.inference_mode(), exact_convolutions():
            return float((self.network.reconstruct(stack) - stack).abs().max())
