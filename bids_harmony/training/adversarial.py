"""The loop of generator and discriminator: Adam, rate falling over the second half, checkpoints.

pix2pix (Isola et al. 2017) and pGAN (Dar et al. 2019): one slice per step, the discriminator's
loss halved, beta1 = 0.5. Every random number of a step depends on the seed and the step alone, so
that a run that goes on from a checkpoint gives the bits of one that was never stopped.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from bids_harmony.exceptions import DataError
from bids_harmony.model.encoder_files import write_tensors

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

    Returns
    -------
    list of dict
        One row of numbers per step.

    Raises
    ------
    DataError
        The loss is not finite.
    """
    both = nn.ModuleDict({"generator": generator, "discriminator": discriminator}).to(device)
    # One Adam for both does what two would: a network without gradients is left out of a step.
    optimizer = torch.optim.Adam(both.parameters(), schedule.learning_rate, _BETAS)
    first, spent, rows = _load(checkpoint, fingerprint, both, optimizer)
    both.train()
    start = saved = time.monotonic()
    start -= spent
    gan = F.mse_loss if least_squares else F.binary_cross_entropy_with_logits

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
            if time.monotonic() - saved >= schedule.checkpoint_seconds:
                _save(checkpoint, fingerprint, both, optimizer, time.monotonic() - start, rows)
                saved = time.monotonic()
    both.eval()
    _save(checkpoint, fingerprint, both, optimizer, time.monotonic() - start, rows)
    return rows


def _save(
    path: Path,
    fingerprint: str,
    both: nn.Module,
    optimizer: torch.optim.Optimizer,
    seconds: float,
    rows: Rows,
) -> None:
    tensors = {f"network.{k}": v.detach().cpu() for k, v in both.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v.detach().cpu() for k, v in state.items()}
    about = json.dumps({"fingerprint": fingerprint, "seconds": seconds, "rows": rows})
    tensors["about"] = torch.frombuffer(bytearray(about.encode()), dtype=torch.uint8)
    write_tensors(tensors, path)


def _load(
    path: Path, fingerprint: str, both: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float, Rows]:
    if not path.is_file():
        return 0, 0.0, []
    tensors = load_tensors(path.read_bytes())
    about = json.loads(bytes(tensors.pop("about").numpy()).decode())
    if about["fingerprint"] != fingerprint:
        _LOGGER.info("%s belongs to another training; starting anew", path)
        return 0, 0.0, []
    moments: dict[int, dict[str, Tensor]] = {}
    for name in [n for n in tensors if n.startswith("optimizer.")]:
        _, number, field = name.split(".", 2)
        moments.setdefault(int(number), {})[field] = tensors.pop(name)
    both.load_state_dict({name.removeprefix("network."): t for name, t in tensors.items()})
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    rows: Rows = about["rows"]
    _LOGGER.info("going on with %s at step %d", path.stem, len(rows))
    return len(rows), about["seconds"], rows
