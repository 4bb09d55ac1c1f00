"""How noisy a scan is, by deep white matter."""

from __future__ import annotations

import numpy as np

from bids_harmony.imaging.reference import reference_grid, reference_tissues

__all__ = ["deep_noise"]

Array = np.ndarray

#: Share of white matter in the template of voxels where next to nothing is seen but noise.
_DEEP = 0.9
#: Median of the absolute value of a normal variable of unit size.
_MEDIAN_OF_ABSOLUTE = 0.6745


def deep_noise(data: Array, mask: Array, voxel_mm: float) -> float:
    """Noise deep in white matter, where there is next to no anatomy.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scan on the reference grid.
    mask : (X, Y, Z) bool
    voxel_mm : float
        Spacing of the reference grid.

    Returns
    -------
    float
        Standard deviation in units of `data`: what differs from the mean of the four neighbours in
        the slice, as slices may be thick. 0 without brain.
    """
    around = np.zeros_like(data)
    inside = np.zeros_like(mask)
    middle = slice(1, -1), slice(1, -1)
    sides = ((slice(2, None), middle[1]), (slice(None, -2), middle[1]),
             (middle[0], slice(2, None)), (middle[0], slice(None, -2)))  # fmt: skip
    around[middle] = sum(data[side] for side in sides) / np.float32(4)
    inside[middle] = np.logical_and.reduce([mask[middle], *(mask[side] for side in sides)])
    deep = inside & (reference_tissues(reference_grid(voxel_mm))[1] > _DEEP)
    # A scan that covers none of it is as good as it is.
    chosen = deep if deep.any() else inside
    if not chosen.any():
        return 0.0
    rough = np.abs(data[chosen] - around[chosen])
    # The mean of the neighbours brings a quarter of the variance.
    return float(np.median(rough) / _MEDIAN_OF_ABSOLUTE / np.sqrt(5 / 4))
