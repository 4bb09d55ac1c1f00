"""How much of the signal of lesions is left: several in one head, with and without them.

Unlike `lesions.contrast_kept`, nothing that a method does to healthy tissue excuses a loss.
Research software, not for diagnosis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.prepared import Prepared
from lab.lesions import Lesion, insert_lesion, lesion_contrast, place_lesion

__all__ = [
    "SignalKept",
    "insert_lesions",
    "place_lesions",
    "prepared_with_lesions",
    "signal_kept",
]

#: Radii of several lesions in one head, mm, in turn: 0.13 to 0.55 ml.
_RADII_MM = (5.0, 4.0, 4.0, 3.0, 3.0)


@dataclass(frozen=True)
class SignalKept:
    """What became of the signal that lesions add to a scan; no units.

    Attributes
    ----------
    signal_kept : float
        Added signal after over before, relative to the change of gain: 1 if lesions went through
        as the whole brain did, 0 if they were erased, above 1 if they were overdone.
    gain : float
        The change of gain.
    contrast_before, contrast_after : float
        Mean of all lesions over the mean of their rings, minus 1.
    """

    signal_kept: float
    gain: float
    contrast_before: float
    contrast_after: float


def place_lesions(
    white_matter: NDArray[np.bool_], voxel_mm: float, count: int, *, seed: int
) -> list[Lesion]:
    """Find places for lesions of several sizes; neither they nor their rings overlap.

    Parameters
    ----------
    white_matter : (X, Y, Z) bool
    voxel_mm : float
    count : int
    seed : int

    Returns
    -------
    list of Lesion
        Radii of 3 to 5 mm in turn.

    Raises
    ------
    DataError
        If there is not white matter enough.
    """
    left, placed = np.array(white_matter, dtype=bool), []
    for number in range(count):
        radius = _RADII_MM[number % len(_RADII_MM)]
        lesion = place_lesion(left, voxel_mm, radius_mm=radius, seed=seed + number)
        left &= (lesion.profile == 0) & ~lesion.ring
        placed.append(lesion)
    return placed


def insert_lesions(
    data: NDArray, lesions: Sequence[Lesion], contrast: float
) -> NDArray[np.float32]:
    """Add several lesions to a scan, each as `lesions.insert_lesion` does.

    Parameters
    ----------
    data : (X, Y, Z) float
        Any unit.
    lesions : sequence of Lesion
        On the grid of the scan.
    contrast : float
        Change relative to the mean of each lesion's ring; negative is darker.

    Returns
    -------
    (X, Y, Z) float32
        In the unit of `data`.
    """
    changed = data.astype(np.float32)
    for lesion in lesions:
        changed = insert_lesion(changed, lesion, contrast)
    return changed


def prepared_with_lesions(scan: Prepared, lesions: Sequence[Lesion], contrast: float) -> Prepared:
    """Add lesions to a prepared scan, scaled as it would be had it been scanned with them.

    Parameters
    ----------
    scan : Prepared
    lesions : sequence of Lesion
        On the reference grid.
    contrast : float
        As for `insert_lesions`.

    Returns
    -------
    Prepared
        Bright lesions move the percentile that scales a scan, and so `scale`.
    """
    data = insert_lesions(scan.data, lesions, contrast)
    brighter = robust_scale(data, scan.mask) / robust_scale(scan.data, scan.mask)
    shown = (data / np.float32(brighter)).astype(np.float32)
    return replace(scan, data=shown, scale=scan.scale * brighter)


def signal_kept(
    before: NDArray,
    before_with: NDArray,
    after: NDArray,
    after_with: NDArray,
    lesions: Sequence[Lesion],
    mask: NDArray[np.bool_],
) -> SignalKept:
    """Compare the signal that lesions add to a scan before and after harmonization.

    The signal is the mean, over the cores of all lesions, of the scan with lesions minus the same
    scan without. The change of gain is the factor by which the scan without lesions fits its
    harmonized image best (least squares over the brain).

    Parameters
    ----------
    before, before_with : (X, Y, Z) float
        The scan without and with lesions, both in one unit.
    after, after_with : (X, Y, Z) float
        Either harmonized, both in one unit.
    lesions : sequence of Lesion
        At least one.
    mask : (X, Y, Z) bool
        The brain.

    Returns
    -------
    SignalKept

    Raises
    ------
    DataError
        If the lesions add nothing to the scan.
    """
    core = np.any([lesion.core for lesion in lesions], axis=0)
    ring = np.any([lesion.ring for lesion in lesions], axis=0)
    added, left = (
        float((ill - well)[core].mean(dtype=np.float64))
        for well, ill in ((before, before_with), (after, after_with))
    )
    if added == 0:
        raise DataError("The lesions add no signal that could be kept", got="a mean change of 0")
    well, made = (data[mask].astype(np.float64) for data in (before, after))
    gain = float(well @ made / (well @ well))
    return SignalKept(
        signal_kept=left / added / gain,
        gain=gain,
        contrast_before=lesion_contrast(before_with, core, ring),
        contrast_after=lesion_contrast(after_with, core, ring),
    )
