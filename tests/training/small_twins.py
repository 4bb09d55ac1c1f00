"""A few small people, scanners and profiles for twins, and an encoder of random weights."""

from __future__ import annotations

from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.presets import preset
from bids_harmony.training.twin_pool import TwinPlan

CONFIG = preset("local", grid=2, hidden=(4, 4), head_channels=4, embedding=8, projection=(8, 8),
                map_channels=4)  # fmt: skip
PLAN = TwinPlan(
    training_people=3,
    profile_people=2,
    validation_people=1,
    training_scanners=3,
    validation_scanners=2,
    modalities=("T1w",),
    voxel_mm=6.0,
)


def random_encoder() -> Encoder:
    """The same at each call."""
    return load_encoder("random", widths=(4, 4, 4, 4))
