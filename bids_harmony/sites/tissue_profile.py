"""How a scan, or a site on average, shows grey matter, white matter and CSF, and how sharply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_harmony.imaging.legendre import log_field
from bids_harmony.imaging.sharpness import edge_blur
from bids_harmony.imaging.smoothing import masked_smooth
from bids_harmony.imaging.tissue_units import standard_quantiles
from bids_harmony.imaging.tissues import segment_coarsely

__all__ = ["TissueProfile", "contrasts", "tissue_profile"]

Array = np.ndarray

#: A nulled tissue lies in the noise: its logarithm would say nothing but that.
_LEAST = 0.02
#: Quantiles are of a smoothed scan (standard deviation, mm): noise and sharpness move those of
#: the scan itself, and have measures of their own.
_CALM_MM = 1.5
#: Tissues closer than this (fraction of scale) are taken to be so far apart.
_APART = 0.03


@dataclass(frozen=True, eq=False)
class TissueProfile:
    """How a scan, or a site on average, shows the tissues.

    Attributes
    ----------
    means : (3,) float64
        Intensities of grey matter, white matter and CSF without the field, fraction of scale.
    field : (20,) float64
        Coefficients of the field's logarithm (`imaging.legendre.log_field`).
    curve : (K,) float64, optional
        Quantiles of smoothed intensities without the field, fraction of scale
        (`imaging.tissue_units.standard_quantiles`).
    blur : (3,) float64, optional
        Variance of the edges' blur along each axis, mm^2 (`imaging.sharpness.edge_blur`).
    """

    means: Array
    field: Array
    curve: Array | None = None
    blur: Array | None = None


def tissue_profile(
    data: Array, mask: Array, voxel_mm: float, *, in_full: bool = False
) -> TissueProfile:
    """Measure a scan.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled, on the reference grid.
    mask : (X, Y, Z) bool
    voxel_mm : float
        Spacing of the reference grid.
    in_full : bool
        Measure curve and blur, too: sites are known by them, a scan to be harmonized needs none.
    """
    seen = segment_coarsely(data, mask, voxel_mm)
    flat = data * np.exp(-log_field(seen.tissues.field, data.shape))
    coarse = flat[seen.at][mask[seen.at]].astype(np.float64)
    fractions = seen.tissues.probabilities[:, mask[seen.at]].astype(np.float64)
    means = _unmixed(coarse, fractions, seen.template[:, mask[seen.at]])
    if not in_full:
        return TissueProfile(means, seen.tissues.field)
    tissue, white = _in_tissue_units(flat, means)
    calm = masked_smooth(flat, mask, _CALM_MM / voxel_mm)[seen.at][mask[seen.at]]
    return TissueProfile(
        means,
        seen.tissues.field,
        standard_quantiles(calm.astype(np.float64), fractions),
        edge_blur(tissue, mask, white, voxel_mm),
    )


def _in_tissue_units(flat: Array, means: Array) -> tuple[Array, float]:
    """Intensities with neighbouring tissues 1 apart, and where white matter lies."""
    darkest, middle, brightest = anchors = np.sort(means)
    middle = anchors[1] = max(middle, darkest + _APART)
    brightest = anchors[2] = max(brightest, middle + _APART)
    ends = darkest - (middle - darkest) / 2, brightest + (brightest - middle) / 2
    places = [ends[0], *anchors, ends[1]], [-0.5, 0.0, 1.0, 2.0, 2.5]
    return np.interp(flat, *places).astype(np.float32), float(np.interp(means[1], *places))


def _unmixed(signal: Array, fractions: Array, template: Array) -> Array:
    """Tissue intensities by instrumental variables.

    A segmentation draws its borders by intensity: a tissue that is darker than elsewhere loses its
    darkest voxels to its neighbour, and its mean follows only half of a person's deviation. The
    template's maps know nothing of intensities. Intensities are regressed on the segmentation's
    fractions with the template's as instruments (Wald, Ann. Math. Stat. 11:284, 1940; Angrist and
    Krueger, J. Econ. Perspect. 15:69, 2001), which takes that error out of the slope.
    """
    instruments = template.astype(np.float64)
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
