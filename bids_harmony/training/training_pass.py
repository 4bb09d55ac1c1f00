"""The network's change for training on a processor, in the order of memory that it likes.

`IHFNetwork.change` spends a third of a step in convolutions and the rest in passes over feature
maps between them. Here, as in `model.inference` for weights that stay as they are, channels lie
side by side, squeezed pixels in the order in which they come, the subtraction of the chunks is
part of the last convolution's weights, and gain and shift are interpolated by products of
matrices. What remains between the convolutions has gradients of its own that read every map once.
The result and its gradients are those of `IHFNetwork.change` but for rounding.

Arrays here are (B, h, w, C) where the rest of the package has (B, C, h, w).
"""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.model.coupling import IHFBlock
from bids_harmony.model.inference import squeezed
from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.normalization import AAN, Embedding
from bids_harmony.model.stage import Stage
from bids_harmony.model.window import Window
from bids_harmony.training.map_gradients import added, centred, modulated, picked

__all__ = ["TrainingPass", "change_with_gradients"]


def change_with_gradients(network: IHFNetwork, x: Tensor, condition: Condition) -> Tensor:
    """`IHFNetwork.change` in the faster of the ways that suit the network and its device."""
    if isinstance(network, IHFNetwork) and TrainingPass.suits(network):
        return TrainingPass(network)(x, condition)
    return network.change(x, condition)


class TrainingPass:
    """`IHFNetwork.change`, with gradients.

    Parameters
    ----------
    network : IHFNetwork
    """

    def __init__(self, network: IHFNetwork) -> None:
        self.network = network
        self.stages: list[_StagePass] = []
        order = torch.arange(3)
        for stage in network.staged():
            self.stages.append(_StagePass(stage, order))
            order = self.stages[-1].order

    @staticmethod
    def suits(network: IHFNetwork) -> bool:
        """Whether the network is of a kind that this pass can take, and on a processor."""
        config = network.config
        exact = config.recursion in ("convex", "mean") and not config.final_relu
        on_processor = next(network.parameters()).device.type == "cpu"
        return exact and config.aan.mode == "residual" and config.aan.fuse and on_processor

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
            change = stage.way_back(z, change, embedding, self.network.window(x, stage.stage))
        assert change is not None
        return self.network.cropped(change.permute(0, 3, 1, 2), x)


class _StagePass:
    """One stage; `before` and `order` give of each channel as it lies here, before and after the
    stage, its number in the network."""

    def __init__(self, stage: Stage, before: Tensor) -> None:
        self.stage, self.blocks = stage, []
        inside = torch.arange(stage.squeeze**2).view(-1, 1)
        self.order = (before * stage.squeeze**2 + inside).flatten()
        for block in stage.blocks:
            self.blocks.append(_BlockPass(cast(IHFBlock, block), self.order))
            self.order = self.blocks[-1].order

    def way_in(self, x: Tensor) -> Tensor:
        """(B, H, W, c) to (B, h, w, C)."""
        x = squeezed(x, self.stage.squeeze)
        for block in self.blocks:
            x = block(x)
        return x

    def way_back(
        self, z: Tensor, deeper: Tensor | None, embedding: Embedding, window: Window
    ) -> Tensor:
        """Change of the stage's input, (B, H, W, c).

        Parameters
        ----------
        z, deeper : Tensor, (B, h, w, C)
            Features, and their change by the deeper stages, if there are any.
        embedding : Embedding
        window : Window
        """
        aan, side = self.stage.aan, self.stage.squeeze
        here = z if deeper is None else z + deeper
        head = cast(nn.Conv2d, aan.content_features[0])
        features = F.conv2d(
            here.permute(0, 3, 1, 2),
            picked(head.weight, 1, self.order),
            head.bias,
            stride=aan.stride,
            padding=1,
        )
        half = torch.is_autocast_enabled(z.device.type)
        with torch.autocast(z.device.type, enabled=False):
            shown = window.shrunk(aan.stride).cut(aan.content_features[1:](features.to(z.dtype)))
            cells = F.adaptive_avg_pool2d(shown, aan.config.grid).permute(0, 2, 3, 1)
            ds, db = _predicted(aan, cells, embedding, self.order, half=half)
            shares = reduce(torch.kron, [b.block.shares for b in reversed(self.blocks)])
            flat, sigma = centred(here, window)
            shift = _fused(db * sigma[:, None, None], shares)
            sizes = (int(z.shape[1]), int(z.shape[2]))
            down, across = _interpolations(sizes, window, aan.config.grid, z.dtype)
            # Along the rows first: there are few cells yet.
            gain, shift = (_across(across, v) for v in (ds, shift))
            change = modulated(flat, deeper, gain, shift, shares, down)
        if side == 1:
            return change
        change = change.unflatten(-1, (side, side, -1)).permute(0, 1, 3, 2, 4, 5)
        return change.flatten(3, 4).flatten(1, 2)


