"""Second stage: a dataset's own sites, from unpaired scans.

After twins (or with the shipped weights) it is an adaptation, kept only where it helps. Without
either it is the whole training, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bids_harmony.model.encoder import Encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.prepared_scans import PreparedScan, build_profiles
from bids_harmony.training.distributed import Ranks
from bids_harmony.training.pair_sampler import Pairing, UnpairedSampler
from bids_harmony.training.target_statistics import TargetStatistics
from bids_harmony.training.trainer import Diverged, Schedule, fit
from bids_harmony.training.unpaired import UnpairedLoss, balanced

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["TWIN_TOLERANCE", "Adaptation", "TrainingRun", "Twins", "adapt"]

#: Slices of held-out people that a validation looks at.
_VALIDATION_SLICES = 96
#: What a dataset's own sites gain may not cost more than this on unseen twins (relative RMSE).
TWIN_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """What all stages of one training share.

    Attributes
    ----------
    scans : sequence of PreparedScan
    encoder : Encoder
        On the network's device.
    settings : Settings
    folder : Path
        For logs and checkpoints.
    use_closed_form : bool
    fingerprint : str
        Of data and settings.
    ranks : Ranks
    """

    scans: Sequence[PreparedScan]
    encoder: Encoder
    settings: Settings
    folder: Path
    use_closed_form: bool
    fingerprint: str
    ranks: Ranks


@dataclass(frozen=True)
class Twins:
    """RMSE on unseen twins: before the adaptation, and how to measure it again."""

    before: float
    measure: Callable[[], float]


@dataclass(frozen=True)
class Adaptation:
    """What came of the second stage.

    Attributes
    ----------
    done, kept : bool
    reason : str
        Why it was kept, thrown away or not done.
    lambda_ac, lambda_art : float
        Weights after the balance check.
    steps, best_step : int
        Done; and the one whose weights were kept.
    held_out_before, held_out_after : float
        Weighted loss on people that the stage did not see.
    twins_before, twins_after : float
        RMSE on unseen twins.
    """

    done: bool
    kept: bool
    reason: str
    lambda_ac: float = math.nan
    lambda_art: float = math.nan
    steps: int = 0
    best_step: int = 0
    held_out_before: float = math.nan
    held_out_after: float = math.nan
    twins_before: float = math.nan
    twins_after: float = math.nan


def adapt(
    network: IHFNetwork, run: TrainingRun, *, twins: Twins | None = None, whole: bool = False
) -> Adaptation:
    """Train on unpaired scans, with early stop on held-out people.

    Parameters
    ----------
    network : IHFNetwork
        Changed in place.
    run : TrainingRun
    twins : Twins, optional
        Judge of an adaptation besides the held-out people.
    whole : bool
        The network has learned nothing yet: its weights are kept, and nobody needs to be held out.

    Raises
    ------
    Diverged
        Where this is the whole training; an adaptation that diverges is thrown away.
    """
    options = run.settings.training
    if not (options.epochs or options.adapt_steps):
        return Adaptation(False, False, "no steps were asked for")
    training, validation = _samplers(network, run)
    if not training.possible:
        return Adaptation(False, False, "no scan has another person's scan at another site")
    if not (validation.possible or whole):
        return Adaptation(
            False, False, "too few people to hold some out: three per site are needed"
        )
    loss = UnpairedLoss(
        run.encoder, options.lambda_ac, options.lambda_art, options.identity_weight,
        options.keep, run.settings.random_seed,
    )  # fmt: skip
    device = next(network.parameters()).device
    balance = balanced(network, loss, training.part(0).to(device))
    loss = replace(loss, lambda_art=run.ranks.from_first(balance.lambda_art))

    def held_out() -> float:
        count = min(validation.steps_per_epoch, max(1, _VALIDATION_SLICES // options.batch))
        with torch.inference_mode():
            parts = [validation.part(step).to(device) for step in range(count)]
            return float(np.mean([float(loss(network, part)[0]) for part in parts]))

    judge = held_out if validation.possible else None
    before_weights = {k: v.clone() for k, v in network.state_dict().items()}
    before = judge() if judge else math.nan
    outcome = Adaptation(
        True, False, "", loss.lambda_ac, loss.lambda_art, held_out_before=before
    )  # fmt: skip
    schedule = Schedule(
        options.epochs * training.steps_per_epoch or options.adapt_steps,
        options.learning_rate,
        accumulate=options.accumulate,
        precision=options.precision,
        validate_every=options.validate_every,
        patience=options.patience,
    )
    try:
        fitted = fit(
            network,
            training.part,
            lambda pairs: loss(network, pairs),
            schedule,
            run.folder,
            stage="adaptation",
            fingerprint=run.fingerprint,
            validate=judge,
            ranks=run.ranks,
        )
    except Diverged as error:
        if whole:
            raise
        network.load_state_dict(before_weights)
        network.eval()
        return replace(outcome, reason=str(error))
    outcome = replace(
        outcome, steps=fitted.steps, best_step=fitted.best_step, held_out_after=fitted.validation
    )
    if whole:
        told = (
            f"held-out loss {before:.4f} -> {fitted.validation:.4f}"
            if judge
            else "nobody was held out"
        )
        return replace(outcome, kept=True, reason=f"the whole training; {told}")
    outcome = _judged(outcome, twins)
    if not outcome.kept:
        network.load_state_dict(before_weights)
    return outcome


def _samplers(network: IHFNetwork, run: TrainingRun) -> tuple[UnpairedSampler, UnpairedSampler]:
    """Pairs of the people that are trained on, and of those who are held out."""
    options = run.settings.training
    seen, held = _split(run.scans)
    # Profiles without the held-out people, so that validation stays honest.
    profiles: Mapping[tuple[str, str], ImageProfile] = build_profiles(
        seen,
        run.encoder,
        cells=network.config.aan.grid,
        size=options.bank_size,
        voxel_mm=run.settings.voxel_mm,
    )
    held = [s for s in held if (s.site, s.modality) in profiles]
    pairing = Pairing(
        options.batch, options.slices_per_pair, options.same_site_share, options.art_target,
        run.settings.random_seed,
    )  # fmt: skip

    def sampler(group: Sequence[PreparedScan]) -> UnpairedSampler:
        return UnpairedSampler(
            group, profiles, TargetStatistics(run.encoder), network.config, run.settings.voxel_mm,
            run.use_closed_form, pairing,
        )  # fmt: skip

    return sampler(seen), sampler(held)


def _split(scans: Sequence[PreparedScan]) -> tuple[list[PreparedScan], list[PreparedScan]]:
    """Hold out one person of every site that has at least three."""
    people: dict[str, list[str]] = {}
    for scan in scans:
        group = people.setdefault(scan.site, [])
        if scan.subject not in group:
            group.append(scan.subject)
    held = {sorted(group)[-1] for group in people.values() if len(group) > 2}
    return [s for s in scans if s.subject not in held], [s for s in scans if s.subject in held]


def _judged(outcome: Adaptation, twins: Twins | None) -> Adaptation:
    """Whether an adaptation is worth keeping."""
    before, after = outcome.held_out_before, outcome.held_out_after
    reason = f"held-out loss {before:.4f} -> {after:.4f}"
    if twins is None:
        return replace(outcome, kept=after < before, reason=reason)
    measured = twins.measure()
    kept = after < before and measured <= twins.before * (1 + TWIN_TOLERANCE)
    reason += f", unseen twins {twins.before:.4f} -> {measured:.4f}"
    return replace(
        outcome, kept=kept, reason=reason, twins_before=twins.before, twins_after=measured
    )
