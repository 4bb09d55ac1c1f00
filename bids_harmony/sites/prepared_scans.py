"""The scans that a method is fitted to, and the site profiles that every method has of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bids_harmony.exceptions import DataError, ImageError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import Encoder
from bids_harmony.sites.image_profile import ImageProfile, build_profile

__all__ = [
    "PreparedScan",
    "TrainingScan",
    "profile_groups",
    "build_profiles",
    "load_scans",
    "usable_modalities",
]


Array = np.ndarray


@dataclass(frozen=True)
class TrainingScan:
    """A prepared scan on disk.

    Attributes
    ----------
    label, subject, modality, site : str
    prepared : Path
        ``.npz`` with ``data`` (X, Y, Z), ``mask`` and ``scale``, on the reference grid.
    """

    label: str
    subject: str
    modality: str
    site: str
    prepared: Path


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A scan on the reference grid, as training holds it.

    Attributes
    ----------
    label, subject, modality, site : str
    data : (X, Y, Z) float32
        Scaled, 0 outside the mask.
    mask : (X, Y, Z) bool
    scale : float
    """

    label: str
    subject: str
    modality: str
    site: str
    data: Array
    mask: Array
    scale: float

    @cached_property
    def tall(self) -> Array:
        """Slices with at least 5 % of brain."""
        return np.flatnonzero(self.mask.mean(axis=(0, 1)) >= 0.05)

    def nearest(self, heights: Array) -> Array:
        """Of every height, the nearest slice with brain."""
        return np.clip(heights, self.tall[0], self.tall[-1])


def load_scans(scans: Sequence[TrainingScan], voxel_mm: float) -> list[PreparedScan]:
    """Read prepared scans, sorted by label, so that their order does not matter.

    Parameters
    ----------
    scans : sequence of TrainingScan
    voxel_mm : float
        Spacing of the reference grid that they must be on.

    Raises
    ------
    ImageError
        A scan is on another grid.
    """
    return [_load(scan, voxel_mm) for scan in sorted(scans, key=lambda s: s.label)]


def _load(scan: TrainingScan, voxel_mm: float) -> PreparedScan:
    with np.load(scan.prepared, allow_pickle=False) as file:
        data, mask, scale = file["data"].astype(np.float32), file["mask"], float(file["scale"])
    if data.shape != reference_grid(voxel_mm).shape:
        raise ImageError(
            "A prepared scan is on another grid",
            where=scan.label,
            expected=str(reference_grid(voxel_mm).shape),
            got=str(data.shape),
        )
    return PreparedScan(scan.label, scan.subject, scan.modality, scan.site, data, mask, scale)


def usable_modalities(scans: Sequence[PreparedScan]) -> list[str]:
    """Modalities with scans of at least two sites, sorted.

    Raises
    ------
    DataError
        There are none.
    """
    sites: dict[str, set[str]] = {}
    for scan in scans:
        sites.setdefault(scan.modality, set()).add(scan.site)
    usable = sorted(kind for kind, found in sites.items() if len(found) > 1)
    if not usable:
        raise DataError(
            "There is nothing to harmonize between",
            expected="scans of at least two sites in one modality",
            got="; ".join(f"{kind}: {', '.join(sorted(s))}" for kind, s in sites.items())
            or "none",
            hint="Select more subjects, or name sites with --site-map.",
        )
    return usable


def profile_groups(
    scans: Sequence[PreparedScan], size: int
) -> dict[tuple[str, str], list[PreparedScan]]:
    """The first `size` scans of every (site, modality), sorted by site."""
    groups: dict[tuple[str, str], list[PreparedScan]] = {}
    for scan in scans:
        groups.setdefault((scan.site, scan.modality), []).append(scan)
    return {key: group[:size] for key, group in sorted(groups.items())}


def build_profiles(
    scans: Sequence[PreparedScan], encoder: Encoder, *, cells: int, size: int, voxel_mm: float
) -> dict[tuple[str, str], ImageProfile]:
    """Build the profile of every (site, modality).

    Parameters
    ----------
    scans : sequence of PreparedScan
        On one reference grid.
    encoder : Encoder
    cells : int
        g of the g x g grid on which fine detail is measured.
    size : int
        Scans behind a profile, at most.
    voxel_mm : float
        Spacing of the reference grid.
    """
    return {
        (site, modality): build_profile(
            site,
            modality,
            [(s.label, s.data, s.mask, s.scale) for s in group],
            encoder,
            cells=cells,
            voxel_mm=voxel_mm,
        )
        for (site, modality), group in profile_groups(scans, size).items()
    }
