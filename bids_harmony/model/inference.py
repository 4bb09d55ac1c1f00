"""The network's change on a processor, in the order of memory that a processor likes.

`IHFNetwork.change` is convolutions and, between them, passes over feature maps that cost more
than these. Here channels lie side by side in memory, as the convolutions want them; squeezed
pixels lie in the order in which they come, to which the weights are rearranged; the subtraction of
the chunks is part of the last convolution's weights; the chunks of the shift are fused in its few
cells, before these are interpolated; and the rest of the way back goes over a few rows at a time,
which stay in the cache, of all slices at once, as threads wait for each other between operations.
The result is that of `IHFNetwork.change` but for rounding, and does not depend on the number of
threads.

It is a second forward pass, kept because it halves the time of what every scan waits for: a volume
of 1 mm takes 3.0 CPU seconds, and 6.8 by `IHFNetwork.change` with channels side by side
(``benchmarks/change_pass.py``); images differ by 5e-8 of their range.

Arrays here are (B, h, w, C) where the rest of the package has (B, C, h, w).
"""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.model.coupling import IHFBlock
from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.normalization import EPSILON, Embedding
from bids_harmony.model.stage import Stage
from bids_harmony.model.window import Window

__all__ = ["ChangePass", "squeezed"]


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


def squeezed(x: Tensor, side: int) -> Tensor:
    """Blocks of side x side pixels into channels: (B, H, W, c) to (B, H / side, W / side, C)."""
    if side == 1:
        return x
    batch, height, width, channels = x.shape
    x = x.view(batch, height // side, side, width // side, side, channels)
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3)


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
        # Of each chunk of the stage in the sum that takes its blocks back.
        shares = [block.shares for block in reversed(self.blocks)]
        self.shares: list[float] = reduce(torch.kron, shares).tolist()
        head = cast(nn.Conv2d, stage.aan.content_features[0])
        self.head, self.head_bias = _rearranged(head, None, self.order)

    def way_in(self, x: Tensor) -> Tensor:
        """(B, H, W, c) to (B, h, w, C)."""
        x = squeezed(x, self.stage.squeeze)
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
            values[:, self.order].permute(0, 2, 3, 1)
            for values in aan.predicted(content, embedding)
        )
        shift = self._fused(db * _centre(here, window)[:, None, None])
        batch, height, width, _ = here.shape
        cells = ds.shape[1]
        across = _interpolation(width, window.left, window.right, cells)
        gain, shift = across @ ds, across @ shift
        change = here.new_empty(batch, height * side, width * side, shift.shape[-1] // side**2)
        squeezed = change.view(batch, height, side, width, side, -1).permute(0, 1, 3, 2, 4, 5)
        for rows, one, other, share in _bands(height, window.top, window.bottom, cells):
            made = torch.lerp(gain[:, one, None], gain[:, other, None], share).exp_().sub_(1)
            if deeper is None:
                made *= here[:, rows]
            else:
                torch.addcmul(deeper[:, rows], made, here[:, rows], out=made)
            added = torch.lerp(shift[:, one, None], shift[:, other, None], share)
            squeezed[:, rows] = self._fused(made, added).unflatten(-1, (side, side, -1))
        return change

    def _fused(self, chunks: Tensor, onto: Tensor | None = None) -> Tensor:
        """Sum of the chunks (..., C) times their shares, as `IHFBlock.reverse_change` has it;
        added to `onto`, in place, if that is given."""
        first, *more = chunks.chunk(len(self.shares), -1)
        share, *shares = self.shares
        total = first * share if onto is None else onto.add_(first, alpha=share)
        for chunk, share in zip(more, shares, strict=True):
            total.add_(chunk, alpha=share)
        return total


class _BlockPass:
    """One block: ``h_i = x - (a_1 + ... + a_i)`` as convolutions and one sum."""

    def __init__(self, block: IHFBlock, order: Tensor) -> None:
        self.splits, self.shares = block.splits, block.shares.detach()
        first, last = cast(nn.Conv2d, block.affine[0]), cast(nn.Conv2d, block.affine[-1])
        self.between = [
            nn.LeakyReLU(layer.negative_slope, inplace=True)
            if isinstance(layer, nn.LeakyReLU)
            else layer
            for layer in cast(nn.Sequential, block.affine[1:-1])
        ]
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
        for layer in self.between:
            hidden = layer(hidden)
        z = F.conv2d(hidden, self.last, self.last_bias, padding=1)
        z = z.permute(0, 2, 3, 1)
        z.unflatten(-1, (self.splits, -1)).add_(x[..., None, :])
        return z


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


def _centre(z: Tensor, window: Window) -> Tensor:
    """Subtract the means over the window from (B, h, w, C), in place.

    Returns
    -------
    Tensor, (B, C)
        Standard deviations over the window.
    """
    pixels, sigmas = window.shape[0] * window.shape[1], []
    for image in z:
        # A slice stays in the cache; one axis after the other is twenty times faster than both.
        shown = image[window.top : window.bottom, window.left : window.right]
        image -= shown.sum(0).sum(0) / pixels
        sigmas.append(torch.sqrt(shown.square().sum(0).sum(0) / pixels + EPSILON))
    return torch.stack(sigmas)


@lru_cache(maxsize=64)
def _interpolation(size: int, start: int, end: int, cells: int) -> Tensor:
    """Matrix (size, cells) that takes values of cells to pixels, see `_taps`."""
    first, second, share = _taps(size, start, end, cells)
    one_hot = torch.eye(cells)
    return torch.lerp(one_hot[first], one_hot[second], share[:, None])


@lru_cache(maxsize=64)
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


@lru_cache(maxsize=64)
def _bands(
    size: int, start: int, end: int, cells: int
) -> tuple[tuple[slice, int, int, Tensor], ...]:
    """Runs of pixels between the middles of two cells: the pixels, the two cells, and for each
    pixel the share of the second, (n, 1, 1)."""
    first, second, share = _taps(size, start, end, cells)
    firsts, counts = torch.unique_consecutive(first, return_counts=True)
    bands, at = [], 0
    for one, count in zip(firsts.tolist(), counts.tolist(), strict=True):
        rows = slice(at, at + count)
        bands.append((rows, one, int(second[at]), share[rows, None, None]))
        at += count
    return tuple(bands)
