"""A tiny network and a toy problem for the tests of the optimizer loop, also run by `torchrun`.

Started as a program, it trains and prints the losses: ``python tests/training/tiny.py FOLDER``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.training.distributed import joined
from bids_harmony.training.trainer import Schedule, TrainingResult, fit

CONFIG = preset("local", grid=2, n_maps=0, hidden=(4, 4), head_channels=4, embedding=8,
                projection=(8, 8))  # fmt: skip


@dataclass
class Toy:
    """Some images of a step's batch."""

    images: torch.Tensor
    share: float = 1.0

    def to(self, device):
        return Toy(self.images.to(device), self.share)


def network() -> IHFNetwork:
    torch.manual_seed(1)
    return IHFNetwork(CONFIG, 6)


def draw(step: int, part: int = 0, parts: int = 1) -> Toy:
    """A share of five images: parts of unequal size."""
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(step))
    chosen = np.array_split(np.arange(5), parts)[part]
    return Toy(images[chosen], len(chosen) / 5)


def darker(model: IHFNetwork):
    """Loss of a network that shall make images darker."""

    def loss_of(batch):
        condition = Condition(torch.ones(1, 6), torch.zeros(1, 6))
        output = batch.images + model.change(batch.images, condition)
        error = (output - 0.8 * batch.images).square().mean()
        return error, {"error": error}

    return loss_of


def train(folder: Path, steps: int = 8, **options) -> tuple[IHFNetwork, TrainingResult]:
    """Fit a fresh network; options of `Schedule` and of `fit`."""
    model = options.pop("model", None) or network()
    keywords = {k: options.pop(k) for k in ("validate", "ranks") if k in options}
    drawn, fingerprint = options.pop("draw", draw), options.pop("fingerprint", "a")
    schedule = Schedule(steps, 5e-3, **{"checkpoint_every": 2} | options)
    folder.mkdir(exist_ok=True)
    return model, fit(
        model,
        drawn,
        darker(model),
        schedule,
        folder,
        stage="s",
        fingerprint=fingerprint,
        **keywords,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as ranks:
        train(Path(sys.argv[1]), ranks=ranks)
