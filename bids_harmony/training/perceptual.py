"""Perceptual distance of SiMix: features of the second VGG block (Johnson et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.model.encoder import Encoder

__all__ = ["PerceptualDistance"]

#: Convolutions up to each: conv1_1, conv1_2, conv2_1, conv2_2.
_TO_RELU2_1, _TO_RELU2_2 = 3, 4


class PerceptualDistance(nn.Module):
    """Mean absolute difference of features.

    Of a VGG the features are relu2_2, as published for VGG-16 (with the trunk's reflection
    padding, where the published network pads with zeros). Of the shipped encoder they are its
    second tap, relu2_1: a stand-in where there is no VGG file, which metadata must name.

    Parameters
    ----------
    encoder : Encoder
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.published = encoder.name.startswith("vgg16")
        self._depth = _TO_RELU2_2 if encoder.name.startswith("vgg") else _TO_RELU2_1

    @property
    def name(self) -> str:
        """What metadata records."""
        return f"{self.encoder.name} {'relu2_2' if self._depth == _TO_RELU2_2 else 'relu2_1'}"

    def features(self, x: Tensor) -> Tensor:
        """Features of slices (B, 1, H, W) in [0, 1]."""
        colour = x.expand(-1, 3, -1, -1)
        y = F.conv2d(colour, self.encoder.colour[:, :, None, None], self.encoder.offset)
        for place, layer in enumerate(list(self.encoder.trunk.convolutions)[: self._depth]):
            if place == 2:
                y = F.max_pool2d(y, 2, ceil_mode=True)
            y = F.relu(layer(F.pad(y, (1, 1, 1, 1), mode="reflect")))
        return y

    def forward(self, made: Tensor, target: Tensor) -> Tensor:
        """Distance of two slices, a scalar; gradients flow to `made`."""
        with torch.no_grad():
            wanted = self.features(target)
        return F.l1_loss(self.features(made), wanted)
