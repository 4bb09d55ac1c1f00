"""First stage: supervised training on synthetic twins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bids_harmony.methods.conditioned import change_volume
from bids_harmony.model.network import IHFNetwork
from bids_harmony.quality.image_metrics import gain_free_rmse
from bids_harmony.training.distributed import Ranks
from bids_harmony.training.trainer import Schedule, TrainingResult, fit
from bids_harmony.training.training_pass import change_with_gradients
from bids_harmony.training.twin_pool import TwinPool
from bids_harmony.training.twin_stream import TwinStream, turns
from bids_harmony.training.twins import Batch, grey_or_white, twin_pair

__all__ = [
    "TWIN_AVERAGE",
    "TWIN_PARTS",
    "TwinLoss",
    "TwinScore",
    "pretrain",
    "score_twins",
    "twin_loss",
]

#: Halves of a batch side by side use two processors better than operations that are shared out.
TWIN_PARTS = 2
#: What the closed form usually leaves, root mean square, and what is too little to be improved.
_USUAL_ERROR, _LEAST_ERROR = 0.06, 0.02
#: Every so many steps are of a finer grid, where there is one.
FINER_EVERY = 3
#: Decay of the moving average of the weights.
TWIN_AVERAGE = 0.999


@dataclass(frozen=True)
class TwinScore:
    """Brain-masked RMSE to unseen twins after the best gain, means over pairs.

    In units of the twin's 99.5th percentile: the gain of a scan is arbitrary.
    """

    raw: float
    closed_form: float
    network: float
    pairs: int


@dataclass(frozen=True)
class TwinLoss:
    """Weights of the errors to the twin.

    Squared error decides RMSE and PSNR, absolute error keeps edges and resists outliers. The
    squared error of each tissue's mean in a slice asks for the person's own contrast: it is small
    beside that of voxels, and is what a study measures.

    With `relative`, the errors of each slice count relative to what the closed form leaves there.
    Where it hardly brings two scanners together, errors are many times the usual ones: counted as
    they are, the network learns such pairs and spoils those that are nearly right.
    """

    absolute: float = 1.0
    squared: float = 4.0
    contrast: float = 20.0
    relative: bool = False


def twin_loss(
    network: IHFNetwork, batch: Batch, weights: TwinLoss | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Absolute plus squared error to the twin, means over the brain.

    Parameters
    ----------
    network : IHFNetwork
    batch : Batch
    weights : TwinLoss, optional

    Returns
    -------
    loss : () tensor
    numbers : dict of () tensors
        Mean squared error before and after the network.
    """
    weights = weights or TwinLoss()
    output = batch.stack + change_with_gradients(network, batch.stack, batch.condition)
    missed = output - batch.twin
    squared = missed[batch.mask].square().mean()
    before = (batch.stack - batch.twin)[batch.mask].square().mean()
    counted = missed * _counts(batch) if weights.relative else missed
    error, own = counted[batch.mask], _contrast_error(counted, batch.tissue)
    loss = weights.absolute * error.abs().mean() + weights.squared * error.square().mean()
    # A step's parts are weighted by their brain voxels, this term by voxels of tissue.
    loss = loss + weights.contrast * own * (batch.tissue_share / batch.share if batch.share else 0)
    return loss, {"mse_closed_form": before, "mse_network": squared, "mse_contrast": own}


def _counts(batch: Batch) -> Tensor:
    """By how much the errors of each stack count, (B, 1, 1, 1)."""
    across = (1, 2, 3)
    left = (batch.stack - batch.twin).square() * batch.mask
    mean = left.sum(across, keepdim=True) / batch.mask.sum(across, keepdim=True).clamp(min=1)
    return _USUAL_ERROR / torch.sqrt(mean + _LEAST_ERROR**2)


def _contrast_error(error: Tensor, tissue: Tensor) -> Tensor:
    """Mean square of the mean errors of grey and white matter of each stack, by their voxels."""
    total = error.new_zeros(())
    for kind in (1, 2):
        inside = (tissue == kind).to(error)
        voxels = inside.sum(dim=(1, 2, 3))
        mean = (error * inside).sum(dim=(1, 2, 3)) / voxels.clamp(min=1)
        total = total + (voxels * mean.square()).sum()
    return total / grey_or_white(tissue).sum().clamp(min=1)


def pretrain(
    network: IHFNetwork,
    pool: TwinPool,
    schedule: Schedule,
    folder: Path,
    *,
    slices: int,
    seed: int,
    use_closed_form: bool,
    fingerprint: str,
    loss: TwinLoss | None = None,
    ranks: Ranks | None = None,
    finer: TwinPool | None = None,
) -> TrainingResult:
    """Train a network on twins of the pool's training people and scanners.

    Parameters
    ----------
    network : IHFNetwork
    pool : TwinPool
    schedule : Schedule
    folder : Path
        For checkpoint and log.
    slices : int
        Per step.
    seed : int
    use_closed_form : bool
    fingerprint : str
    loss : TwinLoss, optional
    ranks : Ranks, optional
        The processes that train together.
    finer : TwinPool, optional
        On a finer grid; every `FINER_EVERY`-th step is of it, with as many fewer slices as they
        have more pixels.

    Returns
    -------
    TrainingResult
    """

    def stream(of: TwinPool, count: int) -> TwinStream:
        return TwinStream(
            of, network.config, use_closed_form=use_closed_form, slices=count, seed=seed
        )

    usual = stream(pool, slices)
    draw: Callable[[int, int, int], Batch] = usual.part
    if finer is not None:
        fewer = slices * (finer.grid.voxel_mm / pool.grid.voxel_mm) ** 2
        draw = turns(usual, stream(finer, max(1, round(fewer))), FINER_EVERY)
    return fit(
        network,
        draw,
        lambda batch: twin_loss(network, batch, loss),
        schedule,
        folder,
        stage="twins",
        fingerprint=fingerprint,
        ranks=ranks,
    )


def score_twins(
    network: IHFNetwork, pool: TwinPool, *, use_closed_form: bool, pairs: int = 8
) -> TwinScore:
    """Score on people and scanners that training never drew.

    Parameters
    ----------
    network : IHFNetwork
    pool : TwinPool
    use_closed_form : bool
    pairs : int
        Scanner pairs, spread over modalities and people.
    """
    rng = np.random.default_rng([pool.plan.seed, 0x7A])
    totals = np.zeros(3)
    device = str(next(network.parameters()).device)
    for number in range(pairs):
        source, target, modality = pool.draw_unseen(rng, number)
        person = pool.validation[number % len(pool.validation)]
        conditioned, scan, twin = twin_pair(
            person,
            source,
            target,
            (pool.profiles[source.site, modality], pool.profiles[target.site, modality]),
            int(rng.integers(1 << 40)),
            voxel_mm=pool.grid.voxel_mm,
            config=network.config,
            use_closed_form=use_closed_form,
        )
        change = change_volume((network,), conditioned, device=device)
        mask = conditioned.mask
        images = (scan, conditioned.image, conditioned.image + change)
        errors = np.array([gain_free_rmse(twin, image, mask=mask) for image in images])
        totals += errors / np.percentile(twin[mask].astype(np.float64), 99.5)
    raw, closed, learned = totals / pairs
    return TwinScore(float(raw), float(closed), float(learned), pairs)
