"""Artefact-aware normalisation (AAN): where the target's appearance enters the flow.

Equation (2) of IHF-Harmony (arXiv 2602.21536), ``zhat = gamma (z - mu) / sigma + beta``, with gain
and shift predicted from the source's content and the target's code. Beyond the paper they may vary
over a g x g grid of the image (g = 1 is the paper), be relative to the source's own code, and see
local maps of the scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.model.presets import AANConfig
from bids_harmony.model.window import Window

__all__ = ["EPSILON", "AAN", "Embedding", "statistics"]

EPSILON = 1e-5


@dataclass(frozen=True)
class Embedding:
    """The condition as the stages see it.

    Attributes
    ----------
    target, source : Tensor, (B, P)
        Projected codes; source None when it is not used.
    maps_target, maps_source : Tensor, (B, M, g, g)
        Local maps, None when not used.
    differs : Tensor, (B,)
        1 where the target's condition is not exactly the source's, else 0.
    gate : Tensor, (B,)
        Weight of the non-relative prediction.
    """

    target: Tensor
    source: Tensor | None = None
    maps_target: Tensor | None = None
    maps_source: Tensor | None = None
    differs: Tensor | None = None
    gate: Tensor | None = None


def statistics(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over space, per sample and channel.

    Parameters
    ----------
    z : Tensor, (B, C, h, w)

    Returns
    -------
    mu, sigma : Tensor, (B, C, 1, 1)
        At least float32; sigma = sqrt(var + 1e-5) with the biased variance.
    """
    z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
    variance, mu = torch.var_mean(z, dim=(2, 3), unbiased=False, keepdim=True)
    return mu, torch.sqrt(variance + EPSILON)


def _cells(values: Tensor) -> Tensor:
    """Values per cell in the memory format in which a 1 x 1 convolution on a processor gives the
    same bits whatever the number of threads."""
    return values.contiguous(memory_format=torch.channels_last)


class _Heads(nn.Module):
    """Join the embeddings per cell, fuse them, predict log gain and shift; zero at the start."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        width: int,
        *,
        fuse: bool,
        n_maps: int,
        maps: int,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.maps = (
            nn.Sequential(nn.Conv2d(n_maps, maps, 1), nn.PReLU(), nn.Conv2d(maps, maps, 1))
            if n_maps
            else None
        )
        inputs += maps if n_maps else 0
        self.fuse = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.PReLU()) if fuse else None
        width = width if fuse else inputs
        self.scale = nn.Conv2d(width, channels, 1, bias=bias)
        self.shift = nn.Conv2d(width, channels, 1, bias=bias)
        for parameter in (*self.scale.parameters(), *self.shift.parameters()):
            nn.init.zeros_(parameter)

    def joined(self, content: Tensor, code: Tensor, maps: Tensor | None) -> Tensor:
        """Fused features per cell: content (B, D, g, g), code (B, D), maps (B, M, g, g)."""
        grid = content.shape[-2:]
        parts = [content, code[:, :, None, None].expand(-1, -1, *grid)]
        if self.maps is not None:
            assert maps is not None
            parts.append(self.maps(_cells(maps)))
        features = _cells(torch.cat([part.to(content.dtype) for part in parts], dim=1))
        return features if self.fuse is None else self.fuse(features)

    def predict(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Log gain and shift per cell, (B, C, g, g)."""
        return self.scale(features), self.shift(features)


