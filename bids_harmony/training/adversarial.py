"""The loop of generator and discriminator: Adam, rate falling over the second half, checkpoints.

pix2pix (Isola et al. 2017) and pGAN (Dar et al. 2019): one slice per step, the discriminator's
loss halved, beta1 = 0.5. Every random number of a step depends on the seed and the step alone, so
that a run that goes on from a checkpoint gives the bits of one that was never stopped.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from bids_harmony.exceptions import DataError
from bids_harmony.training.training_checkpoint import read_checkpoint, write_checkpoint

__all__ = ["AdversarialSchedule", "Rows", "fit_adversarial"]

_LOGGER = logging.getLogger(__name__)
_BETAS = (0.5, 0.999)
#: Larger than any number of steps: seeds of neighbouring runs do not meet.
_SEED_STRIDE = 1_000_000_007

Rows = list[dict[str, float]]


@dataclass(frozen=True)
class AdversarialSchedule:
    """How long and how fast.

    Attributes
    ----------
    steps : int
        Slices shown; the rate is constant over the first half, then falls linearly to 0.
    learning_rate : float
    max_seconds : float
        Stop early, cleanly, when they are spent. The rate then follows the clock where that is
        ahead of the steps, so results depend on the machine's speed.
    checkpoint_seconds : float
        A full-width checkpoint is three quarters of a gigabyte: written by the clock.
    """

    steps: int
    learning_rate: float = 2e-4
    max_seconds: float = math.inf
    checkpoint_seconds: float = 300.0


def fit_adversarial(
    generator: nn.Module,
    discriminator: nn.Module,
    draw: Callable[[int], tuple[Tensor, Tensor]],
    distance: Callable[[Tensor, Tensor], tuple[Tensor, dict[str, float]]],
    schedule: AdversarialSchedule,
    checkpoint: Path,
    *,
    least_squares: bool,
    seed: int,
    fingerprint: str,
    device: str = "cpu",
    watch: Callable[[int, nn.Module], None] | None = None,
) -> Rows:
    """Train a generator against a discriminator, in place.

    Parameters
    ----------
    generator : Module
        (1, 1, H, W) to (1, 1, H, W).
    discriminator : Module
        Scores patches of (source, image).
    draw : callable
        Source and target slice (1, 1, H, W) of a step; must depend on the step alone.
    distance : callable
        Weighted loss of (made, target) beside the adversarial one, and numbers to log.
    schedule : AdversarialSchedule
    checkpoint : Path
        Safetensors file to write and to go on from.
    least_squares : bool
        Mao et al. 2017 (LSGAN) instead of the cross-entropy.
    seed : int
    fingerprint : str
        A checkpoint of another fingerprint is not gone on from.
    device : str
    watch : callable, optional
        Shown the number of steps done and the generator, which it may not change, after every
        step. May not draw from torch's global generator.

    Returns
    -------
    list of dict
        One row of numbers per step.

    Raises
    ------
    DataError
        The loss is not finite, or the checkpoint is damaged.
    """
    both = nn.ModuleDict({"generator": generator, "discriminator": discriminator}).to(device)
    # One Adam for both does what two would: a network without gradients is left out of a step.
    optimizer = torch.optim.Adam(both.parameters(), schedule.learning_rate, _BETAS)
    spent = 0.0
    rows: Rows = []
    found = read_checkpoint(checkpoint, fingerprint, both, optimizer)
    if found is not None:
        spent, rows = found[0]["seconds"], found[0]["rows"]
        _LOGGER.info("going on with %s at step %d", checkpoint.stem, len(rows))
    first = len(rows)
    both.train()
    start = saved = time.monotonic()
    start -= spent
    gan = F.mse_loss if least_squares else F.binary_cross_entropy_with_logits

    def save() -> None:
        seconds = time.monotonic() - start
        about = {"fingerprint": fingerprint, "seconds": seconds, "rows": rows}
        write_checkpoint(checkpoint, both, optimizer, about)

    def judged(source: Tensor, image: Tensor, real: bool) -> Tensor:
        score = discriminator(source, image)
        return gan(score, torch.full_like(score, float(real)))

    with (
        torch.random.fork_rng(devices=[torch.device(device)] if "cuda" in device else []),
        tqdm(
            total=schedule.steps, initial=first, desc=checkpoint.stem, unit="step", disable=None,
            leave=False,
        ) as progress,
    ):  # fmt: skip
        for step in range(first, schedule.steps):
            elapsed = time.monotonic() - start
            if elapsed > schedule.max_seconds:
                _LOGGER.info("%s: time is spent after %d steps", checkpoint.stem, step)
                break
            done = max(step / schedule.steps, elapsed / schedule.max_seconds)
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate * min(1.0, 2 * (1 - done))
            torch.manual_seed(seed * _SEED_STRIDE + step)
            source, target = (x.to(device) for x in draw(step))
            made = generator(source)
            optimizer.zero_grad(set_to_none=True)
            discriminator.requires_grad_(True)
            of_made, of_real = (
                judged(source, made.detach(), False),
                judged(source, target, True),
            )
            loss_d = (of_made + of_real) / 2
            loss_d.backward()
            optimizer.step()

            optimizer.zero_grad(set_to_none=True)
            discriminator.requires_grad_(False)
            fooled = judged(source, made, True)
            rest, numbers = distance(made, target)
            loss_g = fooled + rest
            if not torch.isfinite(loss_g + loss_d):
                raise DataError(
                    "Training diverged",
                    where=f"{checkpoint.stem}, step {step}",
                    got=f"generator {float(loss_g.detach())}, "
                    f"discriminator {float(loss_d.detach())}",
                    hint="Look at the training scans: is one of them empty?",
                )
            loss_g.backward()
            optimizer.step()
            row = {"step": step, "adversarial": float(fooled.detach())}
            rows.append(row | {"discriminator": float(loss_d.detach())} | numbers)
            progress.update()
            if watch:
                watch(len(rows), generator)
            if time.monotonic() - saved >= schedule.checkpoint_seconds:
                save()
                saved = time.monotonic()
    both.eval()
    save()
    return rows
