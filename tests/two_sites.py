"""Two simulated sites with profiles, on a coarse grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.sites.image_profile import ImageProfile, build_profile, standardize_codes

GRID = reference_grid(5.0)
CELLS = 4


@dataclass(frozen=True)
class World:
    encoder: Encoder
    profiles: dict[str, ImageProfile]
    person: Anatomy

    def scan(self, site: str, seed: int = 9) -> Prepared:
        """A person that no profile has seen."""
        data = acquire(self.person, SITES[site], "T1w", scan_seed=seed)
        scale = robust_scale(data, self.person.mask)
        return Prepared(data / scale, self.person.mask, scale, np.eye(4), GRID)

    def twin(self, site: str) -> np.ndarray:
        data = acquire(self.person, SITES[site], "T1w", scan_seed=0, noise=False, scan_field=False)
        return data / robust_scale(data, self.person.mask)


@pytest.fixture(scope="session")
def world() -> World:
    encoder = load_encoder("random", widths=(4, 4, 4, 4))
    people = [make_anatomy(GRID, 100 + i) for i in range(5)]
    profiles = {}
    for site in ("COI", "GE"):
        scans = []
        for person in people:
            data = acquire(person, SITES[site], "T1w", scan_seed=person.seed)
            scale = robust_scale(data, person.mask)
            scans.append((f"sub-{person.seed}", data / scale, person.mask, scale))
        profiles[site] = build_profile(
            site, "T1w", scans, encoder, cells=CELLS, voxel_mm=GRID.voxel_mm
        )
    return World(encoder, profiles, make_anatomy(GRID, 200))


@pytest.fixture
def moved_network(world) -> IHFNetwork:
    """A network that modulates; a fresh one's heads are zero, and it changes nothing."""
    torch.manual_seed(0)
    config = preset("local", grid=CELLS, hidden=(8, 8), head_channels=8, embedding=16,
                    projection=(32, 16), map_channels=8)  # fmt: skip
    network = IHFNetwork(config, world.encoder.code_length)
    standardize_codes(network, world.profiles.values())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return network.eval()
