"""The level train on made-up scans, for `torchrun`: ``python tests/training/tiny_level.py DIR``.

Only the first process knows the scans.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.resources import started_together
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.sites.prepared_scans import TrainingScan
from bids_harmony.training.adapt import train_model

VOXEL_MM = 8.0
TRAINING = TrainingSettings(
    preset="paper", start=False, twin_steps=0, adapt_steps=3, batch=5, slices_per_pair=1,
    accumulate=1, bank_size=1,
)  # fmt: skip


def write_scans(folder: Path) -> list[TrainingScan]:
    """Smooth noise in a box, two people at each of two sites."""
    shape, scans = reference_grid(VOXEL_MM).shape, []
    mask = np.zeros(shape, dtype=bool)
    mask[4:-4, 4:-4, 8:14] = True
    for i in range(4):
        data = np.random.default_rng(i).uniform(0.3, 0.9, shape) * mask
        path = folder / f"{i}.npz"
        np.savez(path, data=data.astype(np.float16), mask=mask, scale=1.0)
        scans.append(TrainingScan(f"sub-{i}_T1w", str(i), "T1w", "AB"[i % 2], path))
    return scans


def train(folder: Path, training: TrainingSettings = TRAINING) -> dict:
    """Train into ``FOLDER/models``."""
    folder.mkdir(exist_ok=True)
    first = started_together()[0] == 0
    settings = Settings(
        folder, folder, "train", voxel_mm=VOXEL_MM, nprocs=1, device="cpu", training=training
    )
    return train_model(write_scans(folder) if first else (), settings, folder / "models")


if __name__ == "__main__":
    train(Path(sys.argv[1]))
