"""How a scan, or a site on average, shows grey matter, white matter and CSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_harmony.imaging.legendre import log_field
from bids_harmony.imaging.tissues import CoarseTissues, segment_coarsely

__all__ = ["TissueProfile", "contrasts", "tissue_profile"]

Array = np.ndarray

#: A nulled tissue lies in the noise: its logarithm would say nothing but that.
_LEAST = 0.02


@dataclass(frozen=True, eq=False)
class TissueProfile:
    """How a scan, or a site on average, shows the tissues.

    Attributes
    ----------
    means : (3,) float64
        Intensities of grey matter, white matter and CSF without the field, fraction of scale.
    field : (20,) float64
        Coefficients of the field's logarithm (`imaging.legendre.log_field`).
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
    seen = segment_coarsely(data, mask, voxel_mm)
    return TissueProfile(_unmixed(data[seen.at], mask[seen.at], seen), seen.tissues.field)


def _unmixed(data: Array, mask: Array, seen: CoarseTissues) -> Array:
    """Tissue intensities by instrumental variables.

    A segmentation draws its borders by intensity: a tissue that is darker than elsewhere loses its
    darkest voxels to its neighbour, and its mean follows only half of a person's deviation. The
    template's maps know nothing of intensities. Intensities are regressed on the segmentation's
    fractions with the template's as instruments (Wald, Ann. Math. Stat. 11:284, 1940; Angrist and
    Krueger, J. Econ. Perspect. 15:69, 2001), which takes that error out of the slope.
    """
    signal = (data * np.exp(-log_field(seen.tissues.field, data.shape)))[mask].astype(np.float64)
    fractions = seen.tissues.probabilities[:, mask].astype(np.float64)
    instruments = seen.template[:, mask].astype(np.float64)
    instruments /= np.maximum(instruments.sum(axis=0), 1e-3)
    means = np.linalg.lstsq(instruments @ fractions.T, instruments @ signal, rcond=None)[0]
    # Beyond the brain's own range an answer is no intensity: a tissue that is hardly there.
    low, high = np.percentile(signal, [0.5, 99.5])
    return np.clip(means, low, high)


def contrasts(means: Array) -> Array:
    """Logarithms of grey over white matter and of CSF over white matter.

    Parameters
    ----------
    means : (..., 3) float
        Intensities of grey matter, white matter and CSF, any unit.

    Returns
    -------
    (..., 2) float64
        No unit; free of the scan's gain. Tissues count as at least 2 % of white matter.
    """
    table = np.asarray(means, dtype=np.float64)
    white = table[..., 1:2]
    others = np.maximum(table[..., [0, 2]], _LEAST * white)
    return np.log(others / white)
