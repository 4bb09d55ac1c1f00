"""What a job of a cluster needs: processors, memory and time, from the headers of its scans.

The estimate is simple and on the safe side: a job with too much memory waits a little, one with
too little dies. Memory is that of the largest step, times the steps at once; time is the measured
processor time of a 1 mm head or a diffusion series, times `SAFETY`. Larger images cost more in
proportion to their voxels; smaller ones are counted as if they were of the usual size.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.workflows.anat import HEAD_GIB, HEAD_VOXELS
from bids_harmony.workflows.dwi import SERIES_GIB, SERIES_VOXELS

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.settings import Settings

__all__ = ["SAFETY", "Resources", "group_needs", "participant_needs", "train_needs"]

logger = logging.getLogger(__name__)

# Processor seconds of the whole way of a scan, measured on one core of a server
# (benchmarks/participant.py, benchmarks/diffusion_speed.py) and rounded up.
_HEAD_SECONDS, _SERIES_SECONDS = 80.0, 150.0
# Start of the program and look at the dataset.
_START_SECONDS = 60.0
# Of one slice in one training step, forward and back, on one processor without bf16.
_SLICE_SECONDS = 0.3
# Scanners fitted to one site and modality (benchmarks/own_sites.py), and the pool of simulated
# people and scanners of one modality.
_FIT_SECONDS, _POOL_SECONDS = 60.0, 200.0
_SLICES_PER_SCAN = 150
#: Nodes of clusters are slower, shared, and read over a network: time is this many times the
#: measured one, memory a quarter more.
SAFETY = 4
_MEMORY_SAFETY = 1.25
# The program itself beside its workers, GiB.
_OWN_GIB = 1.0
# A prepared scan in training: 1 mm grid, image and what is derived from it, GiB.
_PREPARED_GIB = 0.15
# No cluster lets a job run longer without being asked.
_MOST_MINUTES = 7 * 24 * 60
_MOST_CPUS, _LEAST_CPUS = 8, 2


@dataclass(frozen=True)
class Resources:
    """What to ask a cluster for."""

    cpus: int
    memory_mb: int
    minutes: int

    @property
    def time(self) -> str:
        """Time limit as SLURM reads it: ``days-hours:minutes:seconds``."""
        hours, minutes = divmod(self.minutes, 60)
        return f"{hours // 24}-{hours % 24:02d}:{minutes:02d}:00"


def participant_needs(
    units: Sequence[Sequence[Scan]],
    settings: Settings,
    *,
    unknown: int,
    cpus: int | None = None,
    memory_mb: int | None = None,
) -> Resources:
    """What the largest of the units needs at the level participant.

    Parameters
    ----------
    units : sequence of sequence of Scan
        The scans of each job.
    settings : Settings
    unknown : int
        Sites and modalities that the model does not know. The job that comes first looks at up to
        ``bank_scans`` scans of each, and all others wait for it.
    cpus, memory_mb : int, optional
        What the user asked for.
    """
    cpus = cpus or min(_MOST_CPUS, max(_LEAST_CPUS, *(len(unit) for unit in units)))
    largest = max(units, key=lambda unit: sum(map(_seconds, unit)))
    waiting = unknown * settings.bank_scans * max(map(_base_seconds, largest))
    seconds = sum(map(_seconds, largest)) + waiting
    gib = max(_at_once(unit, cpus) for unit in units)
    return Resources(cpus, memory_mb or _memory_mb(gib), _minutes(seconds / cpus))


def train_needs(
    scans: Sequence[Scan],
    settings: Settings,
    *,
    cpus: int | None = None,
    memory_mb: int | None = None,
) -> Resources:
    """What the level train needs on processors; on a graphics card it takes far less time.

    Parameters
    ----------
    scans : sequence of Scan
        Those to train on.
    settings : Settings
    cpus, memory_mb : int, optional
        What the user asked for.
    """
    cpus = cpus or _MOST_CPUS
    training = settings.training
    steps = training.adapt_steps
    if training.epochs:
        steps = ceil(training.epochs * len(scans) * _SLICES_PER_SCAN / training.batch)
    seconds = sum(map(_seconds, scans))
    seconds += (training.twin_steps + steps) * training.batch * _SLICE_SECONDS
    if training.twin_steps:
        sites = {(scan.site.site, scan.modality) for scan in scans}
        seconds += _POOL_SECONDS * len({modality for _, modality in sites})
        seconds += _FIT_SECONDS * len(sites) * bool(training.own_twins)
    gib = _at_once(scans, cpus) + _PREPARED_GIB * len(scans)
    return Resources(cpus, memory_mb or _memory_mb(gib), _minutes(seconds / cpus))


def group_needs(n_scans: int) -> Resources:
    """What the level group needs: it reads tables and a few images of each scan."""
    return Resources(_LEAST_CPUS, _memory_mb(4.0), _minutes(5.0 * n_scans))


def _at_once(scans: Collection[Scan], cpus: int) -> float:
    """GiB of the steps that run side by side, the largest first."""
    return sum(sorted(map(_gib, scans), reverse=True)[:cpus])


def _gib(scan: Scan) -> float:
    return (SERIES_GIB if scan.modality == "dwi" else HEAD_GIB) * _size(scan)


def _base_seconds(scan: Scan) -> float:
    return _SERIES_SECONDS if scan.modality == "dwi" else _HEAD_SECONDS


def _seconds(scan: Scan) -> float:
    return _base_seconds(scan) * _size(scan)


def _size(scan: Scan) -> float:
    """Voxels of a scan by those of the usual one, at least 1."""
    usual = SERIES_VOXELS if scan.modality == "dwi" else HEAD_VOXELS
    return max(1.0, _voxels(scan.path) / usual)


def _voxels(path: Path) -> int:
    """Voxels as the header tells; 0 where it cannot be read, which the job itself will say."""
    import nibabel as nib

    try:
        return prod(nib.load(path).shape)  # type: ignore[attr-defined]
    except Exception as error:
        # nibabel raises what zlib, struct and the file system bring.
        logger.warning("%s: counted as of the usual size: %s", path.name, error)
        return 0


def _memory_mb(gib: float) -> int:
    """MiB in whole GiB, with the program's own and something to spare."""
    return ceil((_OWN_GIB + gib) * _MEMORY_SAFETY) * 1024


def _minutes(seconds: float) -> int:
    """Time limit in steps of ten minutes, at least half an hour."""
    minutes = (_START_SECONDS + seconds) * SAFETY / 60
    return min(_MOST_MINUTES, max(30, ceil(minutes / 10) * 10))
