"""Small simulated scans: on the reference grid, with nothing to register, and in native space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony import Harmonizer, SiteProfile, simulate
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire

MM = 6.0
GRID = reference_grid(MM)


@dataclass(frozen=True)
class OnGrid:
    """People on the reference grid, brain alone."""

    people: tuple[Anatomy, ...]

    def scan(self, person: int, site: str, modality: str = "T1w") -> np.ndarray:
        """(X, Y, Z) float32 in the scanner's units, 0 outside the brain."""
        return acquire(self.people[person], SITES[site], modality, scan_seed=person)


@pytest.fixture(scope="session")
def on_grid() -> OnGrid:
    return OnGrid(tuple(make_anatomy(GRID, 300 + i) for i in range(6)))


@pytest.fixture(scope="session")
def coi(on_grid) -> SiteProfile:
    """Five people at COI."""
    scans = [on_grid.scan(i, "COI") for i in range(5)]
    return SiteProfile.from_images(scans, name="COI", voxel_mm=MM)


@pytest.fixture(scope="session")
def ge(on_grid) -> SiteProfile:
    """The same at GE."""
    scans = [on_grid.scan(i, "GE") for i in range(5)]
    return SiteProfile.from_images(scans, name="GE", voxel_mm=MM)


@dataclass(frozen=True)
class Native:
    """Scans as scanners make them, on disk, and a harmonizer to COI that was fitted to them."""

    paths: tuple[Path, ...]
    sites: tuple[str, ...]
    harmonizer: Harmonizer

    def image(self, number: int) -> nib.Nifti1Image:
        return nib.load(self.paths[number])


@pytest.fixture(scope="session")
def native(tmp_path_factory) -> Native:
    folder = tmp_path_factory.mktemp("native")
    sites = ("COI", "COI", "GE")
    paths = []
    for person, site in enumerate(sites):
        paths.append(folder / f"sub-{person}_T1w.nii.gz")
        simulate(person, site, voxel_scale=MM).to_filename(paths[-1])
    harmonizer = Harmonizer("COI", voxel_mm=MM, sloppy=True).fit(paths, sites)
    return Native(tuple(paths), sites, harmonizer)
