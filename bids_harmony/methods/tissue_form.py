"""Closed forms by tissues: where grey matter, white matter and CSF lie, not how much there is.

Percentiles of a brain move with the size of its ventricles; the intensities of its tissues do not.
A scan's own field and tissue intensities come from a segmentation (`imaging.tissues`).

Two forms. `relate_tissues` applies the difference of two sites and keeps what the person deviates
by; it is the working default. `match_tissues` gives every scan the target's mean intensities, and
with that takes away whatever a person differs in; it stands for comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bids_harmony.imaging.legendre import FIELD_TERMS, log_field
from bids_harmony.imaging.sharpness import blur_edges
from bids_harmony.sites.contrast_law import deviation_gain
from bids_harmony.sites.curve_difference import Bend
from bids_harmony.sites.difference import SiteDifference
from bids_harmony.sites.field_scatter import field_rms
from bids_harmony.sites.scan_measures import ScanMeasures
from bids_harmony.sites.sharpness_difference import MOST_BLUR
from bids_harmony.sites.tissue_profile import TissueProfile, contrasts

__all__ = ["TissueMap", "apply_map", "goal_means", "match_tissues", "relate_tissues", "tissue_map"]

Array = np.ndarray

#: Tissues closer than this (fraction of scale) cannot be told apart, and share one anchor.
_CLOSEST = 0.03
#: Slope of `match_tissues` between and beyond anchors.
_SLOPES = (0.1, 8.0)
_END_SLOPES = (0.25, 2.0)
#: Most that `relate_tissues` may stretch or squeeze contrast, relative to the gain, where one or
#: two people show a site, who may be ill or segmented badly, and where five and more do: between
#: tissues; beyond the brightest, where no tissue says anything; and the bend on top of the first.
_BETWEEN, _BEYOND, _BENT = (1.1, 3.0), (1.1, 1.25), (1.1, 2.5)
#: Standard deviation of the logarithm of a slope between tissues, over pairs of scanners.
_LOG_SLOPE_SD = 0.5
#: A scan whose log contrast is farther than this from its site's was not segmented well: beyond
#: it, its tissues are taken where the site shows them.
_FARTHEST = (0.25, 0.75)
#: Root mean square of a scan's field about its site's up to which it is taken for the scanner's,
#: and from which on for a lesion that the fit took up: healthy people show 0.02 to 0.12 at real
#: and simulated scanners, patients with large tumours 0.1 to 0.3.
_OWN_FIELD = 0.11, 0.15


@dataclass(frozen=True, eq=False)
class TissueMap:
    """What `apply_map` does to a scan x: x + share (enters m(x / leaves) - x).

    Attributes
    ----------
    leaves, enters : (20,) float64
        Logarithms of the field that goes out and of the one that comes in
        (`imaging.legendre.log_field`).
    anchors : tuple of (K,) float64
        Intensities of the scan's tissues, and where they go; increasing.
    end_slopes : tuple of float
        Bounds of the slope beyond the last anchor.
    share : float
        Probability that the sites differ.
    blur : (3,) float64
        Variance that is added to the blur along each axis, mm^2, after m.
    log_errors : (3,) float64
        Standard errors of the logarithms of where grey matter, white matter and CSF go, relative
        to white matter, which has none.
    bend : Bend, optional
        What m does between and beyond the anchors, tissues lying at `bent_from` by then, within
        `bend_bounds`.
    """

    leaves: Array
    enters: Array
    anchors: tuple[Array, Array]
    end_slopes: tuple[float, float]
    share: float
    blur: Array
    log_errors: Array
    bend: Bend | None = None
    bent_from: Array = field(default_factory=lambda: np.zeros(3))
    bend_bounds: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 1.0), (1.0, 1.0))

    @classmethod
    def nothing(cls) -> TissueMap:
        """The map of a scan that is at its target already."""
        none, ends = np.zeros(FIELD_TERMS), np.array([0.0, 1.0])
        return cls(none, none, (ends, ends), (1.0, 1.0), 0.0, np.zeros(3), np.zeros(3))

    def curve(self, flat: Array) -> Array:
        """Apply m to intensities of any shape without the field, fraction of scale."""
        mapped = _piecewise(flat, self.anchors, self.end_slopes)
        if self.bend is None:
            return mapped
        return self.bend.apply(mapped, self.bent_from, *self.bend_bounds)


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
    anchors = _anchors(own.means, target.means, _SLOPES)
    mapped = _piecewise(flat, anchors, _END_SLOPES)
    return _in_field(mapped, target.field, mask)


def relate_tissues(
    data: Array,
    mask: Array,
    own: TissueProfile,
    source: ScanMeasures,
    target: ScanMeasures,
    difference: SiteDifference,
    modality: str,
    voxel_mm: float,
) -> Array:
    """Apply the difference of two sites to a scan; the person's own deviation stays.

    The scanner's share of the scan's field goes out. Intensities are mapped piecewise linearly
    from the scan's own tissues to what these would be at the target (`goal_means`), and bent
    between and beyond them as the sites differ (`Bend`). Where the target is smoother, the scan is
    blurred as far as people support it. The sites' mean field is exchanged. The whole change is
    scaled by the probability that the sites differ.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled, on the reference grid.
    mask : (X, Y, Z) bool
    own : TissueProfile
        Of the scan.
    source, target : ScanMeasures
    difference : SiteDifference
        Of the two.
    modality : str
    voxel_mm : float
        Spacing of the reference grid.

    Returns
    -------
    (X, Y, Z) float32
        0 outside the mask; never negative.
    """
    return apply_map(data, mask, tissue_map(own, source, target, difference, modality), voxel_mm)


def apply_map(data: Array, mask: Array, by: TissueMap, voxel_mm: float) -> Array:
    """Apply a map to a scan; parameters and result are those of `relate_tissues`."""
    # A third of the grid is brain, and nothing else counts in what follows.
    flat = data[mask] * np.exp(-log_field(by.leaves, data.shape)[mask])
    inside = by.curve(flat)
    mapped = np.zeros(data.shape, inside.dtype)
    mapped[mask] = inside
    # Sharpening is left to the network: undoing a blur made noise stronger, and every score worse.
    mapped = blur_edges(mapped, mask, by.blur, voxel_mm)
    result = _in_field(mapped, by.enters, mask)
    return np.where(mask, data + np.float32(by.share) * (result - data), 0).astype(np.float32)


def tissue_map(
    own: TissueProfile,
    source: ScanMeasures,
    target: ScanMeasures,
    difference: SiteDifference,
    modality: str,
) -> TissueMap:
    """Find the map that `relate_tissues` applies; parameters are those of it."""
    site_field = source.fields.mean(axis=0)
    own_field = own.field - site_field
    leaves = site_field + difference.scan_field * _scanners(own_field) * own_field
    start, goal = goal_means(own.means, source, target, difference, modality)
    gain = float(goal[1] / start[1])
    support, bend = difference.support, difference.bend
    # Where the sites show tissues in another order, no line through all of them is increasing.
    used = list(bend.tissues) if bend is not None and len(bend.tissues) == 1 else [0, 1, 2]
    anchors = _anchors(start[used], goal[used], _slopes(gain, _BETWEEN, support))
    grey, csf = (found.standard_error for found in difference.by_contrast)
    return TissueMap(
        leaves=leaves,
        enters=site_field + difference.field,
        anchors=anchors,
        end_slopes=_slopes(gain, _BEYOND, support),
        share=difference.probability,
        blur=support * np.clip(difference.blur, 0, MOST_BLUR),
        log_errors=np.array([grey, 0.0, csf]),
        bend=bend,
        bent_from=np.interp(start, *anchors),
        bend_bounds=(_slopes(1, _BENT, support), _slopes(1, _BEYOND, support)),
    )


def _scanners(own_field: Array) -> float:
    """How far a scan's deviation from its site's field can be the scanner's, 0 to 1."""
    return float(np.interp(field_rms(own_field), _OWN_FIELD, (1.0, 0.0)))


