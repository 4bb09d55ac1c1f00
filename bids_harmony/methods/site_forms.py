"""Closed forms between two sites' profiles, on prepared scans: no network, no torch."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.methods.closed_form import low_order_fit, ratio_field, relative_map
from bids_harmony.methods.tissue_form import TissueMap, apply_map, match_tissues, tissue_map
from bids_harmony.sites.difference import SiteDifference, compare_sites
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.same_head import same_head
from bids_harmony.sites.tissue_profile import contrasts, tissue_profile

__all__ = [
    "closed_form",
    "closed_map",
    "low_order_form",
    "ratio_matched",
    "site_evidence",
    "tissue_match",
]

Array = np.ndarray


@lru_cache(maxsize=64)
def site_evidence(source: ImageProfile, target: ImageProfile) -> SiteDifference:
    """The difference of two sites and how well it is known, `sites.difference.compare_sites`."""
    seen = target.scan_measures
    others, share = seen.seen_from(source.site)
    found = compare_sites(
        source.scan_measures,
        others,
        target.modality,
        same_person=same_head(source, target),
        share=share,
    )
    if seen.groups:
        found = replace(found, mean_of=seen.people_of_sites())
    return replace(found, applied=_applied(source, target, found))


def _applied(source: ImageProfile, target: ImageProfile, found: SiteDifference) -> Array:
    """Change of both log contrasts of a scan that shows its site's own."""
    own = source.tissues
    by = tissue_map(own, source.scan_measures, target.scan_measures, found, target.modality)
    after = own.means + by.share * (by.curve(own.means) - own.means)
    return contrasts(after) - contrasts(own.means)


def closed_form(
    data: Array, mask: Array, source: ImageProfile, target: ImageProfile, voxel_mm: float
) -> Array:
    """Apply the closed form that the network starts from, `tissue_form.relate_tissues`.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled scan on the reference grid.
    mask : (X, Y, Z) bool
    source, target : ImageProfile
    voxel_mm : float

    Returns
    -------
    (X, Y, Z) float32
        The input itself when source is target.
    """
    if source is target:
        return data
    return apply_map(data, mask, closed_map(data, mask, source, target, voxel_mm), voxel_mm)


def closed_map(
    data: Array, mask: Array, source: ImageProfile, target: ImageProfile, voxel_mm: float
) -> TissueMap:
    """What `closed_form` applies to a scan; parameters are those of it."""
    if source is target:
        return TissueMap.nothing()
    return tissue_map(
        tissue_profile(data, mask, voxel_mm),
        source.scan_measures,
        target.scan_measures,
        site_evidence(source, target),
        target.modality,
    )


def tissue_match(
    data: Array, mask: Array, source: ImageProfile, target: ImageProfile, voxel_mm: float
) -> Array:
    """Give every scan the target's mean tissue intensities, `tissue_form.match_tissues`.

    Parameters and result are those of `closed_form`.
    """
    if source is target:
        return data
    return match_tissues(data, mask, tissue_profile(data, mask, voxel_mm), target.tissues)


def low_order_form(
    data: Array, mask: Array, source: ImageProfile, target: ImageProfile, voxel_mm: float
) -> Array:
    """Harmonize by landmarks and smooth fields: the mean of two estimates.

    The relative one: the scan's own low-order field against its site's mean goes out, source-site
    landmarks are mapped to target-site landmarks, the ratio field of the two sites' mean images
    goes in. It keeps what is the person's own, and the errors of the scan's scale. The matched one
    (`ratio_matched`) maps the scan's own landmarks: it is free of these errors, and takes from the
    person. Their mean is nearer to the truth than either.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled scan on the reference grid.
    mask : (X, Y, Z) bool
    source, target : ImageProfile
    voxel_mm : float

    Returns
    -------
    (X, Y, Z) float32
        The input itself when source is target.
    """
    if source is target:
        return data
    mapped, field = _site_map(source, target, voxel_mm)
    own = low_order_fit(data, source.mean_image, mask & source.mask)
    relative = landmark_map(data / own, source.landmarks, mapped) * field
    matched = ratio_matched(data, mask, source, target, voxel_mm)
    return np.where(mask, (relative + matched) / 2, 0).astype(np.float32)


def ratio_matched(
    data: Array, mask: Array, source: ImageProfile, target: ImageProfile, voxel_mm: float
) -> Array:
    """Match the scan's landmarks to the target site's, times the ratio of the sites' mean images.

    Parameters and result are those of `low_order_form`. Before the ratio is taken, the source's
    mean image is mapped as its scans are.
    """
    matched = landmark_map(data, landmarks(data, mask), target.landmarks)
    if source is not target:
        matched = matched * _matched_ratio(source, target, voxel_mm)
    return np.where(mask, matched, 0).astype(np.float32)


@lru_cache(maxsize=16)
def _matched_ratio(source: ImageProfile, target: ImageProfile, voxel_mm: float) -> Array:
    mapped = landmark_map(source.mean_image, source.landmarks, target.landmarks)
    return ratio_field(target.mean_image, mapped, source.mask & target.mask, voxel_mm)


@lru_cache(maxsize=16)
def _site_map(source: ImageProfile, target: ImageProfile, voxel_mm: float) -> tuple[Array, Array]:
    return relative_map(
        source.landmarks,
        source.mean_image,
        target.landmarks,
        target.mean_image,
        source.mask & target.mask,
        voxel_mm,
    )
