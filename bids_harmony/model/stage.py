"""One stage of the network: squeeze (space to depth, exact), couplings and normalisation."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.model.coupling import IHFBlock
from bids_harmony.model.normalization import AAN
from bids_harmony.model.presets import NetworkConfig

__all__ = ["Stage", "squeeze", "unsqueeze"]


def squeeze(x: Tensor, factor: int = 2) -> Tensor:
    """Move each `factor` x `factor` patch into channels.

    Parameters
    ----------
    x : Tensor, (B, C, H, W)
        H and W are multiples of `factor`.
    factor : int
        1 returns `x` itself.

    Returns
    -------
    Tensor, (B, C * factor**2, H / factor, W / factor)
    """
    return x if factor == 1 else F.pixel_unshuffle(x, factor)


def unsqueeze(x: Tensor, factor: int = 2) -> Tensor:
    """Undo `squeeze`: (B, C * factor**2, h, w) to (B, C, h * factor, w * factor)."""
    return x if factor == 1 else F.pixel_shuffle(x, factor)


class Stage(nn.Module):
    """Squeeze and couplings of one stage, and AAN at its entrance on the way back.

    Parameters
    ----------
    config : NetworkConfig
    index : int
        0 for the stage next to the image.
    channels : int
        Of its input.
    squeezed : int
        Product of the squeeze factors of the stages before.
    """

    def __init__(self, config: NetworkConfig, index: int, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = config.squeeze[index]
        self.factor = squeezed * self.squeeze
        channels *= self.squeeze**2
        blocks = []
        for _ in range(config.couplings):
            block = IHFBlock(
                channels,
                config.splits[index],
                config.hidden[index],
                recursion=config.recursion,
                shared_w=config.shared_w,
                w_init=config.w_init,
                final_relu=config.final_relu,
                normalize=config.normalize,
            )
            blocks.append(block)
            channels *= config.splits[index]
        self.blocks, self.channels = nn.ModuleList(blocks), channels
        stride = config.aan.stride_unsqueezed if self.factor == 1 else 1
        self.aan = AAN(channels, config.aan, stride=stride)

    def way_in(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features after the couplings, and their caches."""
        x, caches = squeeze(x, self.squeeze), []
        for block in self.blocks:
            x, cache = block(x)
            caches.append(cache)
        return x, caches

    def way_back(self, z: Tensor, caches: list[Tensor]) -> Tensor:
        """Undo `way_in` on features, changed or not."""
        for block, cache in zip(reversed(self.blocks), reversed(caches), strict=True):
            z = cast(IHFBlock, block).reverse(z, cache)
        return unsqueeze(z, self.squeeze)

    def change_back(self, change: Tensor) -> Tensor:
        """Carry a change of the features to the stage's input; needs no caches."""
        for block in reversed(self.blocks):
            change = cast(IHFBlock, block).reverse_change(change)
        return unsqueeze(change, self.squeeze)
