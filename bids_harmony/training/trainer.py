"""One optimizer loop for both stages.

Adam with a cosine schedule; batches worked through in parts, here or in several processes; half
precision where it does no harm; early stop on a validation; checkpoints that a training goes on
from as if it had never been cut off (to the bit on a processor).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from bids_harmony.exceptions import DataError
from bids_harmony.model.network import IHFNetwork
from bids_harmony.training.distributed import Ranks
from bids_harmony.training.training_checkpoint import TrainingCheckpoint
from bids_harmony.training.training_log import TrainingLog

__all__ = ["Diverged", "TrainingResult", "Part", "Schedule", "fit"]

_LOGGER = logging.getLogger(__name__)
_FUSION_FACTOR = 10.0
#: Steps over which the rate rises: Adam's first steps know nothing of the gradients' sizes.
_WARM_UP = 20


class Diverged(DataError):
    """The loss is not finite."""


class Part(Protocol):
    """A part of a step's batch."""

    @property
    def share(self) -> float:
        """Weight of the part's loss in the batch's; the shares of a batch sum to 1."""

    def to(self, device: torch.device) -> Any:
        """The same on a device."""


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and in what precision.

    Attributes
    ----------
    steps : int
        Optimizer steps of the whole stage.
    learning_rate : float
        Reached after a short warm-up; falls to 0 along a cosine. Fusion logits take ten times as
        much.
    max_seconds : float
        Stop early, cleanly, when they are spent; infinity for no limit. The cosine then follows
        the clock where that is ahead of the steps, so results depend on the machine's speed.
    clip : float
        Largest global gradient norm.
    accumulate : int
        Parts that a process works through its batch in: less memory, the same result but for
        rounding.
    precision : {"float32", "bf16"}
        ``bf16`` for convolutions and linear layers; couplings, statistics and losses stay in
        float32.
    validate_every : int
        Steps between validations.
    patience : int
        Stop after so many validations without a better one; 0 for never.
    checkpoint_every : int
        Steps.
    """

    steps: int
    learning_rate: float
    max_seconds: float = math.inf
    clip: float = 1.0
    accumulate: int = 1
    precision: str = "float32"
    validate_every: int = 50
    patience: int = 0
    checkpoint_every: int = 50


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training.

    Attributes
    ----------
    steps : int
        Optimizer steps that were done.
    best_step : int
        The step whose weights the network has.
    validation : float
        Its validation; nan without one.
    log : Path
        CSV file of the numbers of every step.
    """

    steps: int
    best_step: int
    validation: float
    log: Path


