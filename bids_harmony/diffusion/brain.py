"""The brain in the mean b=0 image of a diffusion series."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.mask import BrainMask, brain_mask, is_skull_stripped
from bids_harmony.imaging.volume import Volume

__all__ = ["SLAB_MM", "brain_of_b0", "is_slab"]

MEDIAN_MM = 8.0
"""Radius of the median filter before the threshold: DIPY's four voxels, at the 2 mm of most
series."""
PASSES = 4
"""Times that the filter is applied, as in DIPY."""
SMALLEST_BRAIN_ML = 200.0
"""Less is no brain, not even a newborn's ..."""
SLAB_SHARE = 0.15
"""... but a slab of a few slices, where it fills so much of the field of view."""

SLAB_MM = 40.0
"""Thinner than this in any direction, a series shows too little of a head to find its place in the
template."""


def is_slab(volume: Volume) -> bool:
    """Whether an image is too thin to be registered to the template."""
    extent = np.array(volume.data.shape) * volume.voxel_mm
    return bool(extent.min() < SLAB_MM)


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
        inside = _without_holes(labels == 1 + np.bincount(labels.flat)[1:].argmax(), volume)
    millilitres = np.count_nonzero(inside) * abs(np.linalg.det(volume.affine[:3, :3])) / 1e3
    if millilitres < SMALLEST_BRAIN_ML and inside.mean() < SLAB_SHARE:
        raise ImageError(
            "no brain was found in the mean b=0 image",
            where=volume.where,
            expected=f"a brain of {SMALLEST_BRAIN_ML:g} ml and more, or a slab that it fills by "
            f"{SLAB_SHARE:.0%}",
            got=f"{millilitres:.0f} ml, {inside.mean():.0%}",
            hint="Give a brain mask with --derivatives.",
        )
    return BrainMask(np.asarray(inside, bool), "median-otsu")


def _without_holes(inside: np.ndarray, volume: Volume) -> np.ndarray:
    """Fill holes; those of a slab, which are open at its faces, slice by slice."""
    if not is_slab(volume):
        return ndimage.binary_fill_holes(inside)
    thin = int(np.argmin(np.array(inside.shape) * volume.voxel_mm))
    filled = [ndimage.binary_fill_holes(part) for part in np.moveaxis(inside, thin, 0)]
    return np.moveaxis(np.stack(filled), 0, thin)
