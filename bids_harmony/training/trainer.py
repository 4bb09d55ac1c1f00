"""One optimizer loop for both stages.

Adam with a cosine schedule; batches worked through in parts, here or in several processes; half
precision where it does no harm; early stop on a validation; checkpoints that a training goes on
from as if it had never been cut off (to the bit on a processor).
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from bids_harmony.exceptions import DataError
from bids_harmony.model.network import IHFNetwork
from bids_harmony.training.distributed import Ranks
from bids_harmony.training.optimizer_steps import OptimizerSteps, Part
from bids_harmony.training.schedule import Schedule
from bids_harmony.training.speed import Speed, StepClock
from bids_harmony.training.training_checkpoint import TrainingCheckpoint
from bids_harmony.training.training_log import TrainingLog

__all__ = ["Diverged", "TrainingResult", "Part", "Schedule", "fit"]

_LOGGER = logging.getLogger(__name__)
#: Batches that wait at most: a step whose batch needs new data would hold up the others.
_AHEAD = 16


class Diverged(DataError):
    """The loss is not finite."""


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
    speed : Speed, optional
        Of this sitting; None with less than two steps.
    """

    steps: int
    best_step: int
    validation: float
    log: Path
    speed: Speed | None = None


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
        the step alone. Runs some steps ahead in a second thread.
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
    steps = OptimizerSteps(network, loss_of, schedule, ranks)
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
    clock, gflop = StepClock(), 0.0
    start = time.monotonic() - progress.seconds
    bar = tqdm(
        total=schedule.steps, initial=progress.step, desc=stage, unit="step", leave=False,
        disable=None if ranks.first else True,
    )  # fmt: skip
    with closing(_ahead(batch, range(progress.step, schedule.steps))) as batches:
        while not over():
            step, drawn = progress.step, next(batches)
            gflop = gflop or steps.gflop(drawn)
            numbers = steps.take(drawn, step, progress.seconds)
            if not math.isfinite(numbers["loss"]):
                raise Diverged(
                    "Training diverged",
                    where=f"{stage}, step {step}",
                    got=f"loss {numbers['loss']}",
                    hint="Use a smaller learning rate.",
                )
            clock.tick()
            progress.step += 1
            progress.average_in(network, schedule.average)
            progress.seconds = time.monotonic() - start
            if math.isfinite(schedule.max_seconds):
                progress.seconds = ranks.from_first(progress.seconds)
            measured = None
            if validate and (over() or progress.step % schedule.validate_every == 0):
                network.eval()
                with _weights(network, progress.average):
                    measured = ranks.from_first(validate() if ranks.first else None)
                    progress.validated(measured, network)
                network.train()
            if log:
                row = {"step": step, **numbers}
                log.write(row | {"validation": measured} if validate else row)
                if over() or progress.step % schedule.checkpoint_every == 0:
                    checkpoint.save(network, steps.optimizer, progress)
            bar.update()
            bar.set_postfix(loss=f"{numbers['loss']:.4f}", refresh=False)
    bar.close()
    network.eval()
    steps.close()
    if progress.best_weights or progress.average:
        network.load_state_dict(progress.best_weights or progress.average)
    speed = None
    if clock.steps_per_second:
        speed = Speed(clock.steps_per_second, gflop, steps.convolution_rate())
        _LOGGER.info("%s: %s", stage, speed)
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
        speed,
    )


@contextmanager
def _weights(network: nn.Module, others: Mapping[str, Tensor]) -> Generator[None, None, None]:
    """A network with other weights for a while; with its own where there are none."""
    own = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(others or own)
    yield
    network.load_state_dict(own)


def _ahead(
    batch: Callable[[int], list[Part]], steps: Iterable[int]
) -> Generator[list[Part], None, None]:
    """Batches of steps, made in a second thread before they are asked for."""
    with ThreadPoolExecutor(max_workers=1) as worker:
        waiting: deque[Future[list[Part]]] = deque()
        coming = iter(steps)
        try:
            while True:
                more = islice(coming, _AHEAD - len(waiting))
                waiting.extend(worker.submit(batch, step) for step in more)
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            worker.shutdown(cancel_futures=True)
