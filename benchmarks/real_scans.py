"""The anatomical scans of the shared data: who was scanned where; prepared, and kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from travelling_real import has_scan, prepared_alone

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.prepared import Prepared

__all__ = ["VISITS", "Visit", "prepared_scans"]


@dataclass(frozen=True)
class Visit:
    """One visit of one person.

    Attributes
    ----------
    person, site : str
        Scans of one site share scanner and protocol.
    stem : str
        Files up to the modality, below the folder of the shared data.
    """

    person: str
    site: str
    stem: str

    @property
    def label(self) -> str:
        """Name of the visit."""
        return self.stem.rpartition("/")[2]


def _visit(person: str, session: int, site: str) -> Visit:
    folder = f"ms_longitudinal/sub-{person}/ses-{session}/anat"
    return Visit(person, site, f"{folder}/sub-{person}_ses-{session}")


def _patient(person: str) -> Visit:
    stem = f"ms_3t_mni/sub-{person}/anat/sub-{person}_space-MNI152_desc-brain"
    return Visit(person, "siemens-trio", stem)


def _volunteer(person: str, site: str, reconstruction: str = "") -> Visit:
    stem = f"multivendor/sub-{person}/anat/sub-{person}{reconstruction}"
    return Visit(person, site, stem)


#: Whole heads and one slab (uih01); sites are scanners with one protocol, as the data say.
VISITS = (
    _patient("cs07"),
    _patient("cs19"),
    _volunteer("philips04", "philips-kirby"),
    _visit("ms01", 1, "ms-a"),
    _visit("ms01", 2, "ms-b"),
    _visit("ms12", 1, "ms-b"),
    _visit("ms12", 2, "ms-b"),
    _volunteer("ge01", "ge-hdxt"),
    _volunteer("philips01", "philips-elition"),
    _volunteer("philips02", "philips-achieva"),
    _volunteer("philips03", "philips-intera"),
    _volunteer("siemens01", "siemens-norm", "_rec-norm"),
    _volunteer("siemens01", "siemens-raw", "_rec-raw"),
    _volunteer("uih01", "uih-770"),
)


def prepared_scans(
    modality: str, grid: ReferenceGrid, cache: Path
) -> Iterator[tuple[Visit, Prepared]]:
    """Every visit that has a contrast; prepared scans are kept in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    for scan in VISITS:
        if has_scan(scan.stem, modality):
            yield scan, prepared_alone(scan.stem, modality, grid, cache)