class _BlockPass:
    """One block: ``h_i = x - (a_1 + ... + a_i)`` as convolutions and one sum."""

    def __init__(self, block: IHFBlock, order: Tensor) -> None:
        self.block, self.inputs = block, order
        starts = torch.arange(block.splits).view(-1, 1) * len(order)
        self.order = (starts + order).flatten()

    def __call__(self, x: Tensor) -> Tensor:
        first, last = cast(nn.Conv2d, self.block.affine[0]), cast(nn.Conv2d, self.block.affine[-1])
        weight = picked(first.weight, 1, self.inputs)
        hidden = F.conv2d(x.permute(0, 3, 1, 2), weight, first.bias, padding=1)
        hidden = cast(nn.Sequential, self.block.affine[1:-1])(hidden)
        weight, bias = self._running(last.weight), None
        if last.bias is not None:
            bias = self._running(last.bias)
        chunks = F.conv2d(hidden, weight, bias, padding=1).permute(0, 2, 3, 1)
        return added(chunks, x)

    def _running(self, values: Tensor) -> Tensor:
        """Minus the sums over the chunks so far."""
        values = picked(values, 0, self.order).unflatten(0, (self.block.splits, -1))
        return -values.cumsum(0).flatten(0, 1)


def _predicted(
    aan: AAN, cells: Tensor, embedding: Embedding, order: Tensor, *, half: bool
) -> tuple[Tensor, Tensor]:
    """`AAN.predicted` from the pooled content features, (B, g, g, D); (B, g, g, C) each, channels
    in `order`. With `half` the last, largest product is in half precision."""
    content = _linear(aan.content_embedding, cells)
    target = aan.code_embedding(embedding.target)
    source = None if embedding.source is None else aan.code_embedding(embedding.source)
    fused = _joined(aan.heads, content, target, embedding.maps_target)
    if aan.config.relative:
        assert source is not None
        assert embedding.differs is not None
        fused = fused - _joined(aan.heads, content, source, embedding.maps_source)
        fused = fused * embedding.differs[:, None, None, None]
    heads, inputs = [aan.heads], [fused]
    weights = [fused.new_ones(len(fused), 1, 1, 1)]
    if aan.gated is not None:
        assert source is not None
        assert embedding.gate is not None
        maps = None
        if embedding.maps_source is not None and embedding.maps_target is not None:
            maps = torch.cat([embedding.maps_source, embedding.maps_target], dim=1)
        weights.append(embedding.gate[:, None, None, None])
        heads.append(aan.gated)
        inputs.append(_joined(aan.gated, content, target - source, maps) * weights[1])
    # Gain and shift of both predictions as one product.
    matrix = torch.cat([torch.cat([h.scale.weight, h.shift.weight]) for h in heads], dim=1)
    both = torch.cat([order, order + len(order)])
    x, matrix = torch.cat(inputs, dim=-1), picked(matrix[:, :, 0, 0], 0, both)
    if half:
        x, matrix = x.bfloat16(), matrix.bfloat16()
    made = F.linear(x, matrix).to(fused.dtype)
    for head, weight in zip(heads, weights, strict=True):
        if head.scale.bias is not None:
            assert head.shift.bias is not None
            made = made + weight * picked(torch.cat([head.scale.bias, head.shift.bias]), 0, both)
    ds, db = made.chunk(2, dim=-1)
    return ds.clamp(-aan.config.clip, aan.config.clip), db


def _joined(heads: Any, content: Tensor, code: Tensor, maps: Tensor | None) -> Tensor:
    """`_Heads.joined`, (B, g, g, W)."""
    parts = [content, code[:, None, None].expand(*content.shape[:3], -1)]
    if heads.maps is not None:
        assert maps is not None
        first, between, last = heads.maps
        parts.append(_linear(last, between(_linear(first, maps.permute(0, 2, 3, 1)))))
    layer, activation = heads.fuse
    return cast(Tensor, activation(_linear(layer, torch.cat(parts, dim=-1))))


def _linear(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1 x 1 convolution over the last axis."""
    return F.linear(x, layer.weight[:, :, 0, 0], layer.bias)


def _across(matrix: Tensor, x: Tensor) -> Tensor:
    """Product of (w, g) with the rows of (B, g, g, C), to (B, g, w, C)."""
    rows = x.flatten(0, 1)
    return torch.bmm(matrix.expand(len(rows), -1, -1), rows).unflatten(0, x.shape[:2])


def _fused(chunks: Tensor, shares: Tensor) -> Tensor:
    """Sum of the chunks (..., C) times their shares."""
    return (chunks.unflatten(-1, (len(shares), -1)) * shares[:, None]).sum(-2)


@lru_cache(maxsize=64)
def _interpolations(
    shape: tuple[int, int], window: Window, cells: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Matrices (h, g) and (w, g) from cells to pixels; border values beyond the window."""

    def matrix(size: int, start: int, end: int) -> Tensor:
        eye = torch.eye(cells, dtype=dtype)[None]
        inside = F.interpolate(eye, size=end - start, mode="linear")[0].T
        return inside[(torch.arange(size) - start).clamp(0, end - start - 1)].contiguous()

    return (
        matrix(shape[0], window.top, window.bottom),
        matrix(shape[1], window.left, window.right),
    )
