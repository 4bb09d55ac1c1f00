"""The people of the biology benchmark as they lie on disk; any build of the program reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid

__all__ = ["Person", "read_cohort", "read_person"]

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Person:
    """One person, and every scan that was taken of them.

    Attributes
    ----------
    name : str
    mask, lesion : (X, Y, Z) bool
    fractions : (3, X, Y, Z) float32
        True grey matter, white matter, CSF.
    grid : ReferenceGrid
    scans : mapping
        The file: ``T1w-GE`` and so on, voxels of the mask; ``T1w-twin`` is noise-free.
    """

    name: str
    mask: Array
    lesion: Array
    fractions: Array
    grid: ReferenceGrid
    scans: Any

    def volume(self, voxels: Array) -> Array:
        """Voxels of the mask as a volume, 0 outside."""
        full = np.zeros(self.mask.shape, np.float32)
        full[self.mask] = voxels
        return full

    def image(self, modality: str, site: str) -> Array:
        """A scan, or the ``twin``, (X, Y, Z) float32."""
        return self.volume(self.scans[f"{modality}-{site}"])

    def prepared(self, modality: str, site: str) -> Prepared:
        """A scan as a method takes it."""
        scale = float(self.scans[f"{modality}-{site}-scale"])
        return Prepared(self.image(modality, site), self.mask, scale, np.eye(4), self.grid)


def read_cohort(folder: Path) -> dict[str, Any]:
    """What ``cohort.json`` says."""
    return json.loads((folder / "cohort.json").read_text(encoding="utf-8"))


def read_person(folder: Path, name: str) -> Person:
    """One person; scans are read from the file as they are asked for."""
    voxel_mm = read_cohort(folder)["draw"]["voxel_mm"]
    file = np.load(folder / "people" / f"{name}.npz", allow_pickle=False)
    shape = tuple(int(n) for n in file["shape"])
    mask = np.unpackbits(file["mask"])[: np.prod(shape)].reshape(shape).astype(bool)
    lesion = np.zeros(shape, bool)
    lesion[mask] = np.unpackbits(file["lesion"])[: mask.sum()].astype(bool)
    fractions = np.zeros((3, *shape), np.float32)
    fractions[:, mask] = file["fractions"]
    return Person(name, mask, lesion, fractions, reference_grid(voxel_mm), file)
