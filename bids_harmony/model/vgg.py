"""VGG convolutions up to relu4_1 and the channel statistics of their taps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.exceptions import DataError, UsageError

__all__ = ["LAYOUTS", "VGG_WIDTHS", "VGGTrunk", "channel_statistics"]

VGG_WIDTHS = (64, 128, 256, 512)
# Convolutions per block; the fourth block stops at relu4_1.
LAYOUTS = {"vgg16": (2, 2, 3, 1), "vgg19": (2, 2, 4, 1)}
_EPSILON = 1e-5
# Below this a map shrinks to one pixel before conv4_1 and cannot be reflected.
_SMALLEST = 9


class VGGTrunk(nn.Module):
    """VGG convolutions up to relu4_1, trainable.

    Parameters
    ----------
    widths : sequence of int
        Channels of the four blocks.
    layout : {"vgg16", "vgg19"}
        Three or four convolutions in the third block.
    """

    def __init__(
        self, widths: Sequence[int] = VGG_WIDTHS, layout: Literal["vgg16", "vgg19"] = "vgg16"
    ) -> None:
        super().__init__()
        self.widths, self.layout = tuple(int(width) for width in widths), layout
        if len(self.widths) != 4 or layout not in LAYOUTS:
            raise UsageError(
                "The encoder cannot be built",
                expected="four widths and layout vgg16 or vgg19",
                got=f"{self.widths}, {layout}",
            )
        convolutions, previous = [], 3
        for width, count in zip(self.widths, LAYOUTS[layout], strict=True):
            for _ in range(count):
                convolution = nn.Conv2d(previous, width, 3)
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
                convolutions.append(convolution)
                previous = width
        self.convolutions = nn.ModuleList(convolutions)

    @property
    def code_length(self) -> int:
        """Length of the code: mean and standard deviation of every tapped channel."""
        return 2 * sum(self.widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return relu1_1, relu2_1, relu3_1, relu4_1.

        Parameters
        ----------
        x : Tensor, (B, 3, H, W)
            Input on the scale that the weights were trained with; H, W >= 9.

        Returns
        -------
        list of Tensor
            Tap l has shape (B, widths[l], ceil(H / 2**l), ceil(W / 2**l)), l = 0..3.
        """
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[-2:]) < _SMALLEST:
            raise DataError(
                "The encoder cannot take this image",
                expected=f"(B, 3, H, W) with H, W >= {_SMALLEST}",
                got=str(tuple(x.shape)),
            )
        taps, layers = [], iter(self.convolutions)
        for block, count in enumerate(LAYOUTS[self.layout]):
            if block:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            for place in range(count):
                x = F.relu(next(layers)(F.pad(x, (1, 1, 1, 1), mode="reflect")))
                if place == 0:
                    taps.append(x)
        return taps

    def extra_repr(self) -> str:
        return f"{self.layout}, widths={self.widths}"


def channel_statistics(feature: Tensor) -> Tensor:
    """Mean and standard deviation of every channel over space.

    Parameters
    ----------
    feature : Tensor, (B, C, h, w)

    Returns
    -------
    Tensor, (B, 2C), float32
        C means, then C values sqrt(var + 1e-5) with the biased variance.
    """
    feature = feature.float()
    mean = feature.mean(dim=(2, 3))
    variance = feature.var(dim=(2, 3), unbiased=False)
    return torch.cat([mean, torch.sqrt(variance + _EPSILON)], dim=1)
