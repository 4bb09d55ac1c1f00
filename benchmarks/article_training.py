"""Trainings of the article's experiment: IHF-Harmony as published, cGAN and SiMix, with curves.

Validation people are only watched: every network is the one at the end of its training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from article_cohort import Cohort, Shot
from article_parts import LOSSES, Curve, Part
from article_scores import watched_psnr
from safetensors.torch import load_file
from torch import nn
from travelling_cohort import TARGET

from bids_harmony import __version__
from bids_harmony.methods.conditioned import Conditioned, condition_scan
from bids_harmony.model.checkpoint import save_model
from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.model.slicewise import translate_volume
from bids_harmony.revisions import revisions_of
from bids_harmony.sites.image_profile import standardize_codes
from bids_harmony.sites.prepared_scans import PreparedScan
from bids_harmony.sites.profile_files import write_profiles
from bids_harmony.training.adapt import calibration_slices
from bids_harmony.training.cgan import CGANOptions, fit_cgan
from bids_harmony.training.pair_sampler import Pairing, Pairs, UnpairedSampler
from bids_harmony.training.pairs import pair_scans
from bids_harmony.training.schedule import Schedule
from bids_harmony.training.simix import SiMixOptions, fit_simix
from bids_harmony.training.target_statistics import TargetStatistics
from bids_harmony.training.trainer import fit
from bids_harmony.training.unpaired import UnpairedLoss, balanced

__all__ = ["BUDGETS", "Budget", "Trained", "train_paper", "train_rival"]

_STAGE = "paper"
#: Validations in the course of a training.
_LOOKS = 25


@dataclass(frozen=True)
class Budget:
    """How long a method trains.

    Attributes
    ----------
    steps : int
    batch : int
        Slices per step.
    learning_rate : float
    width : int
        Filters of the first layer of cGAN and SiMix; 64 as published.
    """

    steps: int
    batch: int
    learning_rate: float
    width: int = 0

    @property
    def curve(self) -> str:
        """Name of a training's curve: another budget does not go on with it."""
        return f"curve-{self.steps}-{self.batch}-{self.learning_rate:g}.json"

    @property
    def look_every(self) -> int:
        """Steps between validations."""
        return max(1, self.steps // _LOOKS)


#: For one core and half an hour each. The article has 32 slices a step; eight learn faster per
#: minute of a processor. The rate is that of its authors: ten times as much diverged (``tried`` in
#: the record).
BUDGETS = {
    "paper": Budget(steps=800, batch=8, learning_rate=1e-4),
    "paper-vgg": Budget(steps=800, batch=8, learning_rate=1e-4),
    "cgan": Budget(steps=6000, batch=1, learning_rate=2e-4, width=32),
    "simix": Budget(steps=5000, batch=1, learning_rate=2e-4, width=32),
}


@dataclass(frozen=True)
class Trained:
    """A trained model, and what there is to tell of its training."""

    method: str
    folder: Path
    slices: int
    curve: Curve
    about: dict[str, Any]


def train_paper(
    part: Part, cohort: Cohort, folder: Path, budget: Budget, vgg: Path | None
) -> Trained:
    """Train the preset `paper` on the cohort's unpaired scans, from nothing.

    Parameters
    ----------
    part : Part
        Its losses; with ``none`` the network is calibrated and not trained.
    cohort : Cohort
    folder : Path
        For checkpoint, curve and model.
    budget : Budget
    vgg : Path, optional
        Weights of the VGG-16, for the method ``paper-vgg``; else the shipped encoder.
    """
    encoder = load_encoder("vgg", vgg) if vgg else load_encoder("mri")
    scans, config = cohort.loaded("training", part.modality), preset("paper")
    profiles = cohort.profiles(part.modality, encoder)
    torch.manual_seed(part.seed)
    network = IHFNetwork(config, encoder.code_length)
    standardize_codes(network, profiles.values())
    network.calibrate(calibration_slices(scans))
    network.eval()
    folder.mkdir(parents=True, exist_ok=True)
    curve = Curve(folder / budget.curve)
    voxel_mm = cohort.plan.voxel_mm
    watched = cohort.watched(part.modality)
    conditioned = [
        condition_scan(
            scan.prepared.data, scan.prepared.mask, profiles[scan.site, part.modality],
            profiles[TARGET, part.modality], voxel_mm=voxel_mm, config=config,
            use_closed_form=False,
        )
        for scan in watched
    ]  # fmt: skip
    if not curve.points:
        curve.add(0, _psnr(network, watched, conditioned))
    loss = UnpairedLoss(encoder, *LOSSES[part.losses], keep=0.9, seed=part.seed)
    about: dict[str, Any] = {"encoder": encoder.name, "keep": loss.keep}
    slices = 0
    if part.losses != "none":
        sampler = UnpairedSampler(
            scans, profiles, TargetStatistics(encoder), config, voxel_mm, False,
            Pairing(budget.batch, slices_per_pair=1, seed=part.seed),
        )  # fmt: skip
        balance = balanced(network, loss, sampler.part(0))
        loss = replace(loss, lambda_art=balance.lambda_art)
        about |= {
            "lambda_ac": balance.lambda_ac,
            "lambda_art": balance.lambda_art,
            "gradient_norms": [balance.norm_ac, balance.norm_art],
            "epochs": round(budget.steps / sampler.steps_per_epoch, 2),
        }
        _fit(network, sampler, loss, budget, curve, watched, conditioned, folder, part, scans)
        slices = budget.steps * budget.batch
    extra = {"version": __version__, "use_closed_form": False, "seed": part.seed}
    save_model(folder / "model", network, encoder, extra)
    write_profiles(folder / "model", profiles.values(), voxel_mm)
    return Trained("ihf", folder / "model", slices, curve, about)


def _fit(
    network: IHFNetwork,
    sampler: UnpairedSampler,
    loss: UnpairedLoss,
    budget: Budget,
    curve: Curve,
    watched: Sequence[Shot],
    conditioned: Sequence[Conditioned],
    folder: Path,
    part: Part,
    scans: Sequence[PreparedScan],
) -> None:
    done = 0

    def loss_of(pairs: Pairs) -> Any:
        nonlocal done
        done = pairs.step + 1
        return loss(network, pairs)

    def look() -> float:
        psnr = _psnr(network, watched, conditioned)
        curve.add(done * budget.batch, psnr)
        return -psnr

    fit(
        network,
        sampler.part,
        loss_of,
        Schedule(
            budget.steps,
            budget.learning_rate,
            validate_every=budget.look_every,
            checkpoint_every=budget.look_every,
        ),
        folder,
        stage=_STAGE,
        fingerprint=_fingerprint(part, budget, scans),
        validate=look,
    )
    # `fit` leaves the weights of the best validation; the last ones stand in its checkpoint.
    state = load_file(folder / f"{_STAGE}_checkpoint.safetensors")
    prefix = "network."
    network.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    )
    network.eval()