def goal_means(
    own: Array,
    source: ScanMeasures,
    target: ScanMeasures,
    difference: SiteDifference,
    modality: str,
) -> tuple[Array, Array]:
    """Where a scan's tissues lie, and where they would lie at the target.

    White matter moves as the sites' white matter does: it stands for the gain. With g the log
    contrast of the scan and g_s that of its site, the target would show g_s + d + k (g - g_s):
    d the sites' difference, k by `contrast_law` for grey matter, 1 for CSF.

    Parameters
    ----------
    own : (3,) float
        Tissue means of the scan.
    source, target : ScanMeasures
    difference : SiteDifference
    modality : str

    Returns
    -------
    start, goal : (3,) float64
        `start` is `own`, or nearer to the site where `own` cannot be believed.
    """
    site = source.contrasts.mean(axis=0)
    deviation = np.clip(contrasts(own) - site, -np.array(_FARTHEST), _FARTHEST)
    there = site + difference.contrasts
    there[0] = _supported(site[0], there[0], difference.by_contrast[0].standard_error)
    gain = np.array([deviation_gain(modality, site[0], there[0]), 1.0])
    white = float(target.average(target.means[:, 1]) / source.means[:, 1].mean())
    start = _from_contrasts(own[1], site + deviation)
    return start, _from_contrasts(own[1] * white, there + gain * deviation)


