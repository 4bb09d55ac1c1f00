"""Is the contrast within a scan kept: between its tissues, and of what is brighter than them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_harmony.imaging.smoothing import mean_around
from bids_harmony.imaging.tissues import segment_coarsely

__all__ = ["ContrastKept", "contrast_kept_by_tissue"]

#: Share of a tissue's contrast that must be left, and the most that it may grow to: sites differ
#: by less than a factor of three (`benchmarks/results/contrast_law.json`).
EDGE_BOUNDS = (1 / 3, 3.5)
#: The same of what is brighter than its surroundings in grey and white matter, as lesions are in
#: T2w and FLAIR.
BRIGHT_BOUNDS = (0.5, 3.0)
#: An edge of less (fraction of white matter) says nothing when it changes.
_LEAST_EDGE = 0.05
_SURE = 0.9
_FEWEST = 50
#: Bright voxels are those whose local contrast lies above this percentile.
_ABOVE = 98
#: Lesions are smaller than the voxels of a coarser grid.
_COARSEST_MM = 4.0
#: What is finer is noise, which a harmonized scan may have less of; what is wider is the field,
#: which may be exchanged. Standard deviations of Gaussians.
_FINE_MM, _WIDE_MM = 2.0, 10.0
#: No weight, and no image, is divided by less.
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class ContrastKept:
    """Local contrast after over before, after the gain of white matter.

    Attributes
    ----------
    gray_white, gray_csf : float
        Difference of the tissues' means; NaN where the scan shows none.
    above_white : float
        Slope of local contrast over the brightest of grey and white matter; NaN in T1w images,
        where these are vessels and fat, on a grid coarser than 4 mm, and where there are too few.
    """

    gray_white: float
    gray_csf: float
    above_white: float

    def losses(self) -> list[str]:
        """What is beyond its bounds, in words; empty where nothing is."""
        words = {
            "grey against white matter": (self.gray_white, EDGE_BOUNDS),
            "grey matter against CSF": (self.gray_csf, EDGE_BOUNDS),
            "what is brighter than the tissues": (self.above_white, BRIGHT_BOUNDS),
        }
        return [
            f"{name}: {value:.2f} of its contrast (allowed: {low:.2g} to {high:.2g})"
            for name, (value, (low, high)) in words.items()
            if np.isfinite(value) and not low <= value <= high
        ]


def contrast_kept_by_tissue(
    before: NDArray, after: NDArray, mask: NDArray[np.bool_], modality: str, voxel_mm: float
) -> ContrastKept:
    """Compare a scan before and after, by the tissues that are seen before.

    Parameters
    ----------
    before, after : (X, Y, Z) float
        On the reference grid.
    mask : (X, Y, Z) bool
    modality : str
    voxel_mm : float
        Spacing of the reference grid.

    Returns
    -------
    ContrastKept
    """
    seen = segment_coarsely(before, mask, voxel_mm)
    sure = seen.tissues.probabilities > _SURE
    if min(int(own.sum()) for own in sure) < _FEWEST:
        return ContrastKept(float("nan"), float("nan"), float("nan"))
    means = np.array([[i[seen.at][own].mean() for own in sure] for i in (before, after)])
    gain = means[1, 1] / means[0, 1]

    def edge(one: int, other: int) -> float:
        size = means[0, one] - means[0, other]
        if abs(size) < _LEAST_EDGE * means[0, 1] or gain <= 0:
            return float("nan")
        return float((means[1, one] - means[1, other]) / size / gain)

    bright = float("nan")
    if modality != "T1w" and voxel_mm <= _COARSEST_MM:
        labels = seen.tissues.labels
        for axis, size in enumerate(mask.shape):
            labels = np.take(labels.repeat(seen.at[axis].step, axis), range(size), axis)
        bright = _slope_above(before, after, mask & ((labels == 1) | (labels == 2)), voxel_mm)
    return ContrastKept(edge(0, 1), edge(0, 2), bright)


def _slope_above(before: NDArray, after: NDArray, tissue: NDArray, voxel_mm: float) -> float:
    """Least-squares slope of local contrasts where the scan's own are highest."""
    from skimage.measure import block_reduce

    # Finer voxels would tell no more, and cost seconds.
    step = max(1, round(_FINE_MM / voxel_mm))
    held, first, second = (
        block_reduce(np.where(tissue, image, 0).astype(np.float32), step, np.mean)
        for image in (tissue, before, after)
    )
    inside = held > 0.5
    x, y = (_local_contrast(image, held, step * voxel_mm)[inside] for image in (first, second))
    bright = x > np.percentile(x, _ABOVE)
    if int(bright.sum()) < _FEWEST:
        return float("nan")
    x, y = x[bright] - x[bright].mean(), y[bright] - y[bright].mean()
    spread = float(x @ x)
    return float(x @ y) / spread if spread > 0 else float("nan")


def _local_contrast(held: NDArray, weight: NDArray, voxel_mm: float) -> NDArray:
    """What voxels hold over its own mean around, minus 1, for each unit of weight."""
    near, around = (
        mean_around(held, weight, width / voxel_mm, least=_LEAST_WEIGHT)
        for width in (_FINE_MM, _WIDE_MM)
    )
    return np.asarray(near / np.maximum(around, _LEAST_WEIGHT) - 1, np.float64)
