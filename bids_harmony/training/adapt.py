"""The level train: twins first, then the dataset's own scans if asked, then the model folder."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bids_harmony import __version__
from bids_harmony.devices import resolve_device
from bids_harmony.imaging.slices import cut_stack
from bids_harmony.model.checkpoint import load_members, save_model
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import NetworkConfig, preset
from bids_harmony.model.shipped import SHIPPED_MODEL, SHIPPED_SHA256
from bids_harmony.revisions import revisions_of
from bids_harmony.sites.image_profile import standardize_codes
from bids_harmony.sites.prepared_scans import (
    PreparedScan,
    TrainingScan,
    build_profiles,
    load_scans,
    usable_modalities,
)
from bids_harmony.sites.profile_files import write_profiles
from bids_harmony.sites.training_range import read_ranges, write_ranges
from bids_harmony.training.adaptation import TrainingRun, Twins, adapt
from bids_harmony.training.distributed import Ranks, joined, local_device
from bids_harmony.training.pretrain import score_twins
from bids_harmony.training.start import read_start
from bids_harmony.training.twin_stage import NO_TWINS, draw_pool, train_on_twins

if TYPE_CHECKING:
    from bids_harmony.settings import Settings, TrainingSettings

__all__ = ["calibration_slices", "network_config", "train_model"]

_LOGGER = logging.getLogger(__name__)


def train_model(
    scans: Sequence[TrainingScan], settings: Settings, out_dir: Path
) -> dict[str, Any]:
    """Train and write a model folder.

    Under ``torchrun`` every process calls this; see `bids_harmony.training.distributed`.

    Parameters
    ----------
    scans : sequence of TrainingScan
        Unpaired; never a scan of somebody who will be scored. Those of the first process count.
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
    device = local_device(resolve_device(settings.device))
    with joined(device) as ranks:
        # The others come with nothing: the first prepared the scans.
        scans, out_dir = ranks.from_first((list(scans), out_dir))
        return _train(scans, settings, out_dir, device, ranks)


def _train(
    scans: Sequence[TrainingScan],
    settings: Settings,
    out_dir: Path,
    device: torch.device,
    ranks: Ranks,
) -> dict[str, Any]:
    options = settings.training
    loaded = load_scans(scans, settings.voxel_mm)
    modalities = usable_modalities(loaded)
    config = network_config(options)
    torch.set_num_threads(max(1, settings.nprocs // ranks.count))
    torch.manual_seed(settings.random_seed)
    encoder = load_encoder(options.encoder, options.encoder_file)  # type: ignore[arg-type]
    encoder.to(device)
    closed_form = config.aan.relative if options.closed_form is None else options.closed_form
    run = TrainingRun(
        loaded, encoder, settings, out_dir, closed_form, _fingerprint(loaded, settings), ranks
    )
    if ranks.first:
        out_dir.mkdir(parents=True, exist_ok=True)
        for old in () if options.resume else out_dir.glob("*_checkpoint.safetensors"):
            old.unlink()
    ranks.wait()

    profiles = build_profiles(
        loaded,
        encoder,
        cells=config.aan.grid,
        size=options.bank_size,
        voxel_mm=settings.voxel_mm,
    )
    pool = draw_pool(run, modalities, profiles, config.aan.grid) if options.twin_steps else None
    network = IHFNetwork(config, encoder.code_length)
    started = options.start and read_start(network, encoder)
    if not started:
        standardize_codes(network, ({**profiles, **pool.profiles} if pool else profiles).values())
        network.calibrate(calibration_slices(loaded))
    network.to(device)
    _LOGGER.info("starting from %s", "the shipped weights" if started else "nothing")
    twins = train_on_twins(network, pool, run, started) if pool is not None else None
    judge = None
    if twins is not None:
        judge = Twins(
            twins.kept_score.network,
            lambda: score_twins(network, twins.anyone, use_closed_form=closed_form).network,
        )
    adaptation = adapt(network, run, twins=judge, whole=not (started or twins))
    _LOGGER.info("adaptation %s: %s", "kept" if adaptation.kept else "not kept", adaptation.reason)

    extra = {
        "version": __version__,
        "use_closed_form": closed_form,
        "voxel_mm": settings.voxel_mm,
        "seed": settings.random_seed,
        "settings": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()},
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "start": SHIPPED_SHA256 if started else None,
        "processes": ranks.count,
        "twins": twins.about() if twins else NO_TWINS,
        "adaptation": {k: _finite(v) for k, v in asdict(adaptation).items()},
        "banks": [
            {"site": b.site, "modality": b.modality, "scans": list(b.scans)}
            for b in profiles.values()
        ],
    }
    if ranks.first:
        write_profiles(out_dir, profiles.values(), settings.voxel_mm)
        # Training moves the first member; the others keep what they know of other scanners.
        others = load_members(SHIPPED_MODEL, device)[0][1:] if started else ()
        save_model(out_dir, network, encoder, extra, others=others)
        if started:
            # Training added to the range and took nothing away.
            write_ranges(out_dir, read_ranges(SHIPPED_MODEL))
    ranks.wait()
    return extra


def network_config(options: TrainingSettings) -> NetworkConfig:
    """Return the preset with the changes that were asked for.

    Parameters
    ----------
    options : TrainingSettings

    Raises
    ------
    UsageError
        The preset is unknown, or a network cannot be built this way.
    """
    asked = {
        "relative": options.relative,
        "mode": options.aan,
        "grid": options.grid,
        "recursion": options.recursion,
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    if options.relative:
        # A difference of linear predictions would not see the content.
        changes["fuse"] = True
    return preset(options.preset, **changes)


def calibration_slices(scans: Sequence[PreparedScan]) -> list[torch.Tensor]:
    """About sixteen slices over all scans, for the reference statistics of `replace`.

    Parameters
    ----------
    scans : sequence of PreparedScan

    Returns
    -------
    list of (1, 3, X, Y) tensors
        Sixteen, from low to high.
    """
    usable = [scan for scan in scans if len(scan.tall)]
    chosen = [usable[i] for i in np.linspace(0, len(usable) - 1, 16).round().astype(int)]
    shares = np.linspace(0.2, 0.8, 16)
    return [
        torch.from_numpy(cut_stack(scan.data, [scan.tall[int(share * len(scan.tall))]]))
        for scan, share in zip(chosen, shares, strict=True)
    ]


def _fingerprint(scans: Sequence[PreparedScan], settings: Settings) -> str:
    options: TrainingSettings = settings.training
    content = {
        "revisions": revisions_of("training"),
        "seed": settings.random_seed,
        "voxel_mm": settings.voxel_mm,
        "training": {k: str(v) for k, v in asdict(options).items() if k != "resume"},
        "scans": [[s.label, s.site, hashlib.sha256(s.data.tobytes()).hexdigest()] for s in scans],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
