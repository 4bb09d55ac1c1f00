"""A person at a simulated scanner, as an image in memory: examples run without data."""

from __future__ import annotations

from functools import lru_cache
from numbers import Integral, Real
from typing import TYPE_CHECKING

from bids_harmony.exceptions import UsageError

if TYPE_CHECKING:
    import nibabel as nib

    from bids_harmony.phantom.anatomy import Anatomy

__all__ = ["simulate"]

#: Spacings a scanner's voxels may be scaled by: finer has no anatomy, coarser no brain.
_SCALES = (0.8, 8.0)


def simulate(
    person: int = 1,
    scanner: str = "COI",
    modality: str = "T1w",
    *,
    scan: int = 0,
    voxel_scale: float = 1.0,
) -> nib.Nifti1Image:
    """Scan a simulated person at a simulated scanner.

    Parameters
    ----------
    person : int
        Who: the same number is the same person at every scanner. Not negative.
    scanner : str
        Where: a name in `phantom.scanner.SITES`, such as ``"COI"``, ``"GE"`` or ``"PHILIPS"``.
    modality : {"T1w", "T2w", "FLAIR"}
    scan : int
        Another number is another scan of that person there: pose, noise and receive field
        change. Not negative.
    voxel_scale : float
        Multiplies the edges of the scanner's voxels, which are about 1 mm; 0.8 to 8. With 4 a
        scan takes a second or two, with 1 about a minute.

    Returns
    -------
    nibabel.Nifti1Image
        (X, Y, Z) int16, in the scanner's arbitrary units and voxel order, in scanner space
        (RAS+ mm after its affine). A brain alone: there is no skull, and outside is 0.

    Raises
    ------
    UsageError
        No such scanner or modality, a negative number, or a scale out of range.

    Examples
    --------
    >>> image = simulate(person=3, scanner="GE", voxel_scale=6)
    >>> image.shape, image.get_data_dtype().name
    ((28, 34, 26), 'int16')
    """
    import numpy as np

    from bids_harmony.phantom.cohort import ORIENTATIONS, draw_pose, place, scan_image
    from bids_harmony.phantom.scanner import SITES, acquire

    if not isinstance(scanner, str) or scanner not in SITES:
        raise UsageError("Unknown simulated scanner", expected=", ".join(SITES), got=repr(scanner))
    machine = SITES[scanner]
    if modality not in machine.sequences:
        raise UsageError(
            "Unknown modality", expected=", ".join(machine.sequences), got=repr(modality)
        )
    low, high = _SCALES
    if not isinstance(voxel_scale, Real) or not low <= float(voxel_scale) <= high:
        raise UsageError(
            "A scale of voxels out of range",
            where="voxel_scale",
            expected=f"{low:g} to {high:g}",
            got=repr(voxel_scale),
        )
    if not all(isinstance(n, Integral) and n >= 0 for n in (person, scan)):
        raise UsageError(
            "People and scans are numbered from 0", got=f"person={person!r}, scan={scan!r}"
        )
    number = [person, list(SITES).index(scanner), list(machine.sequences).index(modality), scan]
    rng = np.random.default_rng([*number, 0x51])
    placed, affine = place(
        _anatomy(person, float(voxel_scale)),
        [voxel_scale * edge for edge in machine.voxel_mm],
        draw_pose(rng),
    )
    data = acquire(placed, machine, modality, scan_seed=int(rng.integers(2**31)))
    return scan_image(data, affine, ORIENTATIONS[scanner])


@lru_cache(maxsize=2)
def _anatomy(person: int, voxel_mm: float) -> Anatomy:
    """One person is often scanned several times in a row, and slow to draw."""
    from bids_harmony.imaging.reference import reference_grid
    from bids_harmony.phantom.anatomy import make_anatomy

    return make_anatomy(reference_grid(voxel_mm), person)
