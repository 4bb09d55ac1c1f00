"""The one door of the level train: any method, fitted to the same prepared scans."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bids_harmony import __version__
from bids_harmony.devices import resolve_device
from bids_harmony.exceptions import DataError, UsageError
from bids_harmony.imaging.landmarks import landmarks
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods.histogram import without_bias
from bids_harmony.methods.registry import METHOD_NEEDS, check_training_target
from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.fitted_files import write_fitted
from bids_harmony.model.presets import preset
from bids_harmony.sites.prepared_scans import (
    PreparedScan,
    TrainingScan,
    build_profiles,
    load_scans,
    profile_groups,
    usable_modalities,
)
from bids_harmony.sites.profile_files import write_profiles
from bids_harmony.training.paired import (
    CGANOptions,
    SiMixOptions,
    fit_cgan,
    fit_simix,
    fit_ssimh,
)
from bids_harmony.training.pairs import pair_scans

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["fit_method"]

_LOGGER = logging.getLogger(__name__)


def fit_method(
    method: str, scans: Sequence[TrainingScan], settings: Settings, out_dir: Path
) -> dict[str, Any]:
    """Fit a method and write its model folder.

    Parameters
    ----------
    method : str
        Name in `methods.METHOD_NEEDS`; `settings.method` is not looked at.
    scans : sequence of TrainingScan
        Never of somebody who will be scored. Supervised methods learn from those whose subject is
        also there at the target site.
    settings : Settings
        With a `target_site`, as the scans spell it, for a method that is fitted for one.
    out_dir : Path
        Gets ``model.json``, ``banks.safetensors`` (the sites, for every method) and, where the
        method has numbers of its own, ``model.safetensors``.

    Returns
    -------
    dict
        The ``extra`` of ``model.json``.

    Raises
    ------
    UsageError
        No such method, or no target site where one is needed.
    DataError
        Fewer than two sites in every modality; no scan of the target site; for supervised methods,
        no travelling subjects.
    """
    if method not in METHOD_NEEDS:
        raise UsageError("Unknown method", expected=", ".join(METHOD_NEEDS), got=repr(method))
    check_training_target(method, settings.target_site)
    if method == "ihf":
        from bids_harmony.training.adapt import train_model

        return train_model(scans, settings, out_dir)
    options = settings.training
    loaded = load_scans(scans, settings.voxel_mm)
    modalities = usable_modalities(loaded)
    _check_fittable(method, loaded, settings)
    torch.set_num_threads(max(1, settings.nprocs))
    encoder = load_encoder(options.encoder, options.encoder_file)  # type: ignore[arg-type]
    profiles = build_profiles(
        loaded,
        encoder,
        cells=preset(options.preset).aan.grid,
        size=options.bank_size,
        voxel_mm=settings.voxel_mm,
    )
    write_profiles(out_dir, profiles.values(), settings.voxel_mm)
    _LOGGER.info("%s: %d site profiles", method, len(profiles))
    if not METHOD_NEEDS[method].trained:
        return write_fitted(out_dir, method, {}, {"version": __version__})["extra"]
    if method == "histogram-n4":
        return _fit_n4(loaded, settings, out_dir)
    # Like ihf, a method learns only where there is something to harmonize between.
    learned = [scan for scan in loaded if scan.modality in modalities]
    target = str(settings.target_site)
    if method == "ssimh":
        return fit_ssimh(
            learned, target, out_dir, corner=options.ssimh_corner, seed=settings.random_seed
        )
    return _fit_pairs(method, learned, settings, encoder, out_dir)


def _check_fittable(method: str, scans: Sequence[PreparedScan], settings: Settings) -> None:
    """Refuse before anything is written."""
    needs, target = METHOD_NEEDS[method], str(settings.target_site)
    if needs.supervised:
        pair_scans(scans, target)
    elif needs.target_at_training and target not in {scan.site for scan in scans}:
        raise DataError(
            "There is no training scan of the target site",
            where="--target-site",
            expected="one of " + ", ".join(sorted({scan.site for scan in scans})),
            got=target,
        )


def _fit_n4(scans: Sequence[PreparedScan], settings: Settings, out_dir: Path) -> dict[str, Any]:
    """Mean landmarks of N4-corrected scans, of the same scans as the profiles."""
    grid = reference_grid(settings.voxel_mm)
    tensors: dict[str, Tensor] = {}
    places = []
    groups = profile_groups(scans, settings.training.bank_size)
    for number, ((site, modality), group) in enumerate(groups.items()):
        found = [landmarks(without_bias(s.data, s.mask, grid), s.mask) for s in group]
        tensors[str(number)] = torch.from_numpy(np.mean(found, axis=0))
        places.append(
            {"site": site, "modality": modality, "scans": [scan.label for scan in group]}
        )
        _LOGGER.info("N4 landmarks of %s %s from %d scans", site, modality, len(group))
    extra = {"version": __version__, "landmarks": places}
    return write_fitted(out_dir, "histogram-n4", tensors, extra)["extra"]


def _fit_pairs(
    method: str,
    scans: Sequence[PreparedScan],
    settings: Settings,
    encoder: Encoder,
    out_dir: Path,
) -> dict[str, Any]:
    options, target = settings.training, str(settings.target_site)
    pairs = pair_scans(scans, target)
    if not options.resume:
        for old in out_dir.glob(f"{method}-*_checkpoint.safetensors"):
            old.unlink()
    shared: dict[str, Any] = {
        "target_site": target,
        "max_steps": options.paired_steps,
        "max_seconds": options.train_minutes * 60 if options.train_minutes else math.inf,
        "width": options.paired_width,
        "per_site": options.paired_per_site,
        "seed": settings.random_seed,
        "device": str(resolve_device(settings.device)),
    }
    if method == "cgan":
        return fit_cgan(pairs, CGANOptions(epochs=options.cgan_epochs, **shared), out_dir)
    mixing = options.simix_mixing
    simix = SiMixOptions(epochs=options.simix_epochs, mixing=mixing, **shared)
    return fit_simix(pairs, simix, out_dir, encoder=encoder)
