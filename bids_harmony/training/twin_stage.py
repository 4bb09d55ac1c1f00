"""First stage of the level train: twins, most of them between the dataset's own sites."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from bids_harmony.model.network import IHFNetwork
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.training.adaptation import TWIN_TOLERANCE, TrainingRun
from bids_harmony.training.own_sites import OwnTwins, fit_sites, own_twins
from bids_harmony.training.pretrain import (
    TWIN_AVERAGE,
    TWIN_PARTS,
    TwinLoss,
    TwinScore,
    pretrain,
    score_twins,
)
from bids_harmony.training.trainer import Schedule, TrainingResult
from bids_harmony.training.twin_pool import TwinPlan, TwinPool, make_pool

__all__ = ["NO_TWINS", "TwinStage", "draw_pool", "train_on_twins"]

_LOGGER = logging.getLogger(__name__)

#: `TwinStage.about` of a training without twins.
NO_TWINS: dict[str, Any] = {
    "plan": None,
    "steps": 0,
    "before": None,
    "unseen": None,
    "own_before": None,
    "own_unseen": None,
    "kept": False,
    "fits": [],
}


@dataclass(frozen=True, eq=False)
class TwinStage:
    """What came of the first stage: scores on unseen twins, and whether its weights were kept.

    Attributes
    ----------
    pool : TwinPool
    anyone : TwinPool
        The same without the dataset's own sites.
    fitted : TrainingResult
    before : TwinScore, optional
        Between any scanners, of the weights that it started from; None where there were none.
    after : TwinScore
    own_before, own_after : TwinScore, optional
        The same between the dataset's own sites; None where they have no twins.
    trained : dict of str to Tensor
        Weights at the end of the training, kept or not.
    kept : bool
    """

    pool: TwinPool
    anyone: TwinPool
    fitted: TrainingResult
    before: TwinScore | None
    after: TwinScore
    own_before: TwinScore | None
    own_after: TwinScore | None
    trained: Mapping[str, Tensor]
    kept: bool

    @property
    def kept_score(self) -> TwinScore:
        """Of the weights that the next stage starts from."""
        return self.after if self.kept or self.before is None else self.before

    def about(self) -> dict[str, Any]:
        """For ``model.json``."""
        scores = {
            "before": self.before,
            "unseen": self.after,
            "own_before": self.own_before,
            "own_unseen": self.own_after,
        }
        return {
            "plan": asdict(self.pool.plan),
            "steps": self.fitted.steps,
            **{name: asdict(score) if score else None for name, score in scores.items()},
            "kept": self.kept,
            "fits": self.pool.about_fits() if isinstance(self.pool, OwnTwins) else [],
        }


def draw_pool(
    run: TrainingRun,
    modalities: list[str],
    profiles: Mapping[tuple[str, str], ImageProfile],
    cells: int,
) -> TwinPool:
    """Draw people and scanners, and fit scanners to the dataset's sites where that was asked for.

    Parameters
    ----------
    run : TrainingRun
    modalities : list of str
        Those of at least two sites.
    profiles : mapping of (site, modality) to ImageProfile
        Of the dataset's sites.
    cells : int
        g of the network's grid.
    """
    settings, options = run.settings, run.settings.training
    plan = TwinPlan(
        training_people=options.twin_people,
        training_scanners=options.twin_scanners,
        modalities=tuple(modalities),
        voxel_mm=settings.voxel_mm,
        seed=settings.random_seed,
    )
    threads = max(1, settings.nprocs)
    pool = make_pool(plan, run.encoder, cells=cells, threads=threads)
    wanted = {key: p for key, p in profiles.items() if key[1] in modalities}
    if not options.own_twins:
        return pool
    fits = fit_sites(wanted, run.scans, pool.grid, seed=settings.random_seed, threads=threads)
    own = own_twins(pool, profiles, fits, share=options.own_twins, target=settings.target_site)
    return own if own.modalities else pool


def train_on_twins(
    network: IHFNetwork, pool: TwinPool, run: TrainingRun, started: bool
) -> TwinStage:
    """Train on twins; weights that shipped ones are better than are thrown away.

    Parameters
    ----------
    network : IHFNetwork
        Changed in place.
    pool : TwinPool
    run : TrainingRun
    started : bool
        The network has the shipped weights.
    """
    anyone = pool.without_own() if isinstance(pool, OwnTwins) else pool

    def score(of: TwinPool) -> TwinScore:
        return score_twins(network, of, use_closed_form=run.use_closed_form)

    before = score(anyone) if started else None
    own_before = score(pool) if started and pool is not anyone else None
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    fitted = _pretrain(network, pool, run)
    after = score(anyone)
    own_after = score(pool) if pool is not anyone else None
    trained = {name: value.clone() for name, value in network.state_dict().items()}
    kept = True
    if before is not None and own_before is not None and own_after is not None:
        kept = own_after.network < own_before.network and after.network <= before.network * (
            1 + TWIN_TOLERANCE
        )
    elif before is not None:
        kept = after.network <= before.network
    if not kept:
        network.load_state_dict(weights)
    for name, old, new in (("own sites", own_before, own_after), ("any scanners", before, after)):
        if new is not None:
            _LOGGER.info(
                "unseen twins, %s, RMSE: raw %.4f, closed form %.4f, network %s%.4f%s",
                name, new.raw, new.closed_form, f"{old.network:.4f} -> " if old else "",
                new.network, "" if kept else ", not kept",
            )  # fmt: skip
    return TwinStage(pool, anyone, fitted, before, after, own_before, own_after, trained, kept)


def _pretrain(network: IHFNetwork, pool: TwinPool, run: TrainingRun) -> TrainingResult:
    options = run.settings.training
    on_processor = next(network.parameters()).device.type == "cpu"
    schedule = Schedule(
        options.twin_steps,
        options.twin_learning_rate,
        max_seconds=options.train_minutes * 60 if options.train_minutes else math.inf,
        precision=options.precision,
        accumulate=max(options.accumulate, TWIN_PARTS if on_processor else 1),
        side_by_side=TWIN_PARTS,
        average=TWIN_AVERAGE,
    )
    return pretrain(
        network,
        pool,
        schedule,
        run.folder,
        slices=options.batch,
        seed=run.settings.random_seed,
        use_closed_form=run.use_closed_form,
        fingerprint=run.fingerprint,
        loss=TwinLoss(options.twin_absolute, options.twin_squared),
        ranks=run.ranks,
    )
