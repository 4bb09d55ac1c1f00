"""Is the contrast within a scan kept: between its tissues, and of what is brighter than them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.imaging.tissues import TissueMap, segment_tissues

__all__ = ["ContrastKept", "contrast_kept_by_tissue"]

#: Share of a tissue's contrast that must be left, and the most that it may grow to: sites differ
#: by less than a factor of three (`benchmarks/results/contrast_law.json`).
EDGE_BOUNDS = (1 / 3, 3.5)
#: The same of what is brighter than grey and white matter, as lesions are in T2w and FLAIR.
BRIGHT_BOUNDS = (0.5, 2.0)
#: An edge of less (fraction of white matter) says nothing when it changes.
_LEAST_EDGE = 0.05
_LATTICE_MM = 4.0
_SURE = 0.9
_FEWEST = 50
#: Bright voxels are those above this percentile of the brighter of grey and white matter.
_ABOVE = 95
#: Lesions are smaller than the voxels of a coarser grid.
_COARSEST_MM = 4.0
_SMOOTHING_MM = 2.0


@dataclass(frozen=True)
class ContrastKept:
    """Local contrast after over before, after the gain of white matter.

    Attributes
    ----------
    gray_white, gray_csf : float
        Difference of the tissues' means; NaN where the scan shows none.
    above_white : float
        Slope of the map over voxels brighter than grey and white matter; NaN in T1w images, where
        these are vessels and fat, on a grid coarser than 4 mm, and where there are too few.
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
    step = max(1, round(_LATTICE_MM / voxel_mm))
    coarse = (slice(None, None, step),) * 3
    inside, first, second = mask[coarse], before[coarse], after[coarse]
    template = reference_tissues(reference_grid(voxel_mm))[(slice(None), *coarse)]
    tissues = segment_tissues(first, inside, template)
    sure = tissues.probabilities > _SURE
    if min(int(own.sum()) for own in sure) < _FEWEST:
        return ContrastKept(float("nan"), float("nan"), float("nan"))
    means = np.array([[image[own].mean() for own in sure] for image in (first, second)])
    gain = means[1, 1] / means[0, 1]

    def edge(one: int, other: int) -> float:
        size = means[0, one] - means[0, other]
        if abs(size) < _LEAST_EDGE * means[0, 1] or gain <= 0:
            return float("nan")
        return float((means[1, one] - means[1, other]) / size / gain)

    bright = float("nan")
    if modality != "T1w" and voxel_mm <= _COARSEST_MM:
        # Single voxels are noise, which a harmonized scan may have less of.
        x, y = (gaussian_filter(i, _SMOOTHING_MM / voxel_mm)[coarse] for i in (before, after))
        bright = _slope_above(x, y, tissues, gain)
    return ContrastKept(edge(0, 1), edge(0, 2), bright)


def _slope_above(before: NDArray, after: NDArray, tissues: TissueMap, gain: float) -> float:
    """Least-squares slope over the brightest voxels of grey and white matter."""
    grey_or_white = (tissues.labels == 1) | (tissues.labels == 2)
    bright = grey_or_white & (before > np.percentile(before[grey_or_white], _ABOVE))
    if int(bright.sum()) < _FEWEST:
        return float("nan")
    x, y = before[bright].astype(np.float64), after[bright].astype(np.float64)
    spread = np.square(x - x.mean()).sum()
    return float(((x - x.mean()) @ (y - y.mean())) / spread / gain) if spread > 0 else float("nan")
