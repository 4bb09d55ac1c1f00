"""The quality numbers of one harmonized image, for its sidecar and for ``scans.tsv``."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.quality.contrast import ContrastKept
from bids_harmony.quality.distributions import quantile_distance
from bids_harmony.quality.image_metrics import ms_ssim, nyquist_share, psnr, rmse, ssim_map
from bids_harmony.resources import at_once

__all__ = ["DESCRIPTIONS", "finite_or_none", "quality_row"]

_FRACTION = "1 (fraction of data_range_native)"
_SCALED = "1 (fraction of the image's robust intensity scale)"

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "data_range_native": {
        "Description": "Data range of RMSE, PSNR, SSIM and MS-SSIM of this image",
        "Units": "arbitrary (intensity units of the image)",
    },
    "rmse_brain": {
        "Description": "Root mean squared change from source to harmonized inside the brain mask",
        "Units": _FRACTION,
    },
    "rmse_whole": {
        "Description": "Root mean squared change from source to harmonized over the whole image",
        "Units": _FRACTION,
    },
    "psnr_brain_db": {
        "Description": "Peak signal-to-noise ratio of harmonized against source inside the brain"
        " mask (not available if equal)",
        "Units": "dB",
    },
    "psnr_whole_db": {
        "Description": "Peak signal-to-noise ratio of harmonized against source over the whole"
        " image (not available if equal)",
        "Units": "dB",
    },
    "ssim_brain": {
        "Description": "Structural similarity of harmonized and source, Gaussian window of 1.5"
        " voxels in three dimensions, mean inside the brain mask",
        "Units": "1",
    },
    "ssim_whole": {
        "Description": "Structural similarity of harmonized and source, Gaussian window of 1.5"
        " voxels in three dimensions, mean over the whole image",
        "Units": "1",
    },
    "ms_ssim_brain": {
        "Description": "Multi-scale structural similarity of harmonized and source, mean of axial"
        " slices, both zero outside the brain mask",
        "Units": "1",
    },
    "ms_ssim_whole": {
        "Description": "Multi-scale structural similarity of harmonized and source, mean of axial"
        " slices",
        "Units": "1",
    },
    "wasserstein_source": {
        "Description": "Wasserstein distance of the source's brain intensities to the target"
        " site's",
        "Units": _SCALED,
    },
    "wasserstein_harmonized": {
        "Description": "Wasserstein distance of the harmonized brain intensities to the target"
        " site's",
        "Units": _SCALED,
    },
    "change_outside_mask_share": {
        "Description": "Share of the summed absolute change that lies outside the brain mask",
        "Units": "1",
    },
    "nyquist_share": {
        "Description": "Share of the change's in-plane spectral energy near the Nyquist corners,"
        " on the reference grid (checkerboard indicator)",
        "Units": "1",
    },
    "round_trip_error": {
        "Description": "Largest error of the network's forward and reverse pass with normalization"
        " bypassed",
        "Units": _SCALED,
    },
    "contrast_kept_gray_white": {
        "Description": "Contrast of grey against white matter, harmonized over source, after the"
        " gain of white matter",
        "Units": "1",
    },
    "contrast_kept_gray_csf": {
        "Description": "Contrast of grey matter against CSF, harmonized over source, after the"
        " gain of white matter",
        "Units": "1",
    },
    "contrast_kept_above_white": {
        "Description": "Contrast among voxels brighter than grey and white matter, harmonized over"
        " source, after the gain of white matter (not available in T1w)",
        "Units": "1",
    },
    "same_site": {
        "Description": "Whether source and target are the same site (then any change is an error)",
        "Units": "boolean",
    },
}


def quality_row(
    source: NDArray,
    harmonized: NDArray,
    mask: NDArray[np.bool_],
    *,
    scale: float,
    target_quantiles: ArrayLike | None = None,
    reference_change: NDArray | None = None,
    round_trip_error: float | None = None,
    contrast: ContrastKept | None = None,
    same_site: bool | None = None,
) -> dict[str, float | bool | None]:
    """Measure what harmonization did to one image.

    Parameters
    ----------
    source, harmonized : (X, Y, Z) arrays
        On one grid, RAS voxel order, native intensity units.
    mask : (X, Y, Z) bool array
        The brain.
    scale : float
        Robust intensity scale of the source, native units: the peak of the images as the network
        sees them, and the data range of PSNR, SSIM and MS-SSIM.
    target_quantiles : (K,) array-like, optional
        Brain intensities of the target site at evenly spaced levels from 0 to 1, divided by the
        site's own scale.
    reference_change : (Xr, Yr, Zr) array, optional
        Harmonized minus source on the reference grid.
    round_trip_error : float, optional
        Largest error of the network's round trip with normalization bypassed, in fractions of the
        scale.
    contrast : ContrastKept, optional
        From `contrast.contrast_kept_by_tissue`.
    same_site : bool, optional
        Source and target are one site.

    Returns
    -------
    dict
        The keys of `DESCRIPTIONS`, in its order. ``None`` stands for what is not available: it
        becomes ``null`` in JSON and ``n/a`` in TSV.

    Raises
    ------
    DataError
        If shapes differ, the mask is empty, or the scale is not positive.
    """
    scale = peak = float(scale)
    source = np.asarray(source, dtype=np.float32)
    harmonized = np.asarray(harmonized, dtype=np.float32)
    mask = np.asarray(mask, dtype=bool)

    row: dict[str, float | bool | None] = dict.fromkeys(DESCRIPTIONS)
    row["data_range_native"] = peak
    row["rmse_brain"] = rmse(source, harmonized, mask=mask) / peak
    row["rmse_whole"] = rmse(source, harmonized) / peak
    row["psnr_brain_db"] = finite_or_none(psnr(source, harmonized, data_range=peak, mask=mask))
    row["psnr_whole_db"] = finite_or_none(psnr(source, harmonized, data_range=peak))
    similarity, row["ms_ssim_brain"], row["ms_ssim_whole"] = at_once(
        lambda: ssim_map(source, harmonized, data_range=peak),
        lambda: ms_ssim(source, harmonized, data_range=peak, mask=mask),
        lambda: ms_ssim(source, harmonized, data_range=peak),
    )
    row["ssim_brain"] = float(np.mean(similarity[mask], dtype=np.float64))
    row["ssim_whole"] = float(np.mean(similarity, dtype=np.float64))
    if target_quantiles is not None:
        target = np.asarray(target_quantiles, dtype=np.float64)
        probabilities = np.linspace(0, 1, target.size)
        for key, image in (("source", source), ("harmonized", harmonized)):
            own = np.quantile(image[mask], probabilities) / scale
            row[f"wasserstein_{key}"] = quantile_distance(own, target, probabilities)
    row["change_outside_mask_share"] = _share_outside(harmonized - source, mask)
    if reference_change is not None:
        row["nyquist_share"] = nyquist_share(reference_change)
    row["round_trip_error"] = None if round_trip_error is None else float(round_trip_error)
    if contrast is not None:
        for name in ("gray_white", "gray_csf", "above_white"):
            row[f"contrast_kept_{name}"] = finite_or_none(getattr(contrast, name))
    row["same_site"] = None if same_site is None else bool(same_site)
    return row


def _share_outside(change: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Part of the summed absolute change outside the mask; 0 for no change at all."""
    size = np.abs(change)
    total = float(size.sum(dtype=np.float64))
    return float(size[~mask].sum(dtype=np.float64)) / total if total > 0 else 0.0


def finite_or_none(value: float | None) -> float | None:
    """A number as JSON can hold it: equal images have infinite PSNR, a scan may lack a tissue."""
    return float(value) if value is not None and math.isfinite(value) else None
