"""The conditional PatchGAN discriminator and the start of adversarial networks.

Isola, Zhu, Zhou and Efros (2017, CVPR, section 6.1): C64-C128-C256-C512 with 4 x 4 convolutions,
strides 2, 2, 2, 1, then one channel; each output looks at 70 x 70 pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PatchGAN", "start_normal"]


class PatchGAN(nn.Module):
    """Tells real from made, patch by patch, given the source.

    Parameters
    ----------
    width : int
        Filters of the first layer, 64 as published.
    affine : bool
        Trained gain and shift in the normalization (pix2pix) or none (pGAN).
    """

    def __init__(self, width: int = 64, *, affine: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(2, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for factor, stride in ((2, 2), (4, 2), (8, 1)):
            layers += [
                nn.Conv2d(factor * width // 2, factor * width, 4, stride, 1, bias=not affine),
                nn.InstanceNorm2d(factor * width, affine=affine),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(8 * width, 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, source: Tensor, image: Tensor) -> Tensor:
        """Score patches.

        Parameters
        ----------
        source, image : Tensor, (B, 1, H, W)
            H, W >= 32.

        Returns
        -------
        Tensor, (B, 1, H / 8 - 2, W / 8 - 2)
            Large where the patch looks real; a logit under the cross-entropy loss.
        """
        return self.layers(torch.cat([source, image], dim=1))


def start_normal(network: nn.Module) -> None:
    """Draw weights from N(0, 0.02), gains from N(1, 0.02), biases 0, as pix2pix does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.InstanceNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
