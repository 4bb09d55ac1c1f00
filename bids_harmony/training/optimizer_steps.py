"""Optimizer steps on batches that come in parts, one after the other or side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bids_harmony.model.network import IHFNetwork
from bids_harmony.training.distributed import Ranks
from bids_harmony.training.schedule import Schedule
from bids_harmony.training.speed import convolution_rate, count_gflop

__all__ = ["OptimizerSteps", "Part"]

#: Fusion logits want so many times the rate of other weights.
_FUSION_FACTOR = 10.0
#: Steps over which the rate rises: Adam's first steps know nothing of the gradients' sizes.
_WARM_UP = 20


class Part(Protocol):
    """A part of a step's batch."""

    @property
    def share(self) -> float:
        """Weight of the part's loss in the batch's; the shares of a batch sum to 1."""

    def to(self, device: torch.device) -> Any:
        """The same on a device."""


class OptimizerSteps:
    """Optimizer steps on batches that come in parts."""

    def __init__(
        self,
        network: IHFNetwork,
        loss_of: Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]],
        schedule: Schedule,
        ranks: Ranks,
    ) -> None:
        self.loss_of, self.schedule, self.ranks = loss_of, schedule, ranks
        fusion = [p for p in network.fusion_parameters() if p.requires_grad]
        known = set(map(id, fusion))
        rest = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
        self.parameters, self.device = rest + fusion, rest[0].device
        self.rates = [schedule.learning_rate, schedule.learning_rate * _FUSION_FACTOR]
        self.optimizer = torch.optim.Adam([{"params": rest}, {"params": fusion}], fused=True)
        self.half = schedule.precision == "bf16"
        workers = min(schedule.side_by_side, schedule.accumulate)
        self.workers: ThreadPoolExecutor | None = None
        if workers > 1 and self.device.type == "cpu":
            threads = max(1, torch.get_num_threads() // workers)
            self.workers = ThreadPoolExecutor(workers, "part", torch.set_num_threads, (threads,))

    def take(self, parts: list[Part], step: int, seconds: float) -> dict[str, float]:
        """Take a step; returns loss, learning rate and numbers of the whole batch.

        Nothing is changed when the loss is not finite.
        """
        factor = self._set_rates(step, seconds)
        work = self.workers.map if self.workers else map
        total: dict[str, Tensor] = {}
        for parameter in self.parameters:
            parameter.grad = None
        # In the order of the parts, whichever is done first.
        for numbers, gradients in work(self._worked, parts):
            for name, value in numbers.items():
                total[name] = total[name] + value if name in total else value
            _add_gradients(self.parameters, gradients)
        summed = torch.stack(list(total.values()))
        self.ranks.add_up([summed])
        self.ranks.add_up([p.grad for p in self.parameters if p.grad is not None])
        values = dict(zip(total, summed.tolist(), strict=True))
        if math.isfinite(values["loss"]):
            nn.utils.clip_grad_norm_(self.parameters, self.schedule.clip)
            self.optimizer.step()
        rate = self.schedule.learning_rate * factor
        return {"loss": values.pop("loss"), "learning_rate": rate, **values}

    def _worked(self, drawn: Part) -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
        """Numbers of a part and the gradients of its loss, weighted by its share."""
        part = drawn.to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            loss, numbers = self.loss_of(part)
        gradients = torch.autograd.grad(loss * part.share, self.parameters, allow_unused=True)
        values = {"loss": loss, **numbers}
        return {k: v.detach().double() * part.share for k, v in values.items()}, gradients

    def gflop(self, parts: list[Part]) -> float:
        """Arithmetic of a step of these parts, which is not taken; 10^9 operations."""
        with torch.random.fork_rng():
            return count_gflop(lambda: [self._worked(part) for part in parts])

    def convolution_rate(self) -> float:
        """That of this device in this precision, 10^9 operations a second."""
        return convolution_rate(self.device, half=self.half)

    def close(self) -> None:
        """Let the workers go."""
        if self.workers:
            self.workers.shutdown()

    def _set_rates(self, step: int, seconds: float) -> float:
        done = max(step / self.schedule.steps, seconds / self.schedule.max_seconds)
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        factor = cosine * min(1.0, (step + 1) / _WARM_UP)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        return factor


def _add_gradients(parameters: Sequence[nn.Parameter], more: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, more, strict=True):
        if parameter.grad is None:
            parameter.grad = gradient
        elif gradient is not None:
            parameter.grad += gradient
