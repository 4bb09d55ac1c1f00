"""First stage: supervised training on synthetic twins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bids_harmony.harmonizers.conditioned import predict_change
from bids_harmony.imaging.slices import reassemble
from bids_harmony.model.network import IHFNetwork
from bids_harmony.training.trainer import Schedule, fit
from bids_harmony.training.twin_stream import TwinStream
from bids_harmony.training.twins import Batch, TwinPool, twin_pair

__all__ = ["TwinScore", "pretrain", "score_twins", "twin_loss"]

#: Squared error decides RMSE and PSNR, absolute error keeps edges and resists outliers.
_SQUARED_WEIGHT = 4.0


@dataclass(frozen=True)
class TwinScore:
    """Brain-masked RMSE to unseen twins after the best gain, means over pairs.

    In units of the twin's 99.5th percentile: the gain of a scan is arbitrary.
    """

    raw: float
    closed_form: float
    network: float
    pairs: int


def twin_loss(network: IHFNetwork, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Absolute plus squared error to the twin, inside the brain.

    Parameters
    ----------
    network : IHFNetwork
    batch : Batch

    Returns
    -------
    loss : () tensor
    numbers : dict
        RMSE of the batch before and after the network.
    """
    output = batch.stack + network.change(batch.stack, batch.condition)
    error = (output - batch.twin)[batch.mask]
    squared = error.square().mean()
    before = (batch.stack - batch.twin)[batch.mask].square().mean()
    numbers = {
        "rmse_closed_form": math.sqrt(float(before)),
        "rmse_network": math.sqrt(float(squared.detach())),
    }
    return error.abs().mean() + _SQUARED_WEIGHT * squared, numbers


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
) -> list[dict[str, float]]:
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

    Returns
    -------
    list of dict
        The log.
    """
    stream = TwinStream(
        pool, network.config, use_closed_form=use_closed_form, slices=slices, seed=seed
    )
    return fit(
        network,
        stream.batch,
        lambda batch: twin_loss(network, batch),
        schedule,
        folder,
        stage="twins",
        fingerprint=fingerprint,
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
    scanners = pool.validation_scanners
    totals = np.zeros(3)
    for number in range(pairs):
        first, second = rng.choice(len(scanners), 2, replace=False)
        modality = pool.plan.modalities[number % len(pool.plan.modalities)]
        person = pool.validation[number % len(pool.validation)]
        conditioned, scan, twin = twin_pair(
            pool,
            person,
            scanners[first],
            scanners[second],
            modality,
            int(rng.integers(1 << 40)),
            config=network.config,
            use_closed_form=use_closed_form,
        )
        change = reassemble(predict_change(network, conditioned))
        mask = conditioned.mask
        images = (scan, conditioned.image, conditioned.image + change)
        totals += [_gain_free(image[mask], twin[mask]) for image in images]
    raw, closed, learned = totals / pairs
    return TwinScore(float(raw), float(closed), float(learned), pairs)


def _gain_free(image: NDArray, twin: NDArray) -> float:
    image, twin = image.astype(np.float64), twin.astype(np.float64)
    gain = (image @ twin) / (image @ image)
    error = math.sqrt(np.square(gain * image - twin).mean())
    return error / float(np.percentile(twin, 99.5))