def _supported(source: float, target: float, standard_error: float) -> float:
    """Log contrast at the target that the evidence for the map's slope supports.

    The slope between grey and white matter is the ratio of their contrasts, (1 - e^target) /
    (1 - e^source). Where a contrast is no larger than its error, that ratio is noise: its
    logarithm is shrunk towards 0, a map of one gain.
    """
    own, other = -np.expm1(source), -np.expm1(target)
    if own * other <= 0:
        return target
    error = np.square(standard_error) * (1 / np.square(source) + 1 / np.square(target)) / 2
    kept = _LOG_SLOPE_SD**2 / (_LOG_SLOPE_SD**2 + error) if np.isfinite(error) else 0.0
    return float(np.log1p(-own * (other / own) ** kept))


def _from_contrasts(white: float, logs: Array) -> Array:
    return np.array([white * np.exp(logs[0]), white, white * np.exp(logs[1])])


def _slopes(gain: float, most: tuple[float, float], support: float) -> tuple[float, float]:
    """Bounds of the map's slope, between those of no support and of full support."""
    stretch = most[0] * (most[1] / most[0]) ** support
    return gain / stretch, gain * stretch


def _in_field(mapped: Array, field: Array, mask: Array) -> Array:
    inside = mapped * np.exp(log_field(field, mapped.shape))
    return np.where(mask, inside, 0).astype(np.float32)


def _piecewise(
    flat: Array, anchors: tuple[Array, Array], end_slopes: tuple[float, float]
) -> Array:
    """Interpolate between anchors; beyond the last the slope goes on within bounds."""
    source, goal = anchors
    mapped = np.interp(flat, source, goal).astype(np.float32)
    rise = np.clip((goal[-1] - goal[-2]) / (source[-1] - source[-2]), *end_slopes)
    return mapped + rise.astype(np.float32) * np.maximum(flat - source[-1], 0)


def _anchors(own: Array, target: Array, slopes: tuple[float, float]) -> tuple[Array, Array]:
    """Increasing pairs of intensities, from 0 on."""
    order = np.argsort(own, kind="stable")
    source, goal = [0.0], [0.0]
    for low, high in zip(own[order], target[order], strict=True):
        if low - source[-1] < _CLOSEST and len(source) > 1:
            source[-1], goal[-1] = (source[-1] + low) / 2, (goal[-1] + high) / 2
            continue
        low = max(low, source[-1] + _CLOSEST)
        least, most = (goal[-1] + slope * (low - source[-1]) for slope in slopes)
        source.append(low)
        goal.append(min(max(high, least), most))
    return np.array(source), np.array(goal)
