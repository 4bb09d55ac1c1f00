"""One optimizer loop for both stages: Adam, cosine schedule, checkpoints, exact resume on CPU."""

from __future__ import annotations

import csv
import json
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor, nn
from tqdm import tqdm

from bids_harmony.exceptions import DataError
from bids_harmony.model.encoder_files import write_bytes, write_tensors
from bids_harmony.model.network import IHFNetwork

__all__ = ["Diverged", "Schedule", "fit"]

_LOGGER = logging.getLogger(__name__)
_FUSION_FACTOR = 10.0
#: Steps over which the rate rises: Adam's first steps know nothing of the gradients' sizes.
_WARM_UP = 20


class Diverged(DataError):
    """The loss is not finite."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

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
    checkpoint_every : int
        Steps.
    """

    steps: int
    learning_rate: float
    max_seconds: float = math.inf
    clip: float = 1.0
    checkpoint_every: int = 50


def fit(
    network: IHFNetwork,
    draw: Callable[[int], Any],
    loss_of: Callable[[Any], tuple[Tensor, dict[str, float]]],
    schedule: Schedule,
    folder: Path,
    *,
    stage: str,
    fingerprint: str,
) -> list[dict[str, float]]:
    """Train, with a checkpoint to resume from.

    Parameters
    ----------
    network : IHFNetwork
        Changed in place.
    draw : callable
        Batch of a step; must depend on the step alone. Runs one step ahead in a second thread.
    loss_of : callable
        Loss of a batch, and numbers to log.
    schedule : Schedule
    folder : Path
        Holds ``<stage>_checkpoint.safetensors`` and the log ``<stage>_log.csv``.
    stage : str
    fingerprint : str
        A checkpoint of another fingerprint is not resumed from.

    Returns
    -------
    list of dict
        One row of numbers per step.

    Raises
    ------
    Diverged
        The loss is not finite.
    """
    fusion = set(map(id, network.fusion_parameters()))
    parameters = [p for p in network.parameters() if p.requires_grad]
    rates = [
        schedule.learning_rate * (_FUSION_FACTOR if id(p) in fusion else 1) for p in parameters
    ]
    optimizer = torch.optim.Adam(
        [{"params": [p], "lr": rate} for p, rate in zip(parameters, rates, strict=True)]
    )
    checkpoint = _Checkpoint(folder, stage, fingerprint)
    first, spent, rows = checkpoint.load(network, optimizer)
    network.train()
    start = time.monotonic() - spent
    progress = tqdm(
        total=schedule.steps, initial=first, desc=stage, unit="step", disable=None, leave=False
    )
    with ThreadPoolExecutor(max_workers=1) as ahead:
        upcoming = ahead.submit(draw, first) if first < schedule.steps else None
        for step in range(first, schedule.steps):
            elapsed = time.monotonic() - start
            if elapsed > schedule.max_seconds:
                _LOGGER.info("%s: time is spent after %d steps", stage, step)
                break
            assert upcoming is not None
            batch = upcoming.result()
            if step + 1 < schedule.steps:
                upcoming = ahead.submit(draw, step + 1)
            done = max(step / schedule.steps, elapsed / schedule.max_seconds)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
                group["lr"] = rate * cosine * min(1.0, (step + 1) / _WARM_UP)
            loss, numbers = loss_of(batch)
            if not torch.isfinite(loss):
                raise Diverged(
                    "Training diverged",
                    where=f"{stage}, step {step}",
                    got=f"loss {float(loss.detach())}",
                    hint="Use a smaller learning rate.",
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, schedule.clip)
            optimizer.step()
            rows.append({"step": step, "loss": float(loss.detach()), **numbers})
            progress.update()
            progress.set_postfix(loss=f"{rows[-1]['loss']:.4f}", refresh=False)
            if (step + 1) % schedule.checkpoint_every == 0:
                checkpoint.save(network, optimizer, step + 1, time.monotonic() - start, rows)
    progress.close()
    network.eval()
    checkpoint.save(network, optimizer, len(rows), time.monotonic() - start, rows)
    _write_log(folder / f"{stage}_log.csv", rows)
    return rows


class _Checkpoint:
    """Network, optimizer moments and log, in one safetensors file."""

    def __init__(self, folder: Path, stage: str, fingerprint: str) -> None:
        self.path, self.fingerprint = folder / f"{stage}_checkpoint.safetensors", fingerprint

    def save(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        step: int,
        seconds: float,
        rows: list[dict[str, float]],
    ) -> None:
        tensors = {f"network.{k}": v.detach().cpu() for k, v in network.state_dict().items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{k}": v.detach().cpu() for k, v in state.items()}
        about = json.dumps(
            {"fingerprint": self.fingerprint, "step": step, "seconds": seconds, "rows": rows}
        )
        tensors["about"] = torch.frombuffer(bytearray(about.encode()), dtype=torch.uint8)
        write_tensors(tensors, self.path)

    def load(
        self, network: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[int, float, list[dict[str, float]]]:
        if not self.path.is_file():
            return 0, 0.0, []
        tensors = load_tensors(self.path.read_bytes())
        about = json.loads(bytes(tensors.pop("about").numpy()).decode())
        if about["fingerprint"] != self.fingerprint:
            _LOGGER.info("%s belongs to another training; starting anew", self.path)
            return 0, 0.0, []
        moments: dict[int, dict[str, Tensor]] = {}
        weights = {}
        for name, tensor in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "network":
                weights[rest] = tensor
            else:
                number, field = rest.split(".", 1)
                moments.setdefault(int(number), {})[field] = tensor
        network.load_state_dict(weights)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        _LOGGER.info("resuming %s at step %d", self.path.name, about["step"])
        return about["step"], about["seconds"], about["rows"]


def _write_log(path: Path, rows: list[dict[str, float]]) -> None:
    import io

    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(text.getvalue().encode(), path)
