"""The network's change on a processor, in the order of memory that a processor likes.

`IHFNetwork.change` is convolutions and, between them, passes over feature maps that cost more
than these. Here channels lie side by side in memory, as the convolutions want them; squeezed
pixels lie in the order in which they come, to which the weights are rearranged; the subtraction of
the chunks is part of the last convolution's weights; and modulation, fusion and the sum over
chunks go over a few rows at a time, which stay in the cache. The result is that of
`IHFNetwork.change` but for rounding, and does not depend on the number of threads.

Arrays here are (B, h, w, C) where the rest of the package has (B, C, h, w).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.model.coupling import IHFBlock
from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.normalization import EPSILON, Embedding
from bids_harmony.model.stage import Stage
from bids_harmony.model.window import Window

__all__ = ["ChangePass"]


class ChangePass:
    """`IHFNetwork.change` of a network whose weights stay as they are.

    Parameters
    ----------
    network : IHFNetwork
        In evaluation mode, on the processor.
    """

    def __init__(self, network: IHFNetwork) -> None:
        self.network = network
        self.stages: list[_StagePass] = []
        order = torch.arange(3)
        for stage in network.staged():
            self.stages.append(_StagePass(stage, order))
            order = self.stages[-1].order

    @staticmethod
    def suits(network: IHFNetwork, device: str) -> bool:
        """Whether the network is of a kind that this pass can take, and the device a processor."""
        config = network.config
        exact = config.recursion in ("convex", "mean") and not config.final_relu
        return exact and config.aan.mode == "residual" and torch.device(device).type == "cpu"

    @torch.inference_mode()
    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        """Change of slices, (B, 3, H, W) float32, of the same shape."""
        embedding = self.network.embed(x, condition)
        z = self.network.padded(x).permute(0, 2, 3, 1).contiguous()
        features = []
        for stage in self.stages:
            z = stage.way_in(z)
            features.append(z)
        change: Tensor | None = None
        for stage, z in zip(reversed(self.stages), reversed(features), strict=True):
            # The features are read no more: they may be written to.
            here = z if change is None else z.add_(change)
            change = stage.way_back(here, change, embedding, self.network.window(x, stage.stage))
        assert change is not None
        return self.network.cropped(change.permute(0, 3, 1, 2), x)


class _StagePass:
    """One stage; `before` and `order` give of each channel as it lies here, before and after the
    stage, its number in the network."""

    def __init__(self, stage: Stage, before: Tensor) -> None:
        self.stage = stage
        side = stage.squeeze
        inside = torch.arange(side**2).view(-1, 1)
        self.order = (before * side**2 + inside).flatten()
        self.blocks = []
        for block in stage.blocks:
            self.blocks.append(_BlockPass(cast(IHFBlock, block), self.order))
            self.order = self.blocks[-1].order
        head = cast(nn.Conv2d, stage.aan.content_features[0])
        self.head, self.head_bias = _rearranged(head, None, self.order)

    def way_in(self, x: Tensor) -> Tensor:
        """(B, H, W, c) to (B, h, w, C)."""
        batch, height, width, channels = x.shape
        side = self.stage.squeeze
        if side > 1:
            x = x.view(batch, height // side, side, width // side, side, channels)
            x = x.permute(0, 1, 3, 2, 4, 5).flatten(3)
        for block in self.blocks:
            x = block(x)
        return x

    def way_back(
        self, here: Tensor, deeper: Tensor | None, embedding: Embedding, window: Window
    ) -> Tensor:
        """Change of the stage's input, (B, H, W, c).

        Parameters
        ----------
        here : Tensor, (B, h, w, C)
            Features with the change of the deeper stages; overwritten.
        deeper : Tensor, (B, h, w, C), optional
            That change.
        embedding : Embedding
        window : Window
        """
        aan, side = self.stage.aan, self.stage.squeeze
        features = F.conv2d(
            here.permute(0, 3, 1, 2), self.head, self.head_bias, stride=aan.stride, padding=1
        )
        _normalize(features.permute(0, 2, 3, 1), cast(nn.InstanceNorm2d, aan.content_features[1]))
        content = aan.pooled(aan.content_features[2:](features), window)
        ds, db = (
            cells[:, self.order].permute(0, 2, 3, 1) for cells in aan.predicted(content, embedding)
        )
        batch, height, width, channels = here.shape
        for block in self.blocks:
            channels //= block.splits
        change = here.new_empty(batch, height * side, width * side, channels // side**2)
        squeezed = change.view(batch, height, side, width, side, -1).permute(0, 1, 3, 2, 4, 5)
        # Of each pixel its two cells and the share of the second.
        down = _taps(height, window.top, window.bottom, ds.shape[1])
        across = _taps(width, window.left, window.right, ds.shape[2])
        for index in range(batch):
            shown = here[index, window.top : window.bottom, window.left : window.right]
            # One axis after the other: twenty times faster than both at once.
            here[index] -= shown.sum(0).sum(0) / shown[..., 0].numel()
            variance = shown.square().sum(0).sum(0) / shown[..., 0].numel()
            gain = _stretched(ds[index], across)
            shift = _stretched(db[index] * torch.sqrt(variance + EPSILON), across)
            for start, end in _runs(down[0]):
                rows = slice(start, end)
                above, below, share = (tap[rows] for tap in down)
                cells = int(above[0]), int(below[0])
                made = _modulated(here[index, rows], gain, shift, cells, share)
                if deeper is not None:
                    made += deeper[index, rows]
                for block in reversed(self.blocks):
                    made = block.way_back(made)
                squeezed[index, rows] = made.unflatten(-1, (side, side, -1))
        return change


class _BlockPass:
    """One block: ``h_i = x - (a_1 + ... + a_i)`` as convolutions and one sum."""

    def __init__(self, block: IHFBlock, order: Tensor) -> None:
        self.splits, self.weights = block.splits, block.weights.tolist()
        first, last = cast(nn.Conv2d, block.affine[0]), cast(nn.Conv2d, block.affine[-1])
        self.between = block.affine[1:-1]
        self.first, self.first_bias = _rearranged(first, None, order)
        starts = torch.arange(self.splits).view(-1, 1) * len(order)
        self.order = (starts + order).flatten()
        weight, bias = _rearranged(last, self.order, None)
        self.last = -self._running(weight)
        self.last_bias = None if bias is None else -self._running(bias)

    def _running(self, values: Tensor) -> Tensor:
        """Sums over the chunks so far, in the memory order of `values`."""
        sums = values.double().unflatten(0, (self.splits, -1)).cumsum(0).flatten(0, 1).float()
        return sums.contiguous(memory_format=torch.channels_last) if sums.ndim == 4 else sums

    def __call__(self, x: Tensor) -> Tensor:
        hidden = F.conv2d(x.permute(0, 3, 1, 2), self.first, self.first_bias, padding=1)
        z = F.conv2d(self.between(hidden), self.last, self.last_bias, padding=1)
        z = z.permute(0, 2, 3, 1)
        z.unflatten(-1, (self.splits, -1)).add_(x[..., None, :])
        return z

    def way_back(self, change: Tensor) -> Tensor:
        """As `IHFBlock.reverse_change`, (..., n * c) to (..., c)."""
        *parts, result = change.chunk(self.splits, -1)
        for part, weight in zip(reversed(parts), reversed(self.weights), strict=True):
            result = torch.lerp(result, part, weight)
        return result


def _rearranged(
    layer: nn.Conv2d, outputs: Tensor | None, inputs: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a convolution whose channels come in another order."""
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    if inputs is not None:
        weight = weight[:, inputs]
    if outputs is not None:
        weight, bias = weight[outputs], None if bias is None else bias[outputs]
    return weight.contiguous(memory_format=torch.channels_last), bias


