"""The generator of pix2pix: a U-Net that halves the slice until one pixel is left.

Isola, Zhu, Zhou and Efros (2017, CVPR, section 6.1): encoder C64-C128-C256-C512 and on with C512,
4 x 4 convolutions of stride 2, skip connections, dropout in the three innermost decoder layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bids_harmony.exceptions import UsageError

__all__ = ["UNET_LEVELS", "UNet", "levels_for"]

#: Of the published network, for slices of 256 x 256.
UNET_LEVELS = 8
_FEWEST_LEVELS = 4
_DROPOUT = 0.5


def levels_for(shape: Sequence[int]) -> int:
    """Levels of the U-Net for slices of a shape (X, Y), pixels: 8, fewer for less than 129."""
    return min(UNET_LEVELS, max(_FEWEST_LEVELS, (max(shape) - 1).bit_length()))


class UNet(nn.Module):
    """U-Net with skip connections and tanh at its end.

    Normalization is by the slice's own statistics with trained gain and shift: what batch
    normalization is at the published batch size of 1, in training as at test time.

    Parameters
    ----------
    width : int
        Filters of the first level, 64 as published; doubled three times, then constant.
    levels : int
        At least 4.
    """

    def __init__(self, width: int = 64, levels: int = UNET_LEVELS) -> None:
        super().__init__()
        if levels < _FEWEST_LEVELS or width < 1:
            raise UsageError(
                "The U-Net cannot be built",
                expected=f"at least {_FEWEST_LEVELS} levels and 1 filter",
                got=f"{levels} levels, {width} filters",
            )
        self.width, self.levels = width, levels
        widths = [width * min(2**level, 8) for level in range(levels)]
        down: list[nn.Module] = [nn.Conv2d(1, widths[0], 4, 2, 1, bias=False)]
        for level in range(1, levels):
            layers: list[nn.Module] = [
                nn.LeakyReLU(0.2),
                nn.Conv2d(widths[level - 1], widths[level], 4, 2, 1, bias=False),
            ]
            # One pixel has no statistics.
            if level < levels - 1:
                layers.append(nn.InstanceNorm2d(widths[level], affine=True))
            down.append(nn.Sequential(*layers))
        up: list[nn.Module] = []
        for level in reversed(range(1, levels)):
            # All but the innermost see the skip connection as well.
            seen = widths[level] * (1 if level == levels - 1 else 2)
            layers = [
                nn.ReLU(),
                nn.ConvTranspose2d(seen, widths[level - 1], 4, 2, 1, bias=False),
                nn.InstanceNorm2d(widths[level - 1], affine=True),
            ]
            if level >= levels - 3:
                layers.append(nn.Dropout(_DROPOUT))
            up.append(nn.Sequential(*layers))
        up.append(
            nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * widths[0], 1, 4, 2, 1), nn.Tanh())
        )
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)

    @property
    def multiple(self) -> int:
        """Sides of a slice must be multiples of this many pixels."""
        return 2**self.levels

    def forward(self, x: Tensor) -> Tensor:
        """Translate slices.

        Parameters
        ----------
        x : Tensor, (B, 1, H, W)
            In [-1, 1]; H and W multiples of `multiple`.

        Returns
        -------
        Tensor, (B, 1, H, W)
            In [-1, 1].
        """
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        x = self.up[0](skips.pop())
        for layer in self.up[1:]:
            x = layer(torch.cat([x, skips.pop()], dim=1))
        return x
