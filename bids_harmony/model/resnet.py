"""The residual generator of SiMix, which takes it from pGAN.

Johnson, Alahi and Fei-Fei (2016, ECCV) by way of pGAN (Dar et al. 2019, IEEE TMI): 7 x 7
convolution, two halvings, nine residual blocks, two doublings, 7 x 7 convolution; instance
normalization; no bound on the output (SiMix, Xu et al. 2024).
"""

from __future__ import annotations

from torch import Tensor, nn

from bids_harmony.exceptions import UsageError

__all__ = ["RESNET_BLOCKS", "ResNetGenerator"]

RESNET_BLOCKS = 9


class ResNetGenerator(nn.Module):
    """Residual network from slices to slices.

    Parameters
    ----------
    width : int
        Filters of the first layer, 64 as published; four times as many in the blocks.
    blocks : int
        9 as published.
    """

    #: Sides of a slice must be multiples of this many pixels.
    multiple = 4

    def __init__(self, width: int = 64, blocks: int = RESNET_BLOCKS) -> None:
        super().__init__()
        if width < 1 or blocks < 1:
            raise UsageError(
                "The residual network cannot be built",
                expected="at least 1 filter and 1 block",
                got=f"{width} filters, {blocks} blocks",
            )
        self.width, self.blocks = width, blocks
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(1, width, 7)]
        layers += [nn.InstanceNorm2d(width), nn.ReLU()]
        for wide in (width, 2 * width):
            layers += [nn.Conv2d(wide, 2 * wide, 3, 2, 1), nn.InstanceNorm2d(2 * wide), nn.ReLU()]
        layers += [_Block(4 * width) for _ in range(blocks)]
        for wide in (4 * width, 2 * width):
            layers += [
                nn.ConvTranspose2d(wide, wide // 2, 3, 2, 1, output_padding=1),
                nn.InstanceNorm2d(wide // 2),
                nn.ReLU(),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Translate slices (B, 1, H, W) in [0, 1]; H and W multiples of 4. The output is free."""
        return self.layers(x)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)
