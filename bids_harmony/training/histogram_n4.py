"""Training histogram-n4: mean landmarks of N4-corrected scans."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bids_harmony import __version__
from bids_harmony.imaging.landmarks import landmarks
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods.histogram_n4 import without_bias
from bids_harmony.model.method_files import write_method
from bids_harmony.sites.prepared_scans import TrainingScan, profile_groups
from bids_harmony.training.profiled_scans import profile_scans

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["train_histogram_n4"]

_LOGGER = logging.getLogger(__name__)


def train_histogram_n4(
    scans: Sequence[TrainingScan], settings: Settings, out_dir: Path
) -> dict[str, Any]:
    """Average the landmarks of the scans that the profiles are made of; see `fit.fit_method`."""
    profiled = profile_scans("histogram-n4", scans, settings, out_dir)
    grid = reference_grid(settings.voxel_mm)
    tensors: dict[str, Tensor] = {}
    places = []
    groups = profile_groups(profiled.scans, settings.training.bank_size)
    for number, ((site, modality), group) in enumerate(groups.items()):
        found = [landmarks(without_bias(s.data, s.mask, grid), s.mask) for s in group]
        tensors[str(number)] = torch.from_numpy(np.mean(found, axis=0))
        places.append(
            {"site": site, "modality": modality, "scans": [scan.label for scan in group]}
        )
        _LOGGER.info("N4 landmarks of %s %s from %d scans", site, modality, len(group))
    extra = {"version": __version__, "landmarks": places}
    return write_method(out_dir, "histogram-n4", tensors, extra)["extra"]