def fit(
    network: IHFNetwork,
    draw: Callable[[int, int, int], Part],
    loss_of: Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]],
    schedule: Schedule,
    folder: Path,
    *,
    stage: str,
    fingerprint: str,
    validate: Callable[[], float] | None = None,
    ranks: Ranks | None = None,
) -> TrainingResult:
    """Train, with a checkpoint to resume from.

    Parameters
    ----------
    network : IHFNetwork
        Changed in place; gets the best weights at the end where there is a validation.
    draw : callable
        ``draw(step, part, parts)`` is one of the parts of a step's batch. The batch must depend on
        the step alone. Runs one step ahead in a second thread.
    loss_of : callable
        Loss of a part and numbers to log, all of them means, so that the parts' values weighted by
        their shares sum to the batch's. Called under autocast in half precision.
    schedule : Schedule
    folder : Path
        Holds ``<stage>_checkpoint.safetensors`` and the log ``<stage>_log.csv``.
    stage : str
    fingerprint : str
        A checkpoint of another fingerprint is not resumed from.
    validate : callable, optional
        A number to make small. May not draw from torch's global generator.
    ranks : Ranks, optional
        The processes that train together; the first alone logs, validates and writes.

    Returns
    -------
    TrainingResult

    Raises
    ------
    Diverged
        The loss is not finite.
    """
    ranks = ranks or Ranks()
    steps = _Steps(network, loss_of, schedule, ranks)
    checkpoint = TrainingCheckpoint(folder, stage, fingerprint)
    progress = checkpoint.load(network, steps.optimizer)
    path = folder / f"{stage}_log.csv"
    log = TrainingLog(path, progress.step) if ranks.first else None
    parts = ranks.count * schedule.accumulate
    own = range(ranks.rank * schedule.accumulate, (ranks.rank + 1) * schedule.accumulate)

    def batch(step: int) -> list[Part]:
        return [draw(step, part, parts) for part in own]

    def over() -> bool:
        stale = 0 < schedule.patience <= progress.stale
        return progress.step >= schedule.steps or progress.seconds > schedule.max_seconds or stale

    network.train()
    start = time.monotonic() - progress.seconds
    bar = tqdm(
        total=schedule.steps, initial=progress.step, desc=stage, unit="step", leave=False,
        disable=None if ranks.first else True,
    )  # fmt: skip
    upcoming: Future[list[Part]] | None = None
    with ThreadPoolExecutor(max_workers=1) as ahead:
        while not over():
            step = progress.step
            drawn = (upcoming or ahead.submit(batch, step)).result()
            upcoming = ahead.submit(batch, step + 1) if step + 1 < schedule.steps else None
            numbers = steps.take(drawn, step, progress.seconds)
            if not math.isfinite(numbers["loss"]):
                raise Diverged(
                    "Training diverged",
                    where=f"{stage}, step {step}",
                    got=f"loss {numbers['loss']}",
                    hint="Use a smaller learning rate.",
                )
            progress.step += 1
            progress.seconds = time.monotonic() - start
            if math.isfinite(schedule.max_seconds):
                progress.seconds = ranks.from_first(progress.seconds)
            measured = None
            if validate and (over() or progress.step % schedule.validate_every == 0):
                network.eval()
                measured = ranks.from_first(validate() if ranks.first else None)
                network.train()
                progress.validated(measured, network)
            if log:
                row = {"step": step, **numbers}
                log.write(row | {"validation": measured} if validate else row)
                if over() or progress.step % schedule.checkpoint_every == 0:
                    checkpoint.save(network, steps.optimizer, progress)
            bar.update()
            bar.set_postfix(loss=f"{numbers['loss']:.4f}", refresh=False)
    bar.close()
    network.eval()
    if progress.best_weights:
        network.load_state_dict(progress.best_weights)
    if 0 < schedule.patience <= progress.stale:
        _LOGGER.info("%s: no better since step %d; stopped", stage, progress.best_step)
    elif progress.step < schedule.steps:
        _LOGGER.info("%s: time is spent after %d steps", stage, progress.step)
    validated = bool(progress.best_weights)
    return TrainingResult(
        progress.step,
        progress.best_step if validated else progress.step,
        progress.best if validated else math.nan,
        path,
    )


class _Steps:
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
        self.optimizer = torch.optim.Adam([{"params": rest}, {"params": fusion}])

    def take(self, parts: list[Part], step: int, seconds: float) -> dict[str, float]:
        """Take a step; returns loss, learning rate and numbers of the whole batch.

        Nothing is changed when the loss is not finite.
        """
        factor = self._set_rates(step, seconds)
        self.optimizer.zero_grad()
        total: dict[str, Tensor] = {}
        half = self.schedule.precision == "bf16"
        for drawn in parts:
            part = drawn.to(self.device)
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
                loss, numbers = self.loss_of(part)
            (loss * part.share).backward()
            for name, value in {"loss": loss, **numbers}.items():
                weighted = value.detach().double() * part.share
                total[name] = total[name] + weighted if name in total else weighted
        summed = torch.stack(list(total.values()))
        self.ranks.add_up([summed])
        self.ranks.add_up([p.grad for p in self.parameters if p.grad is not None])
        values = dict(zip(total, summed.tolist(), strict=True))
        if math.isfinite(values["loss"]):
            nn.utils.clip_grad_norm_(self.parameters, self.schedule.clip)
            self.optimizer.step()
        rate = self.schedule.learning_rate * factor
        return {"loss": values.pop("loss"), "learning_rate": rate, **values}

    def _set_rates(self, step: int, seconds: float) -> float:
        done = max(step / self.schedule.steps, seconds / self.schedule.max_seconds)
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        factor = cosine * min(1.0, (step + 1) / _WARM_UP)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        return factor
