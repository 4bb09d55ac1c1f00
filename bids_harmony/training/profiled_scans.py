"""What every training but that of IHF-Harmony starts with: scans and profiles of their sites."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bids_harmony.exceptions import DataError
from bids_harmony.methods.registry import find_method
from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.presets import preset
from bids_harmony.sites.prepared_scans import (
    PreparedScan,
    TrainingScan,
    build_profiles,
    load_scans,
    usable_modalities,
)
from bids_harmony.sites.profile_files import write_profiles
from bids_harmony.training.pairs import pair_scans

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["ProfiledScans", "profile_scans"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ProfiledScans:
    """Scans whose sites' profiles are written.

    Attributes
    ----------
    scans : list of PreparedScan
    modalities : list of str
        Those of at least two sites.
    encoder : Encoder
        Of the profiles' codes.
    """

    scans: list[PreparedScan]
    modalities: list[str]
    encoder: Encoder

    def to_learn_from(self) -> list[PreparedScan]:
        """Scans of modalities in which there is something to harmonize between."""
        return [scan for scan in self.scans if scan.modality in self.modalities]


def profile_scans(
    method: str, scans: Sequence[TrainingScan], settings: Settings, out_dir: Path
) -> ProfiledScans:
    """Read scans, see that the method can learn from them, and write the profiles of their sites.

    Parameters
    ----------
    method : str
    scans : sequence of TrainingScan
    settings : Settings
    out_dir : Path
        Gets ``banks.safetensors``.

    Raises
    ------
    DataError
        As for `fit.fit_method`; nothing is written then.
    """
    options = settings.training
    loaded = load_scans(scans, settings.voxel_mm)
    modalities = usable_modalities(loaded)
    _check_learnable(method, loaded, str(settings.target_site))
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
    return ProfiledScans(loaded, modalities, encoder)


def _check_learnable(method: str, scans: Sequence[PreparedScan], target: str) -> None:
    needs = find_method(method)
    if needs.supervised:
        pair_scans(scans, target)
    elif needs.target_at_training and target not in {scan.site for scan in scans}:
        raise DataError(
            "There is no training scan of the target site",
            where="--target-site",
            expected="one of " + ", ".join(sorted({scan.site for scan in scans})),
            got=target,
        )
