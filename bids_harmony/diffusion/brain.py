"""The brain in the mean b=0 image of a diffusion series."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.mask import BrainMask, brain_mask, is_skull_stripped
from bids_harmony.imaging.volume import Volume

__all__ = ["brain_of_b0"]

MEDIAN_MM = 8.0
"""Radius of the median filter before the threshold: DIPY's four voxels, at the 2 mm of most
series."""
PASSES = 4
"""Times that the filter is applied, as in DIPY."""
SMALLEST_BRAIN_ML = 200.0
"""Less is no brain, not even a newborn's ..."""
SLAB_SHARE = 0.15
"""... but a slab of a few slices, where it fills so much of the field of view."""


def brain_of_b0(volume: Volume) -> BrainMask:
    """Mask the brain in a mean b=0 image.

    Parameters
    ----------
    volume : Volume
        Mean b=0, any unit.

    Returns
    -------
    BrainMask
        Kind "skull-stripped", the image's own foreground, where it shows a brain alone; else
        "median-otsu": Otsu's threshold of the median-filtered image (DIPY), its largest piece,
        holes filled.

    Raises
    ------
    ImageError
        No brain was found.
    """
    if is_skull_stripped(volume):
        return brain_mask(volume)
    # DIPY's import takes a second or more.
    from dipy.segment.mask import median_otsu

    radius = max(1, round(MEDIAN_MM / float(np.mean(volume.voxel_mm))))
    _, inside = median_otsu(volume.data, median_radius=radius, numpass=PASSES)
    labels, n_pieces = ndimage.label(inside)
    if n_pieces:
        inside = ndimage.binary_fill_holes(labels == 1 + np.bincount(labels.flat)[1:].argmax())
    millilitres = np.count_nonzero(inside) * abs(np.linalg.det(volume.affine[:3, :3])) / 1e3
    if millilitres < SMALLEST_BRAIN_ML and inside.mean() < SLAB_SHARE:
        raise ImageError(
            "no brain was found in the mean b=0 image",
            where=str(volume.path or "volume"),
            expected=f"a brain of {SMALLEST_BRAIN_ML:g} ml and more, or a slab that it fills by "
            f"{SLAB_SHARE:.0%}",
            got=f"{millilitres:.0f} ml, {inside.mean():.0%}",
            hint="Give a brain mask with --derivatives.",
        )
    return BrainMask(np.asarray(inside, bool), "median-otsu")
