"""Sidecars of maps of diffusion models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.naming import bids_uri, harmonized_path, mask_path
from bids_harmony.bids.sidecar import derived_sidecar, site_record
from bids_harmony.diffusion.maps import MAPS

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan

__all__ = ["map_sidecar"]

_MODELS = {
    "tensor": ("Diffusion tensor (DTI)", "https://doi.org/10.1006/jmrb.1994.1037"),
    "noddi": (
        "Neurite orientation dispersion and density imaging (NODDI)",
        "https://doi.org/10.1016/j.neuroimage.2012.03.072",
    ),
    "force": (
        "Forward modeling for complex microstructure estimation (FORCE)",
        "https://doi.org/10.21203/rs.3.rs-8151109/v1",
    ),
}

V1_FRAME = (
    ". Components run along the voxel axes of this file, the first one reversed if the determinant"
    " of its affine is positive: the frame of bvec files, and of V1 by FSL's dtifit. MRtrix3 needs"
    " right, anterior, superior instead"
)
"""A word such as `bvec` has changed from draft to draft of BIDS."""


def map_sidecar(
    scan: Scan,
    bids_dir: Path,
    output_dir: Path,
    parameter: str,
    record: Mapping[str, Any],
    *,
    target: str | None,
    resume_hash: str,
) -> dict[str, Any]:
    """The sidecar of one map.

    Parameters
    ----------
    scan : Scan
        The source series.
    bids_dir, output_dir : Path
        Roots of the raw dataset and of the derivative.
    parameter : str
        A key of `diffusion.maps.MAPS`.
    record : mapping
        What the fit was, as `interfaces.diffusion_fits` leaves it.
    target : str or None
        Site that the fitted series was harmonized to; None for the source.
    resume_hash : str
        From `derivative.resume_hash`.

    Returns
    -------
    dict
        For `derivative.write_json`.
    """
    kind = MAPS[parameter]
    name, url = _MODELS[kind.model]
    fit = {k: v for k, v in record.items() if k not in ("Model", "Parameters", "Statement")}
    extra: dict[str, Any] = {
        "Description": kind.meaning,
        "Units": kind.unit,
        "Synonyms": list(kind.synonyms),
        "SkullStripped": True,
        "Model": {
            "Description": name,
            "URL": url,
            "Parameters": {**fit, **record.get("Parameters", {})},
        },
    }
    if parameter == "v1":
        extra["Description"] += V1_FRAME
        extra["OrientationEncoding"] = {
            "EncodingAxis": 3,
            "Reference": "bvec",
            "Type": "unit3vector",
            "AntipodalSymmetry": True,
            "FillValue": 0.0,
        }
    sources = [bids_uri(mask_path(output_dir, scan), output_dir, "")]
    if target is not None:
        sources.insert(0, bids_uri(harmonized_path(output_dir, scan, target), output_dir, ""))
        extra["HarmonizationTarget"] = target
        extra["HarmonizationSource"] = site_record(scan.site)
    return derived_sidecar(
        scan,
        bids_dir,
        resume_hash=resume_hash,
        sources=sources,
        extra={k: v for k, v in extra.items() if v != []},
    )
