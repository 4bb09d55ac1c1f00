"""Sidecars of derivatives: what was acquired is carried over, what was done is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.carried import acquisition_fields
from bids_harmony.bids.derivative import HASH_FIELD
from bids_harmony.bids.naming import bids_uri
from bids_harmony.bids.scan import SiteEvidence

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan

__all__ = [
    "acquisition_fields",
    "derived_sidecar",
    "harmonized_sidecar",
    "site_record",
]


def site_record(evidence: SiteEvidence) -> dict[str, Any]:
    """A site and how it is known, for a sidecar; fields that are not known are left out."""
    record = {
        "Site": evidence.site,
        "Vendor": evidence.vendor,
        "Model": evidence.model,
        "MagneticFieldStrength": evidence.field_strength,
        "Evidence": evidence.source,
        "Candidates": {rule: site for rule, site in evidence.candidates},
        "Contradictions": list(evidence.contradictions),
    }
    return {name: value for name, value in record.items() if value not in (None, [], {})}


def derived_sidecar(
    scan: Scan,
    bids_dir: Path,
    *,
    resume_hash: str,
    sources: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The sidecar of a mask or transform made from one scan.

    Parameters
    ----------
    scan : Scan
    bids_dir : Path
        Root of the raw dataset.
    resume_hash : str
        From `derivative.resume_hash`.
    sources : sequence of str
        BIDS URIs of further files it was made from.
    extra : mapping, optional
        More fields, such as ``{"Type": "Brain"}`` of a mask.
    """
    return {
        "Sources": [bids_uri(scan.path, bids_dir), *sources],
        **(extra or {}),
        HASH_FIELD: resume_hash,
    }


def harmonized_sidecar(
    scan: Scan,
    bids_dir: Path,
    *,
    target: str,
    method: str,
    resume_hash: str,
    sources: Sequence[str] = (),
    skull_stripped: bool,
    model: Mapping[str, Any] | None = None,
    intensity_transform: str | Mapping[str, Any] | None = None,
    device: str | None = None,
    precision: str | None = None,
    seed: int | None = None,
    out_of_distribution: float | None = None,
    quality: Mapping[str, Any] | None = None,
    site_evidence: Mapping[str, Any] | None = None,
    left_as_it_is: str | None = None,
    spatial_reference: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The sidecar of a harmonized image.

    Parameters
    ----------
    scan : Scan
        The source; its acquisition fields are carried over (see `carried.acquisition_fields`),
        also the acquired ``Manufacturer``.
    bids_dir : Path
        Root of the raw dataset.
    target : str
        Site to which the image was harmonized.
    method : str
        Such as ``ihf``.
    resume_hash : str
        From `derivative.resume_hash`: equal to that of a later run means that nothing has to be
        done.
    sources : sequence of str
        BIDS URIs besides the scan's own (mask, transform).
    skull_stripped : bool
        Whether the written image lacks the head; BIDS requires it.
    model : mapping, optional
        ``{"Name", "Version", "SHA256", "SiteBanksSHA256", "SourceSiteScans", "TargetSiteScans",
        "ProfileFilter"}``: hash of the model, hash of its weights with the profiles of both sites,
        labels of the scans that showed either site, and the query that their people fit.
    intensity_transform : str or mapping, optional
        What was done to intensities, in words or numbers.
    device, precision, seed : optional
        How it was computed.
    out_of_distribution : float, optional
        How far the scan lies from what the model was trained on.
    quality : mapping, optional
        Quality numbers; keys carry their unit. None becomes null in JSON.
    site_evidence : mapping, optional
        How well the difference of the sites is known, `SiteDifference.for_sidecar`.
    left_as_it_is : str, optional
        Why the scan was not changed.
    spatial_reference : str, optional
        Required by BIDS for an image on a template that is not a standard one.
    extra : mapping, optional
        More fields.

    Returns
    -------
    dict
        For `derivative.write_json`.
    """
    model = model or {}
    added = {
        "SkullStripped": bool(skull_stripped),
        "Sources": [bids_uri(scan.path, bids_dir), *sources],
        "SpatialReference": spatial_reference,
        "HarmonizationMethod": method,
        "HarmonizationTarget": target,
        "HarmonizationSource": site_record(scan.site),
        "ModelName": model.get("Name"),
        "ModelVersion": model.get("Version"),
        "ModelSHA256": model.get("SHA256"),
        "SiteBanksSHA256": model.get("SiteBanksSHA256"),
        "SourceSiteScans": model.get("SourceSiteScans"),
        "TargetSiteScans": model.get("TargetSiteScans"),
        "ProfileFilter": model.get("ProfileFilter"),
        "IntensityTransform": intensity_transform,
        "Device": device,
        "Precision": precision,
        "Seed": seed,
        "OutOfDistributionScore": out_of_distribution,
        "SiteEvidence": dict(site_evidence) if site_evidence else None,
        "LeftAsItIs": left_as_it_is,
        "HarmonizationQuality": dict(quality) if quality else None,
        **(extra or {}),
        HASH_FIELD: resume_hash,
    }
    carried = acquisition_fields(scan.metadata)
    return carried | {name: value for name, value in added.items() if value is not None}
