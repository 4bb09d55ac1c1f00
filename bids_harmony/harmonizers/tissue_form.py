"""The closed form by tissues: where grey matter, white matter and CSF lie, not how much there is.

Percentiles of a brain move with the size of its ventricles; the intensities of its tissues do not.
A scan's own field and tissue intensities come from a segmentation (`imaging.tissues`); the target
site's are means over its bank. Nothing of the source site is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.imaging.tissues import log_field, segment_tissues

__all__ = ["TissueProfile", "match_tissues", "tissue_profile"]

Array = np.ndarray

#: The segmentation runs on a lattice of about this spacing: means and a smooth field need no more.
_LATTICE_MM = 4.0
#: Tissues closer than this (fraction of scale) cannot be told apart, and share one anchor.
_CLOSEST = 0.03
#: Slope of the map between and beyond anchors.
_SLOPES = (0.1, 8.0)
_END_SLOPES = (0.25, 2.0)


@dataclass(frozen=True, eq=False)
class TissueProfile:
    """How a scan, or a site on average, shows the tissues.

    Attributes
    ----------
    means : (3,) float64
        Intensities of grey matter, white matter and CSF without the field, fraction of scale.
    field : (20,) float64
        Coefficients of the field's logarithm (`imaging.tissues.log_field`).
    """

    means: Array
    field: Array


def tissue_profile(data: Array, mask: Array, voxel_mm: float) -> TissueProfile:
    """Measure a scan.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled, on the reference grid.
    mask : (X, Y, Z) bool
    voxel_mm : float
        Spacing of the reference grid.
    """
    step = max(1, round(_LATTICE_MM / voxel_mm))
    coarse = (slice(None, None, step),) * 3
    template = reference_tissues(reference_grid(voxel_mm))[(slice(None), *coarse)]
    tissues = segment_tissues(data[coarse], mask[coarse], template)
    return TissueProfile(tissues.pure_means, tissues.field)


def match_tissues(data: Array, mask: Array, own: TissueProfile, target: TissueProfile) -> Array:
    """Give a scan the target's tissue intensities and its mean field.

    The scan's field goes out, intensities are mapped piecewise linearly with the tissues (and 0)
    as anchors, the target's field goes in.

    Parameters
    ----------
    data : (X, Y, Z) float32
    mask : (X, Y, Z) bool
    own, target : TissueProfile

    Returns
    -------
    (X, Y, Z) float32
        0 outside the mask; never negative.
    """
    flat = data * np.exp(-log_field(own.field, data.shape))
    source, goal = _anchors(own.means, target.means)
    mapped = np.interp(flat, source, goal).astype(np.float32)
    rise = (goal[-1] - goal[-2]) / (source[-1] - source[-2])
    mapped += np.clip(rise, *_END_SLOPES).astype(np.float32) * np.maximum(flat - source[-1], 0)
    return np.where(mask, mapped * np.exp(log_field(target.field, data.shape)), 0).astype(
        np.float32
    )


def _anchors(own: Array, target: Array) -> tuple[Array, Array]:
    """Increasing pairs of intensities, from 0 on."""
    order = np.argsort(own, kind="stable")
    source, goal = [0.0], [0.0]
    for low, high in zip(own[order], target[order], strict=True):
        if low - source[-1] < _CLOSEST and len(source) > 1:
            source[-1], goal[-1] = (source[-1] + low) / 2, (goal[-1] + high) / 2
            continue
        low = max(low, source[-1] + _CLOSEST)
        least, most = (goal[-1] + slope * (low - source[-1]) for slope in _SLOPES)
        source.append(low)
        goal.append(min(max(high, least), most))
    return np.array(source), np.array(goal)