class AAN(nn.Module):
    """Modulation of one stage's features.

    Parameters
    ----------
    channels : int
        C of the stage.
    config : AANConfig
    stride : int
        Of the content head's convolution.
    """

    sigma_ref: Tensor
    mu_ref: Tensor

    def __init__(self, channels: int, config: AANConfig, *, stride: int = 1) -> None:
        super().__init__()
        self.channels, self.config, self.stride = channels, config, stride
        dim = config.embedding
        # The activation is required: the mean of an instance-normalised map is its bias for every
        # input, so without it the head would be blind.
        self.content_features = nn.Sequential(
            nn.Conv2d(channels, config.head_channels, 3, stride=stride, padding=1),
            nn.InstanceNorm2d(config.head_channels, affine=True),
            nn.PReLU(),
        )
        self.content_embedding = nn.Conv2d(config.head_channels, dim, 1)
        self.code_embedding = nn.Linear(config.projection[1], dim)
        self.heads = _Heads(
            2 * dim,
            channels,
            2 * dim,
            fuse=config.fuse,
            n_maps=config.n_maps,
            maps=config.map_channels,
            # A difference of two predictions has no bias.
            bias=not config.relative,
        )
        self.gated = (
            _Heads(
                2 * dim,
                channels,
                2 * dim,
                fuse=True,
                n_maps=2 * config.n_maps,
                maps=config.map_channels,
            )
            if config.gated
            else None
        )
        if config.mode == "replace":
            self.register_buffer("sigma_ref", torch.ones(channels))
            self.register_buffer("mu_ref", torch.zeros(channels))

    def content(self, z: Tensor, window: Window | None = None) -> Tensor:
        """Content embedding of the features, (B, C, h, w) to (B, D, g, g)."""
        return self.pooled(self.content_features(z), window)

    def pooled(self, features: Tensor, window: Window | None = None) -> Tensor:
        """Content embedding of what `content_features` gave, to (B, D, g, g)."""
        if window is not None:
            features = window.shrunk(self.stride).cut(features)
        return self.content_embedding(_cells(F.adaptive_avg_pool2d(features, self.config.grid)))

    def modulation(
        self, z: Tensor, embedding: Embedding, window: Window | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log gain ds (clipped) and shift db per cell, (B, C, g, g), at least float32.

        With relative conditioning a sample whose `differs` is 0 gets exact zeros from that path.
        """
        return self.predicted(self.content(z, window), embedding)

    def predicted(self, content: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor]:
        """`modulation` from the content embedding, (B, D, g, g)."""
        full = torch.promote_types(content.dtype, torch.float32)
        target = self.code_embedding(embedding.target)
        fused = self.heads.joined(content, target, embedding.maps_target)
        source = None
        if embedding.source is not None:
            source = self.code_embedding(embedding.source)
        if self.config.relative:
            assert source is not None
            assert embedding.differs is not None
            fused = fused - self.heads.joined(content, source, embedding.maps_source)
            # Equal conditions must cancel to the last bit on every device.
            fused = fused * embedding.differs[:, None, None, None].to(fused.dtype)
        ds, db = self.heads.predict(fused)
        ds, db = ds.to(full), db.to(full)
        if self.gated is not None:
            assert source is not None
            assert embedding.gate is not None
            maps = None
            if embedding.maps_source is not None and embedding.maps_target is not None:
                maps = torch.cat([embedding.maps_source, embedding.maps_target], dim=1)
            more_ds, more_db = self.gated.predict(
                self.gated.joined(content, target - source, maps)
            )
            gate = embedding.gate[:, None, None, None].to(full)
            ds, db = ds + gate * more_ds, db + gate * more_db
        return ds.clamp(-self.config.clip, self.config.clip), db

    def change(
        self,
        z: Tensor,
        embedding: Embedding,
        window: Window | None = None,
    ) -> Tensor:
        """What AAN adds to the features.

        Parameters
        ----------
        z : Tensor, (B, C, h, w)
        embedding : Embedding
        window : Window, optional
            The part of `z` that shows the image; default all of it.

        Returns
        -------
        Tensor, (B, C, h, w)
            In ``residual`` mode exactly zero where ds = db = 0.
        """
        z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
        shown = z if window is None else window.cut(z)
        mu, sigma = statistics(shown)
        ds, db = (self.spread(cells, z, window) for cells in self.modulation(z, embedding, window))
        if self.config.mode == "residual":
            return torch.expm1(ds) * (z - mu) + sigma * db
        sigma_ref, mu_ref = (b[None, :, None, None] for b in (self.sigma_ref, self.mu_ref))
        return sigma_ref * (torch.exp(ds) * (z - mu) / sigma + db) + mu_ref - z

    def forward(self, z: Tensor, embedding: Embedding) -> Tensor:
        """Modulated features of an unpadded map."""
        return z + self.change(z, embedding)

    def spread(self, cells: Tensor, z: Tensor, window: Window | None) -> Tensor:
        if self.config.grid == 1:
            return cells
        height, width = int(z.shape[-2]), int(z.shape[-1])
        window = window or Window(0, height, 0, width)
        # Three times faster in this memory format on a processor; the result is the same.
        cells = cells.contiguous(memory_format=torch.channels_last)
        spread = F.interpolate(cells, size=window.shape, mode="bilinear", align_corners=False)
        return window.grow(spread, height, width)

    def extra_repr(self) -> str:
        return f"{self.channels} channels, {self.config.mode}, grid {self.config.grid}"
