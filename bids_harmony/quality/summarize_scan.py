"""Make the summary of a harmonized structural image: what site effects are measured with later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from bids_harmony.imaging.reference import reference_grid, reference_mask
from bids_harmony.imaging.texture import log_energy, squared_bands
from bids_harmony.imaging.tissues import CoarseTissues, segment_coarsely
from bids_harmony.methods.controls import blurred
from bids_harmony.quality.distributions import quantiles
from bids_harmony.quality.site_probe import block_means, mask_features, scan_features
from bids_harmony.quality.summary import (
    N_QUANTILES,
    TISSUES,
    ScanSummary,
)

__all__ = ["summarize_scan", "tissue_volumes"]

#: Tissues are found on a lattice of this spacing at most: distributions need no more voxels.
_LATTICE_MM = 3.0
_CHANGE_MM = 4.0
#: In voxels: as far as the filter of the finest detail reaches from the edge of the brain.
_REACH = 2


def summarize_scan(
    source: NDArray,
    harmonized: NDArray,
    mask: NDArray[np.bool_],
    *,
    scale: float,
    target_quantiles: NDArray,
    voxel_mm: float,
    tissues: NDArray | None = None,
    scaling: float = 1.0,
) -> ScanSummary:
    """Measure a structural scan before and after harmonization.

    Parameters
    ----------
    source, harmonized : (X, Y, Z) float
        On the reference grid, in fractions of the source's robust scale, 0 outside the mask.
    mask : (X, Y, Z) bool
        The brain.
    scale : float
        Robust scale of the source, in its stored unit.
    target_quantiles : (K,) float
        Of the target site's brains, at probabilities evenly from 0 to 1.
    voxel_mm : float
        Spacing of the reference grid.
    tissues : (3, X, Y, Z) float, optional
        Probabilities of grey matter, white matter and CSF that another program found; by default
        tissues are found here.
    scaling : float
        By how much the transform to the reference changes volumes.

    Returns
    -------
    ScanSummary

    Raises
    ------
    DataError
        The arrays are not on the reference grid, or there is no positive signal in the mask.
    """
    source, harmonized = (
        np.where(mask, np.asarray(data, np.float32), np.float32(0))
        for data in (source, harmonized)
    )
    # Found once: filtering takes most of the time.
    bands = squared_bands(source), squared_bands(harmonized)
    step = max(1, int(_LATTICE_MM / voxel_mm))
    seen = [segment_coarsely(data, mask, voxel_mm, step) for data in (source, harmonized)]
    return ScanSummary(
        quantiles=_tissue_quantiles(source, harmonized, mask, seen[0], tissues),
        target_quantiles=np.asarray(target_quantiles, np.float32),
        features=_probe_features(source, harmonized, mask, scale, voxel_mm, bands),
        head=mask_features(mask, voxel_mm).astype(np.float16),
        detail=_fine_detail([fine for fine, _ in bands], mask),
        change=_mean_change(harmonized - source, mask, voxel_mm),
        voxel_mm=float(voxel_mm),
        volumes=np.stack([tissue_volumes(own, step * voxel_mm, scaling) for own in seen]),
    )


def _tissue_quantiles(
    source: NDArray,
    harmonized: NDArray,
    mask: NDArray[np.bool_],
    seen: CoarseTissues,
    tissues: NDArray | None,
) -> NDArray[np.float32]:
    """Quantiles of both, in the same voxels: those of the source's tissues."""
    if tissues is None:
        labels, at = seen.tissues.labels, seen.at
    else:
        known = mask & (tissues.sum(axis=0) >= 0.5)
        labels, at = np.where(known, 1 + tissues.argmax(axis=0), 0), np.s_[:, :, :]
    levels = np.full((2, len(TISSUES), N_QUANTILES), np.nan, np.float32)
    for i, data in enumerate((source, harmonized)):
        levels[i, 0] = quantiles(data, mask, N_QUANTILES)
        for label in range(1, len(TISSUES)):
            if (labels == label).any():
                levels[i, label] = quantiles(data[at], labels == label, N_QUANTILES)
    return levels


def tissue_volumes(seen: CoarseTissues, lattice_mm: float, scaling: float) -> NDArray[np.float32]:
    """Volumes of tissues as an image itself shows them, in the person's own head.

    Parameters
    ----------
    seen : CoarseTissues
        Of the image on the reference grid.
    lattice_mm : float
        Spacing of the voxels that were looked at.
    scaling : float
        By how much the transform to the reference changes volumes.

    Returns
    -------
    (3,) float32
        Grey matter, white matter and CSF, ml: for comparing images of one head.
    """
    share = seen.tissues.probabilities.sum(axis=(1, 2, 3))
    return (share * lattice_mm**3 / 1e3 / scaling).astype(np.float32)


def _probe_features(
    source: NDArray,
    harmonized: NDArray,
    mask: NDArray[np.bool_],
    scale: float,
    voxel_mm: float,
    bands: tuple[Sequence[NDArray], Sequence[NDArray]],
) -> NDArray[np.float32]:
    """Rows as `summary.FEATURE_ROWS` names them."""
    within = reference_mask(reference_grid(voxel_mm))
    return np.stack(
        [
            scan_features(source, mask, voxel_mm, unit=1 / scale, within=within, bands=bands[0]),
            scan_features(source, mask, voxel_mm, within=within, bands=bands[0]),
            scan_features(harmonized, mask, voxel_mm, within=within, bands=bands[1]),
            scan_features(blurred(source, mask, voxel_mm), mask, voxel_mm, within=within),
        ]
    )


def _mean_change(change: NDArray, mask: NDArray[np.bool_], voxel_mm: float) -> NDArray[np.float16]:
    """Means over the brain's voxels of each block; 0 where less than half of it is brain."""
    share = block_means(mask.astype(np.float32), voxel_mm, _CHANGE_MM)
    mean = block_means(np.where(mask, change, 0), voxel_mm, _CHANGE_MM)
    return np.where(share >= 0.5, mean / np.maximum(share, 0.5), 0).astype(np.float16)


def _fine_detail(finest: Iterable[NDArray], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Means over the brain's slices of log10 of the energy of the finest bands."""
    # The edge of the brain is the sharpest of all, and is there whatever happens inside.
    inner = minimum_filter(mask, (2 * _REACH + 1, 2 * _REACH + 1, 1), mode="constant")
    inner = inner if inner.any() else mask
    weights = inner.sum(axis=(0, 1))
    energies = [2 * log_energy([band], inner, 1)[:, 0, 0, 0] / np.log(10) for band in finest]
    return np.average(energies, axis=1, weights=weights).astype(np.float32)
