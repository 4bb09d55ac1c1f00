"""The whole network: an exact flow there and back, modulated on the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.exceptions import DataError, UsageError
from bids_harmony.model.normalization import Embedding, statistics
from bids_harmony.model.presets import NetworkConfig
from bids_harmony.model.stage import Stage
from bids_harmony.model.window import Window

__all__ = ["Condition", "IHFNetwork"]


@dataclass
class Condition:
    """What to harmonize towards, and from where.

    Attributes
    ----------
    code_target : Tensor, (B, K)
        Encoder code of the target, as the encoder gives it.
    code_source : Tensor, (B, K), optional
        The same of the source; required by relative and gated conditioning.
    maps_target, maps_source : Tensor, (B, M, g, g), optional
        Local maps of the scan against either site; None means nothing known (zeros).
    gate : Tensor, (B,), optional
        Weight of the non-relative path, 0 for source = target. Default: 0 where the condition of
        the target equals that of the source exactly, else 1.

    A leading dimension of 1 serves the whole batch.
    """

    code_target: Tensor
    code_source: Tensor | None = None
    maps_target: Tensor | None = None
    maps_source: Tensor | None = None
    gate: Tensor | None = None

    def to(self, device: torch.device | str) -> Condition:
        """The same on another device."""
        rest = (self.code_source, self.maps_target, self.maps_source, self.gate)
        return Condition(
            self.code_target.to(device),
            *(None if value is None else value.to(device) for value in rest),
        )

    def part(self, rows: slice) -> Condition:
        """That of some slices of the batch."""

        def some(value: Tensor) -> Tensor:
            return value if len(value) == 1 else value[rows]

        rest = (self.code_source, self.maps_target, self.maps_source, self.gate)
        return Condition(
            some(self.code_target), *(None if value is None else some(value) for value in rest)
        )

    @staticmethod
    def joined(conditions: Sequence[Condition]) -> Condition:
        """Conditions of several batches as that of one; all must know the same of their scans."""

        def join(name: str) -> Tensor | None:
            values = [getattr(condition, name) for condition in conditions]
            return None if values[0] is None else torch.cat(values)

        rest = (join(name) for name in ("code_source", "maps_target", "maps_source", "gate"))
        return Condition(torch.cat([c.code_target for c in conditions]), *rest)


class IHFNetwork(nn.Module):
    """IHF-Harmony network for 2.5-D slices.

    Parameters
    ----------
    config : NetworkConfig
        See `bids_harmony.model.presets.preset`.
    code_length : int
        K of the encoder (`Encoder.code_length`).
    """

    code_mean: Tensor
    code_std: Tensor

    def __init__(self, config: NetworkConfig, code_length: int) -> None:
        super().__init__()
        self.config, self.code_length = config, int(code_length)
        stages, channels, squeezed = [], 3, 1
        for index in range(config.stages):
            stage = Stage(config, index, channels, squeezed)
            channels, squeezed = stage.channels, stage.factor
            stages.append(stage)
        self.stages = nn.ModuleList(stages)
        first, second = config.aan.projection
        self.projection = nn.Sequential(
            nn.Linear(self.code_length, first), nn.PReLU(), nn.Linear(first, second), nn.PReLU()
        )
        self.register_buffer("code_mean", torch.zeros(self.code_length))
        self.register_buffer("code_std", torch.ones(self.code_length))

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Harmonize slices by the full recursion.

        Parameters
        ----------
        x : Tensor, (B, 3, H, W)
            Three neighbouring slices, scaled to [0, 1].
        condition : Condition

        Returns
        -------
        Tensor, (B, 3, H, W)
            Not clipped.
        """
        embedding = self.embed(x, condition)
        padded = self.padded(x)
        caches, z = [], padded
        for stage in self.staged():
            z, cache = stage.way_in(z)
            caches.append(cache)
        for stage, cache in zip(reversed(self.staged()), reversed(caches), strict=True):
            z = z + stage.aan.change(z, embedding, self.window(x, stage))
            z = stage.way_back(z, cache)
        return self.cropped(z, x)

    def change(self, x: Tensor, condition: Condition) -> Tensor:
        """What `forward` adds to its input, without the affine caches.

        The same function as ``forward(x) - x``, because the flow without modulation is exact; in
        less memory, and exactly zero where no stage modulates. The inexact recursions (hf, repo)
        take the long way.

        Parameters and shapes are those of `forward`.
        """
        if self.config.recursion not in ("convex", "mean"):
            return self(x, condition) - x
        embedding = self.embed(x, condition)
        features, z = [], self.padded(x)
        for stage in self.staged():
            z, _ = stage.way_in(z)
            features.append(z)
        change = torch.zeros_like(z)
        for stage, z in zip(reversed(self.staged()), reversed(features), strict=True):
            here = z if stage is self.staged()[-1] else z + change
            change = change + stage.aan.change(here, embedding, self.window(x, stage))
            change = stage.change_back(change)
        return self.cropped(change, x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Send slices through the flow and back without modulation, (B, 3, H, W)."""
        caches, z = [], self.padded(x)
        for stage in self.staged():
            z, cache = stage.way_in(z)
            caches.append(cache)
        for stage, cache in zip(reversed(self.staged()), reversed(caches), strict=True):
            z = stage.way_back(z, cache)
        return self.cropped(z, x)

    def set_code_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean and standard deviation, (K,), by which codes are standardised.

        A component that did not vary (std below 1e-6) keeps its scale.
        """
        if mean.shape != self.code_mean.shape or std.shape != self.code_std.shape:
            raise DataError(
                "Code statistics do not fit the network",
                expected=f"two vectors of {self.code_length}",
                got=f"{tuple(mean.shape)} and {tuple(std.shape)}",
            )
        self.code_mean.copy_(mean)
        self.code_std.copy_(torch.where(std < 1e-6, torch.ones_like(std), std))

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Set the reference statistics of mode ``replace`` from samples, AAN bypassed.

        Parameters
        ----------
        batches : iterable of Tensor, (B, 3, H, W)
            About 16 slices in all. The references are the means over samples of mu and sigma.
        """
        if self.config.aan.mode != "replace":
            return
        totals = [torch.zeros(2, n, dtype=torch.float64) for n in self.config.channels]
        count = 0
        for batch in batches:
            z = self.padded(batch)
            count += len(batch)
            for stage, total in zip(self.staged(), totals, strict=True):
                z, _ = stage.way_in(z)
                mu, sigma = statistics(self.window(batch, stage).cut(z))
                total += torch.stack([mu.sum(0).flatten(), sigma.sum(0).flatten()]).cpu()
        if not count:
            raise DataError("Calibration needs at least one slice")
        for stage, total in zip(self.staged(), totals, strict=True):
            stage.aan.mu_ref.copy_(total[0] / count)
            stage.aan.sigma_ref.copy_(total[1] / count)

    def fusion_parameters(self) -> Iterator[nn.Parameter]:
        """The fusion logits, which want about ten times the learning rate of the rest."""
        for name, parameter in self.named_parameters():
            if name.endswith("omega"):
                yield parameter

    def count_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def __repr__(self) -> str:
        config, aan = self.config, self.config.aan
        plan = " -> ".join(map(str, (3, *config.channels)))
        traits = [aan.mode, f"grid {aan.grid}"]
        traits += [name for name in ("relative", "gated") if getattr(aan, name)]
        traits += [f"{aan.n_maps} maps per side"] if aan.n_maps else []
        return (
            f"IHFNetwork({config.name!r}: {plan} channels, squeeze {config.squeeze}, "
            f"{config.recursion}, AAN {', '.join(traits)}, code {self.code_length}, "
            f"{self.count_parameters() / 1e6:.2f} M parameters)"
        )

    def staged(self) -> list[Stage]:
        return [cast(Stage, stage) for stage in self.stages]

    def window(self, x: Tensor, stage: Stage) -> Window:
        return Window.of_image(x.shape[-2], x.shape[-1], self.config.pad, stage.factor)

    def padded(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != 3:
            raise DataError(
                "The network takes stacks of three slices",
                expected="(B, 3, H, W)",
                got=str(tuple(x.shape)),
            )
        x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        pad, multiple = self.config.pad, self.config.multiple
        height, width = x.shape[-2:]
        bottom, right = pad + -(height + 2 * pad) % multiple, pad + -(width + 2 * pad) % multiple
        # A reflection cannot be longer than what there is to reflect.
        reflects = bottom < height and right < width
        return F.pad(x, (pad, right, pad, bottom), mode="reflect" if reflects else "replicate")

    def cropped(self, y: Tensor, x: Tensor) -> Tensor:
        pad = self.config.pad
        return y[..., pad : pad + x.shape[-2], pad : pad + x.shape[-1]]

    def embed(self, x: Tensor, condition: Condition) -> Embedding:
        aan, batch = self.config.aan, len(x)
        target = self._checked(condition.code_target, "code_target", (self.code_length,), batch)
        if not aan.needs_source and not aan.n_maps:
            return Embedding(target=self._project(target))
        source = None
        if aan.needs_source:
            if condition.code_source is None:
                raise UsageError(
                    "This network needs the source's code as well", expected="code_source"
                )
            source = self._checked(condition.code_source, "code_source", target.shape[1:], batch)
        maps: list[Tensor | None] = [None, None]
        if aan.n_maps:
            shape = (aan.n_maps, aan.grid, aan.grid)
            given = {"maps_target": condition.maps_target, "maps_source": condition.maps_source}
            maps = [
                target.new_zeros(batch, *shape)
                if value is None
                else self._checked(value, name, shape, batch)
                for name, value in given.items()
            ]
        if source is None:
            return Embedding(target=self._project(target), maps_target=maps[0])
        differs = (target != source).any(dim=1)
        if maps[0] is not None and maps[1] is not None:
            differs = differs | (maps[0] != maps[1]).flatten(1).any(dim=1)
        gate = differs.to(target)
        if condition.gate is not None:
            gate = self._checked(condition.gate, "gate", (), batch)
        return Embedding(
            target=self._project(target),
            source=self._project(source),
            maps_target=maps[0],
            maps_source=maps[1],
            differs=differs.to(target),
            gate=gate,
        )

    def _project(self, code: Tensor) -> Tensor:
        # Standardised codes of an unusual scan can exceed what half precision holds.
        with torch.autocast(code.device.type, enabled=False):
            code = (code - self.code_mean) / self.code_std
            bound = self.config.aan.code_clip
            return self.projection(code.clamp(-bound, bound) if bound else code)

    def _checked(self, value: Tensor, name: str, shape: Iterable[int], batch: int) -> Tensor:
        shape = tuple(shape)
        if tuple(value.shape[1:]) != shape or value.ndim == 0 or len(value) not in (1, batch):
            raise DataError(
                f"{name} does not fit the network or the batch",
                expected=str((batch, *shape)),
                got=str(tuple(value.shape)),
            )
        return value.to(self.code_mean).expand(batch, *shape)
