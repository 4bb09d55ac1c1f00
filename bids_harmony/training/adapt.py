"""The level train: twins first, then the dataset's own scans, then the model folder."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bids_harmony import __version__
from bids_harmony.exceptions import DataError, ImageError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.slices import cut_stack
from bids_harmony.model.checkpoint import save_model
from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.training.bank_files import write_banks
from bids_harmony.training.pretrain import TwinScore, pretrain, score_twins
from bids_harmony.training.site_bank import SiteBank, build_bank
from bids_harmony.training.start import START_SHA256, read_start
from bids_harmony.training.trainer import Diverged, Schedule, fit
from bids_harmony.training.twins import TwinPlan, TwinPool, make_pool
from bids_harmony.training.unpaired import PreparedScan, UnpairedSampler, balanced, pair_losses

if TYPE_CHECKING:
    from bids_harmony.settings import Settings, TrainingSettings

__all__ = ["Adaptation", "TrainingScan", "train_model"]

_LOGGER = logging.getLogger(__name__)

#: Steps at which the held-out loss of the adaptation is measured; the same before and after.
_VALIDATION_STEPS = range(10_000_000, 10_000_012)
#: Adaptation may not cost more than this on unseen twins (relative RMSE).
_TWIN_TOLERANCE = 0.02


@dataclass(frozen=True)
class TrainingScan:
    """A prepared scan on disk.

    Attributes
    ----------
    label, subject, modality, site : str
    prepared : Path
        ``.npz`` with ``data`` (X, Y, Z), ``mask`` and ``scale``, on the reference grid.
    """

    label: str
    subject: str
    modality: str
    site: str
    prepared: Path


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
    held_out_before: float = math.nan
    held_out_after: float = math.nan
    twins_before: float = math.nan
    twins_after: float = math.nan


def train_model(
    scans: Sequence[TrainingScan], settings: Settings, out_dir: Path
) -> dict[str, Any]:
    """Train and write a model folder.

    Parameters
    ----------
    scans : sequence of TrainingScan
        Unpaired; never a scan of somebody who will be scored.
    settings : Settings
    out_dir : Path
        Gets ``model.json``, ``model.safetensors``, ``banks.safetensors``, logs and checkpoints.

    Returns
    -------
    dict
        The ``extra`` of ``model.json``.

    Raises
    ------
    DataError
        Fewer than two sites in every modality.
    """
    options = settings.training
    loaded = [_load(scan, settings.voxel_mm) for scan in sorted(scans, key=lambda s: s.label)]
    modalities = _modalities(loaded)
    out_dir.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(max(1, settings.nprocs))
    torch.manual_seed(settings.random_seed)
    encoder = load_encoder(options.encoder, options.encoder_file)  # type: ignore[arg-type]
    config = preset(options.preset)
    # The literal paper knows no closed form; relative conditioning builds on it.
    use_closed_form = config.aan.relative
    fingerprint = _fingerprint(loaded, settings)
    if not options.resume:
        for old in out_dir.glob("*_checkpoint.safetensors"):
            old.unlink()

    pool = _pool(settings, modalities, encoder, config.aan.grid) if options.twin_steps else None
    banks = _banks(loaded, encoder, config.aan.grid, options.bank_size)
    network = IHFNetwork(config, encoder.code_length)
    started = options.start and read_start(network, encoder)
    if not started:
        known = [*banks.values(), *(pool.banks.values() if pool else ())]
        _set_statistics(network, known)
        network.calibrate(_calibration(known))
    _LOGGER.info("starting from %s", "the shipped weights" if started else "nothing")
    log: list[dict[str, float]] = []
    score = None
    if pool is not None:
        seconds = options.train_minutes * 60 if options.train_minutes else math.inf
        log = pretrain(
            network,
            pool,
            Schedule(options.twin_steps, options.twin_learning_rate, max_seconds=seconds),
            out_dir,
            slices=options.batch,
            seed=settings.random_seed,
            use_closed_form=use_closed_form,
            fingerprint=fingerprint,
        )
        score = score_twins(network, pool, use_closed_form=use_closed_form)
        _LOGGER.info(
            "unseen twins, RMSE: raw %.4f, closed form %.4f, network %.4f",
            score.raw, score.closed_form, score.network,
        )  # fmt: skip
    adaptation = _adapt(
        network, encoder, loaded, pool, score, settings, out_dir, use_closed_form, fingerprint
    )
    _LOGGER.info("adaptation %s: %s", "kept" if adaptation.kept else "not kept", adaptation.reason)

    extra = {
        "version": __version__,
        "use_closed_form": use_closed_form,
        "voxel_mm": settings.voxel_mm,
        "seed": settings.random_seed,
        "settings": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()},
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "start": START_SHA256 if started else None,
        "twins": {
            "plan": asdict(pool.plan) if pool else None,
            "steps": len(log),
            "unseen": asdict(score) if score else None,
        },
        "adaptation": {k: _finite(v) for k, v in asdict(adaptation).items()},
        "banks": [
            {"site": b.site, "modality": b.modality, "scans": list(b.scans)}
            for b in banks.values()
        ],
    }
    write_banks(out_dir, banks.values(), settings.voxel_mm)
    save_model(out_dir, network, encoder, extra)
    return extra


def _load(scan: TrainingScan, voxel_mm: float) -> PreparedScan:
    with np.load(scan.prepared, allow_pickle=False) as file:
        data, mask, scale = file["data"].astype(np.float32), file["mask"], float(file["scale"])
    if data.shape != reference_grid(voxel_mm).shape:
        raise ImageError(
            "A prepared scan is on another grid",
            where=scan.label,
            expected=str(reference_grid(voxel_mm).shape),
            got=str(data.shape),
        )
    return PreparedScan(scan.label, scan.subject, scan.modality, scan.site, data, mask, scale)


def _modalities(scans: Sequence[PreparedScan]) -> list[str]:
    sites: dict[str, set[str]] = {}
    for scan in scans:
        sites.setdefault(scan.modality, set()).add(scan.site)
    usable = sorted(kind for kind, found in sites.items() if len(found) > 1)
    if not usable:
        raise DataError(
            "There is nothing to harmonize between",
            expected="scans of at least two sites in one modality",
            got="; ".join(f"{kind}: {', '.join(sorted(s))}" for kind, s in sites.items())
            or "none",
            hint="Select more subjects, or name sites with --site-map.",
        )
    return usable


def _banks(
    scans: Sequence[PreparedScan], encoder: Encoder, cells: int, size: int
) -> dict[tuple[str, str], SiteBank]:
    groups: dict[tuple[str, str], list[PreparedScan]] = {}
    for scan in scans:
        groups.setdefault((scan.site, scan.modality), []).append(scan)
    return {
        (site, modality): build_bank(
            site,
            modality,
            [(s.label, s.data, s.mask, s.scale) for s in group[:size]],
            encoder,
            cells=cells,
        )
        for (site, modality), group in sorted(groups.items())
    }


def _set_statistics(network: IHFNetwork, banks: Sequence[SiteBank]) -> None:
    codes = torch.from_numpy(np.concatenate([bank.codes for bank in banks]))
    network.set_code_statistics(codes.mean(0), codes.std(0))


def _pool(settings: Settings, modalities: list[str], encoder: Encoder, cells: int) -> TwinPool:
    options = settings.training
    plan = TwinPlan(
        training_people=options.twin_people,
        training_scanners=options.twin_scanners,
        modalities=tuple(modalities),
        voxel_mm=settings.voxel_mm,
        seed=settings.random_seed,
    )
    return make_pool(plan, encoder, cells=cells, threads=max(1, settings.nprocs))


def _calibration(banks: Sequence[SiteBank]) -> list[torch.Tensor]:
    """About sixteen slices of the sites, for the reference statistics of `replace`."""
    images = [bank.mean_image for bank in banks[:16]]
    middle = images[0].shape[2] // 2
    return [torch.from_numpy(cut_stack(image, [middle])) for image in images]


def _split(scans: Sequence[PreparedScan]) -> tuple[list[PreparedScan], list[PreparedScan]]:
    """Hold out one person of every site that has at least three."""
    people: dict[str, list[str]] = {}
    for scan in scans:
        group = people.setdefault(scan.site, [])
        if scan.subject not in group:
            group.append(scan.subject)
    held = {sorted(group)[-1] for group in people.values() if len(group) > 2}
    return [s for s in scans if s.subject not in held], [s for s in scans if s.subject in held]


def _adapt(
    network: IHFNetwork,
    encoder: Encoder,
    scans: Sequence[PreparedScan],
    pool: TwinPool | None,
    score: TwinScore | None,
    settings: Settings,
    out_dir: Path,
    use_closed_form: bool,
    fingerprint: str,
) -> Adaptation:
    options = settings.training
    if options.adapt_steps == 0:
        return Adaptation(False, False, "no steps were asked for")
    seen, held = _split(scans)
    # Banks without the held-out people, so that validation stays honest.
    banks = _banks(seen, encoder, network.config.aan.grid, options.bank_size)

    def sampler(group: Sequence[PreparedScan]) -> UnpairedSampler:
        return UnpairedSampler(
            group, banks, network, encoder, settings.voxel_mm, use_closed_form, options.batch,
            settings.random_seed,
        )  # fmt: skip

    training, validation = sampler(seen), sampler(held)
    if not (training.possible and validation.possible):
        return Adaptation(
            False, False, "too few people to hold some out: three per site are needed"
        )
    balance = balanced(
        network,
        encoder,
        training.draw(0),
        lambda_ac=options.lambda_ac,
        lambda_art=options.lambda_art,
        keep=options.keep,
    )

    def weighted(pair: Any, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        anatomical, artefact, _ = pair_losses(network, encoder, pair, keep=options.keep, seed=seed)
        loss = balance.lambda_ac * anatomical + balance.lambda_art * artefact
        return loss, {
            "anatomical": float(anatomical.detach()),
            "artefact": float(artefact.detach()),
        }

    def held_out() -> float:
        with torch.inference_mode():
            losses = [float(weighted(validation.draw(k), k)[0]) for k in _VALIDATION_STEPS]
        return float(np.mean(losses))

    before_weights = {k: v.clone() for k, v in network.state_dict().items()}
    before = held_out()
    try:
        fit(
            network,
            training.draw,
            lambda pair: weighted(pair, settings.random_seed),
            Schedule(options.adapt_steps, options.learning_rate),
            out_dir,
            stage="adaptation",
            fingerprint=fingerprint,
        )
    except Diverged as error:
        network.load_state_dict(before_weights)
        network.eval()
        return Adaptation(True, False, str(error), balance.lambda_ac, balance.lambda_art, before)
    after = held_out()
    twins_before = twins_after = math.nan
    if pool is not None and score is not None:
        twins_before = score.network
        twins_after = score_twins(network, pool, use_closed_form=use_closed_form).network
    # Without twins, the held-out loss alone decides (a comparison with nan is false).
    kept = after < before and not twins_after > twins_before * (1 + _TWIN_TOLERANCE)
    if not kept:
        network.load_state_dict(before_weights)
    reason = f"held-out loss {before:.4f} -> {after:.4f}"
    if score is not None:
        reason += f", unseen twins {twins_before:.4f} -> {twins_after:.4f}"
    return Adaptation(
        True, kept, reason, balance.lambda_ac, balance.lambda_art, before, after,
        twins_before, twins_after,
    )  # fmt: skip


def _fingerprint(scans: Sequence[PreparedScan], settings: Settings) -> str:
    options: TrainingSettings = settings.training
    content = {
        "version": __version__,
        "seed": settings.random_seed,
        "voxel_mm": settings.voxel_mm,
        "training": {k: str(v) for k, v in asdict(options).items() if k != "resume"},
        "scans": [[s.label, s.site, hashlib.sha256(s.data.tobytes()).hexdigest()] for s in scans],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
