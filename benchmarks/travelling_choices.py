"""Which choice of network, normalisation, encoder and objective is best, all else being equal.

Two tables. *Choices*: every variant is trained from nothing on the same synthetic twins for the
same number of steps, and scored on people and scanners that training never drew. *Losses*: the
paper's own objective, unpaired, without twins and without a closed form, on the cohort.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from travelling_cohort import TARGET, Plan
from travelling_run import Work, fit_models, score_methods

from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import NetworkConfig, preset
from bids_harmony.sites.image_profile import standardize_codes
from bids_harmony.training.pretrain import pretrain, score_twins
from bids_harmony.training.trainer import Schedule
from bids_harmony.training.twin_pool import TwinPlan, TwinPool, make_pool

__all__ = ["choices", "losses"]


@dataclass(frozen=True)
class _Variant:
    """One row: what differs from the default."""

    group: str
    choice: str
    changes: dict[str, Any]
    preset: str = "local"
    closed_form: bool = True
    encoder: str = "mri"


_DEFAULT = _Variant("default", "local", {})
_VARIANTS = (
    _DEFAULT,
    _Variant("preset", "flat", {}, preset="flat"),
    _Variant("preset", "paper", {}, preset="paper", closed_form=False),
    _Variant("preset", "paper, on the closed form", {}, preset="paper"),
    _Variant("affine net", "instance norm", {"normalize": True}),
    _Variant("affine net", "twice as wide", {"hidden": (48, 64)}),
    _Variant("recursion", "mean", {"recursion": "mean"}),
    _Variant("AAN", "replace", {"mode": "replace"}),
    _Variant("AAN", "not relative", {"relative": False}),
    _Variant("AAN", "no gated head", {"gated": False}),
    _Variant("AAN", "no local maps", {"n_maps": 0}),
    _Variant("grid", "1", {"grid": 1}),
    _Variant("grid", "4", {"grid": 4}),
    _Variant("closed form", "none", {}, closed_form=False),
    _Variant("encoder", "VGG-16 (Oxford)", {}, encoder="vgg"),
)


def choices(
    work: Work,
    *,
    groups: Sequence[str],
    people: int,
    scanners: int,
    steps: int,
    vgg: Path | None,
    seed: int,
    pairs: int,
) -> list[dict[str, Any]]:
    """Train and score every variant.

    Parameters
    ----------
    work : Work
    groups : sequence of str
        Which variants besides the default: ``preset`` takes five to twenty times as long.
    people, scanners : int
        Twins are drawn from these many.
    steps : int
        Optimizer steps of eight slices each.
    vgg : Path, optional
        Weights of the VGG-16; without them that row is left out.
    seed : int
    pairs : int
        Unseen twins that are scored.
    """
    rows, pools, reference = [], {}, 0.0
    wanted = [v for v in _VARIANTS if v.group in ("default", *groups)]
    variants = [v for v in wanted if v.encoder == "mri" or vgg]
    for variant in tqdm(variants, "choices", disable=None):
        config = preset(variant.preset, **variant.changes)
        key = variant.encoder, config.aan.grid
        if key not in pools:
            encoder = load_encoder(variant.encoder, vgg if variant.encoder == "vgg" else None)
            pools[key] = (
                _pool(encoder, config.aan.grid, work.workers, seed, people, scanners),
                encoder,
            )
        pool, encoder = pools[key]
        if not reference:
            # The same for all: the closed form knows neither network nor encoder.
            fresh = IHFNetwork(config, encoder.code_length).eval()
            reference = score_twins(fresh, pool, use_closed_form=True, pairs=pairs).closed_form
        rows.append(
            _trained(variant, config, pool, encoder, work.folder, steps, seed, pairs, reference)
        )
        print(f"{variant.group}, {variant.choice}: {rows[-1]['gain_db']:+.2f} dB", flush=True)
    return rows


def _pool(
    encoder: Encoder, cells: int, threads: int, seed: int, people: int, scanners: int
) -> TwinPool:
    plan = TwinPlan(
        training_people=people,
        profile_people=8,
        training_scanners=scanners,
        validation_scanners=8,
        modalities=("T1w",),
        coded=1,
        seed=900 + seed,
    )
    return make_pool(plan, encoder, cells=cells, threads=threads)


def _trained(
    variant: _Variant,
    config: NetworkConfig,
    pool: TwinPool,
    encoder: Encoder,
    folder: Path,
    steps: int,
    seed: int,
    pairs: int,
    reference: float,
) -> dict[str, Any]:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network = IHFNetwork(config, encoder.code_length)
    standardize_codes(network, pool.profiles.values())
    means = [torch.from_numpy(b.mean_image[:, :, 44:47].copy()) for b in pool.profiles.values()]
    network.calibrate([image.permute(2, 0, 1)[None] for image in means[:16]])
    where = folder / "choices" / f"{variant.group}-{variant.choice}".replace(" ", "-")
    where.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    pretrain(
        network,
        pool,
        Schedule(steps, 2e-3, checkpoint_every=steps + 1),
        where,
        slices=8,
        seed=seed,
        use_closed_form=variant.closed_form,
        fingerprint=f"choices {variant} {steps} {time.time_ns()}",
    )
    seconds = time.perf_counter() - start
    score = score_twins(network, pool, use_closed_form=variant.closed_form, pairs=pairs)
    return {
        "group": variant.group,
        "choice": variant.choice,
        "default": variant is _DEFAULT,
        "steps": steps,
        "pairs": pairs,
        "rmse_closed_form": reference,
        "rmse_network": score.network,
        "gain_db": 20 * float(np.log10(reference / score.network)),
        "parameters": network.count_parameters(),
        "seconds": round(seconds, 1),
        "seed": seed,
    }


def losses(plan: Plan, work: Work, *, steps: int) -> list[dict[str, Any]]:
    """The paper's ablation: neither loss, one each, both; literal preset, unpaired, no twins."""
    rows = []
    for name, lambda_ac, lambda_art in (
        ("none", 0.0, 0.0),
        ("anatomical", 1.0, 0.0),
        ("artefact", 0.0, 2.0),
        ("both", 1.0, 2.0),
    ):
        models = fit_models(
            plan, work, ["ihf"], preset="paper", start=False, lambda_ac=lambda_ac,
            lambda_art=lambda_art, adapt_steps=steps if lambda_ac or lambda_art else 0,
        )  # fmt: skip
        scored = [r for r in score_methods(plan, work, models) if r["site"] != TARGET]
        rows += _loss_rows(name, steps, scored, plan)
    return rows


def _loss_rows(
    name: str, steps: int, scored: Sequence[dict[str, Any]], plan: Plan
) -> list[dict[str, Any]]:
    rows = []
    for modality in plan.modalities:
        own = [r for r in scored if r["modality"] == modality and r["method"] == "ihf"]
        figures = ("rmse", "rmse_gain_free", "psnr_db", "ms_ssim", "lpips", "change_rms")
        rows.append(
            {"losses": name, "modality": modality, "steps": steps, "scans": len(own)}
            | {key: float(np.mean([r[key] for r in own])) for key in figures}
        )
    return rows
