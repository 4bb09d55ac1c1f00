"""Small made-up scans of two sites and two contrasts for the tests of the unpaired stage."""

from __future__ import annotations

import numpy as np

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.sites.prepared_scans import PreparedScan, build_profiles
from bids_harmony.training.pair_sampler import Pairing, UnpairedSampler
from bids_harmony.training.target_statistics import TargetStatistics

VOXEL_MM = 8.0
SHAPE = reference_grid(VOXEL_MM).shape
CONFIG = preset("paper", hidden=(4, 4), head_channels=4, embedding=8, projection=(8, 8))


def scan(subject: str, site: str, modality: str = "T1w") -> PreparedScan:
    """Smooth noise in a box; site B is darker."""
    rng = np.random.default_rng([*subject.encode(), *modality.encode()])
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4:-4, 4:-4, 1:-1] = True
    data = rng.uniform(0.4, 0.9, SHAPE).astype(np.float32) * (0.6 if site == "B" else 1.0)
    data = np.where(mask, data, 0).astype(np.float32)
    return PreparedScan(f"sub-{subject}_{modality}", subject, modality, site, data, mask, 1.0)


def scans(people: int = 2) -> list[PreparedScan]:
    """T1w and T2w of some people at A and of others at B."""
    return [
        scan(f"{site}{i}", site, modality)
        for site in "AB"
        for i in range(people)
        for modality in ("T1w", "T2w")
    ]


def encoder():
    """Seeded random features."""
    return load_encoder("random", widths=(4, 4, 4, 4))


def sampler(found=None, made=None, **pairing) -> UnpairedSampler:
    """A sampler of some scans; options of `Pairing`."""
    found, made = found or scans(), made or encoder()
    profiles = build_profiles(found, made, cells=1, size=2, voxel_mm=VOXEL_MM)
    options = {"batch": 6, "slices_per_pair": 1, **pairing}
    return UnpairedSampler(
        found, profiles, TargetStatistics(made), CONFIG, VOXEL_MM, False, Pairing(**options)
    )


def network(made) -> IHFNetwork:
    """A tiny network of the paper's form, calibrated."""
    import torch

    torch.manual_seed(0)
    model = IHFNetwork(CONFIG, made.code_length)
    model.calibrate([torch.from_numpy(np.moveaxis(scan("A0", "A").data[..., 3:6], 2, 0))[None]])
    return model
