"""What a training needs to go on from where it was cut off, in one safetensors file."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bids_harmony.exceptions import DataError
from bids_harmony.io.reading import MOST_TENSORS, read_bytes
from bids_harmony.io.tensors import fill, parse_tensors
from bids_harmony.model.encoder_files import write_tensors

__all__ = ["Progress", "TrainingCheckpoint", "read_checkpoint", "write_checkpoint"]

_LOGGER = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a training has come.

    Attributes
    ----------
    step : int
        Optimizer steps done.
    seconds : float
        Time spent on them.
    best : float
        Lowest validation so far; infinity before the first.
    best_step : int
        Steps done when it was measured.
    stale : int
        Validations since then.
    best_weights : dict
        State of the network at that step; empty before the first validation.
    average : dict
        Moving average of the network's state; empty where none is asked for.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)

    def validated(self, value: float, network: nn.Module) -> None:
        """Take note of a validation, and of the weights if they are the best so far."""
        if value < self.best:
            self.best, self.best_step, self.stale = value, self.step, 0
            state = network.state_dict()
            self.best_weights = {name: v.detach().cpu().clone() for name, v in state.items()}
        else:
            self.stale += 1

    @torch.no_grad()
    def average_in(self, network: nn.Module, decay: float) -> None:
        """Take the weights after a step into the average, by `decay` or less at first."""
        if not decay:
            return
        state = network.state_dict()
        if not self.average:
            self.average = {name: value.detach().clone() for name, value in state.items()}
        # With n steps behind it an average of more than n / 10 would be one of the start.
        decay = min(decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_([self.average[name] for name in state], [*state.values()], 1 - decay)


class TrainingCheckpoint:
    """Network, optimizer moments and progress of a stage. Its size does not grow with the steps.

    Parameters
    ----------
    folder : Path
    stage : str
    fingerprint : str
        Of data and settings; a checkpoint of another fingerprint is not used.
    """

    def __init__(self, folder: Path, stage: str, fingerprint: str) -> None:
        self.path, self.fingerprint = folder / f"{stage}_checkpoint.safetensors", fingerprint

    def save(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
    ) -> None:
        """Write the file in one step."""
        states = {"best": progress.best_weights, "average": progress.average}
        numbers = {k: v for k, v in vars(progress).items() if not isinstance(v, dict)}
        about = {"fingerprint": self.fingerprint, "progress": numbers}
        write_checkpoint(self.path, network, optimizer, about, states)

    def load(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        """Fill network and optimizer, if there is a checkpoint of this training.

        Raises
        ------
        DataError
            The file is damaged.
        """
        found = read_checkpoint(self.path, self.fingerprint, network, optimizer)
        if found is None:
            return Progress()
        about, states = found
        _LOGGER.info("resuming %s at step %d", self.path.name, about["progress"]["step"])
        device = next(network.parameters()).device
        average = {name: value.to(device) for name, value in states["average"].items()}
        return Progress(**about["progress"], best_weights=states["best"], average=average)


def write_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    about: Mapping[str, Any],
    states: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> None:
    """Write network and optimizer moments in one step.

    Parameters
    ----------
    path : Path
    network : Module
    optimizer : Optimizer
    about : mapping
        Anything for JSON, among it the ``fingerprint`` of data and settings.
    states : mapping, optional
        Other states of the network, ``best`` and ``average``.
    """
    tensors = {f"network.{k}": v.detach().cpu() for k, v in network.state_dict().items()}
    for kind, state in (states or {}).items():
        tensors |= {f"{kind}.{k}": v.detach().cpu() for k, v in state.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v.detach().cpu() for k, v in state.items()}
    text = json.dumps(dict(about))
    tensors["about"] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    write_tensors(tensors, path)


def read_checkpoint(
    path: Path, fingerprint: str, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]] | None:
    """Fill network and optimizer, if there is a checkpoint of this training.

    Parameters
    ----------
    path : Path
    fingerprint : str
        A checkpoint of another fingerprint is left alone.
    network : Module
    optimizer : Optimizer

    Returns
    -------
    about : dict
    states : dict
        As they were written; None instead of both, and nothing changed, without a checkpoint.

    Raises
    ------
    DataError
        The file is damaged.
    """
    if not path.is_file():
        return None
    tensors = parse_tensors(read_bytes(path, most=MOST_TENSORS, holds="checkpoint"), path)
    try:
        about = dict(json.loads(bytes(tensors.pop("about").numpy()).decode()))
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            "A checkpoint cannot be read",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
            hint="Remove the file; training then begins anew.",
        ) from error
    if about.get("fingerprint") != fingerprint:
        _LOGGER.info("%s belongs to another training; starting anew", path)
        return None
    parts: dict[str, dict[str, Tensor]] = {
        kind: {} for kind in ("network", "best", "average", "optimizer")
    }
    for name, tensor in tensors.items():
        kind, rest = name.split(".", 1)
        parts[kind][rest] = tensor
    fill(network, parts["network"], path)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        number, key = name.split(".", 1)
        moments.setdefault(int(number), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return about, {kind: parts[kind] for kind in ("best", "average")}