def _normalize(x: Tensor, norm: nn.InstanceNorm2d) -> None:
    """Instance normalization of (B, h, w, C) in place."""
    pixels = x.shape[1] * x.shape[2]
    x -= (x.sum(1).sum(1) / pixels)[:, None, None]
    variance = x.square().sum(1).sum(1) / pixels
    x *= (norm.weight * torch.rsqrt(variance + norm.eps))[:, None, None]
    x += norm.bias


def _modulated(
    centred: Tensor, gain: Tensor, shift: Tensor, cells: tuple[int, int], share: Tensor
) -> Tensor:
    """``expm1(ds) (z - mu) + sigma db`` for rows (r, w, C) between the middles of two cells."""
    share = share[:, None, None]
    one, other = cells
    factor = torch.lerp(gain[one], gain[other], share).exp_().sub_(1)
    added = torch.lerp(shift[one], shift[other], share)
    return torch.addcmul(added, factor, centred, out=added)


def _stretched(cells: Tensor, across: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Cells (g, g, C) interpolated along the rows of the image, (g, w, C)."""
    first, second, share = across
    left, right = cells.index_select(1, first), cells.index_select(1, second)
    return torch.lerp(left, right, share[:, None])


def _taps(size: int, start: int, end: int, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Linear interpolation from cells to the pixels start to end, border values beyond.

    Returns
    -------
    first, second : Tensor, (size,) int64
        Cells of each pixel.
    share : Tensor, (size,) float32
        Of the second.
    """
    pixel = torch.arange(size).clamp(start, end - 1) - start
    at = ((pixel + 0.5) * (cells / (end - start)) - 0.5).clamp(min=0)
    first = at.long()
    return first, (first + 1).clamp(max=cells - 1), at - first


def _runs(values: Tensor) -> list[tuple[int, int]]:
    """First and end index of each run of equal values."""
    counts = torch.unique_consecutive(values, return_counts=True)[1]
    ends = counts.cumsum(0).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))
