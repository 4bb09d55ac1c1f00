"""Whether two sites are known from one and the same head.

A traveller tells two scanners apart far better than strangers do: what the person differs in from
others cancels. Names do not tell, since every study has its sub-01. Gyri do.
"""

from __future__ import annotations

import numpy as np

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.smoothing import masked_smooth
from bids_harmony.sites.image_profile import ImageProfile

__all__ = ["same_head"]

Array = np.ndarray

#: Gyri and sulci: finer than the one, coarser than the other, mm.
_FINE_MM, _COARSE_MM = 1.5, 5.0
#: Correlation of that detail, brains affinely registered: of one head at two scanners 0.80 to
#: 0.99, of two heads 0.2 to 0.66 (simulated and real scanners, ordinary contrasts).
_ONE_HEAD = 0.78
#: Of the smaller brain, so much must be seen in both.
_COMMON = 0.8


def same_head(first: ImageProfile, second: ImageProfile) -> bool:
    """Tell whether two profiles of one person each are of the same person.

    Parameters
    ----------
    first, second : ImageProfile
        On one reference grid, of one modality.

    Returns
    -------
    bool
        False where either has more than one person.
    """
    if any(len(set(own.scan_measures.people)) > 1 for own in (first, second)):
        return False
    both = first.mask & second.mask
    if both.sum() < _COMMON * min(first.mask.sum(), second.mask.sum()) or not both.any():
        return False
    own, other = (_gyri(profile)[both] for profile in (first, second))
    if not (own.std() > 0 and other.std() > 0):
        return False
    return bool(np.corrcoef(own, other)[0, 1] > _ONE_HEAD)


def _gyri(profile: ImageProfile) -> Array:
    data, mask = profile.mean_image, profile.mask
    voxel_mm = reference_grid(1.0).shape[0] / data.shape[0]
    fine, coarse = (masked_smooth(data, mask, mm / voxel_mm) for mm in (_FINE_MM, _COARSE_MM))
    return fine - coarse