def _psnr(
    network: IHFNetwork, watched: Sequence[Shot], conditioned: Sequence[Conditioned]
) -> float:
    """PSNR of the network's middle slices on validation scans."""
    made = []
    with torch.inference_mode():
        for scan, known in zip(watched, conditioned, strict=True):
            stack, condition = known.slices(scan.heights)
            output = stack + network.change(stack, condition)
            made.append(np.moveaxis(output[:, 1].numpy(), 0, -1))
    return watched_psnr(watched, made)


def _fingerprint(part: Part, budget: Budget, scans: Sequence[PreparedScan]) -> str:
    content = [revisions_of("training"), part.key, repr(budget), [scan.label for scan in scans]]
    digest = hashlib.sha256(json.dumps(content).encode())
    for scan in scans:
        digest.update(np.ascontiguousarray(scan.data).tobytes())
    return digest.hexdigest()


def train_rival(
    part: Part, cohort: Cohort, folder: Path, budget: Budget, vgg: Path | None
) -> Trained:
    """Train cGAN or SiMix on people who were scanned at every site; as `train_paper` otherwise."""
    shipped = load_encoder("mri")
    pairs = pair_scans(cohort.loaded("paired", part.modality), TARGET)
    curve, model = Curve(folder / budget.curve), folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    signed = part.method == "cgan"
    look = _looking(cohort.watched(part.modality), budget, curve, signed=signed)
    options: dict[str, Any] = {
        "target_site": TARGET,
        "max_steps": budget.steps,
        "width": budget.width,
        "learning_rate": budget.learning_rate,
        "seed": part.seed,
    }
    if part.method == "cgan":
        extra = fit_cgan(pairs, CGANOptions(**options), model, watch=look)
    else:
        encoder: Encoder = load_encoder("vgg", vgg) if vgg else shipped
        extra = fit_simix(pairs, SiMixOptions(**options), model, encoder=encoder, watch=look)
    write_profiles(model, cohort.profiles(part.modality, shipped).values(), cohort.plan.voxel_mm)
    (network,) = extra["networks"]
    about = {"departures": extra["departures"], "pairs": len(pairs)}
    about["epochs"] = round(network["steps"] / network["slices"], 2)
    return Trained(part.method, model, network["steps"], curve, about)


def _looking(
    watched: Sequence[Shot], budget: Budget, curve: Curve, *, signed: bool
) -> Callable[[int, nn.Module], None]:
    """What looks at a generator now and then."""

    def look(step: int, generator: nn.Module) -> None:
        if step % budget.look_every and step != budget.steps:
            return
        generator.eval()
        made = []
        for scan in watched:
            data, mask = (
                np.ascontiguousarray(values[:, :, scan.heights])
                for values in (np.minimum(scan.prepared.data, 1), scan.prepared.mask)
            )
            made.append(
                translate_volume(
                    generator, data, mask, multiple=int(generator.multiple), signed=signed
                )
            )
        generator.train()
        curve.add(step * budget.batch, watched_psnr(watched, made))

    return look
