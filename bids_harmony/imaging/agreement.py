"""Whether what lies inside a mask is a brain: its tissues stand where the template's do.

A bottle, a sphere or a neck gets a mask and a registration like any head. What it has not is grey
matter, white matter and fluid at their places.
"""

from __future__ import annotations

import logging

import numpy as np

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_tissues
from bids_harmony.imaging.smoothing import mean_around
from bids_harmony.io.remarks import remark

__all__ = ["check_brain", "template_agreement"]

_log = logging.getLogger(__name__)

LEAST_AGREEMENT = 0.08
"""Bottles, necks and noise reached 0.03, a sphere 0.15; real brains of eight scanners, FLAIR and
multiple sclerosis among them, 0.30 to 0.62, simulated ones at 6 mm 0.20 to 0.46."""
DOUBTFUL_AGREEMENT = 0.17
_GRID_MM = 3.0
_FINE_MM, _COARSE_MM = 2.0, 12.0


def template_agreement(prepared: Prepared) -> float:
    """Share of a scan's local contrast that the template's tissues explain.

    Parameters
    ----------
    prepared : Prepared

    Returns
    -------
    float
        R2, 0 to 1, of the contrast between 2 and 12 mm (Gaussian standard deviations) inside the
        mask, regressed on that of the template's grey matter, white matter and CSF. Any contrast
        will do, T1w, T2w or FLAIR, and a smooth field does not count.
    """
    step = max(1, round(_GRID_MM / prepared.grid.voxel_mm))
    voxel_mm = step * prepared.grid.voxel_mm
    mask = _blocks(prepared.mask.astype(np.float32), step) > 0.5
    if np.count_nonzero(mask) < 100:
        return 0.0
    data = _local_contrast(_blocks(prepared.data, step), mask, voxel_mm)
    tissues = reference_tissues(prepared.grid)
    design = [_local_contrast(_blocks(tissue, step), mask, voxel_mm) for tissue in tissues]
    design.append(np.ones_like(data))
    columns = np.stack(design, axis=1)
    fitted = columns @ np.linalg.lstsq(columns, data, rcond=None)[0]
    spread = float(data.var())
    return 1.0 - float((data - fitted).var()) / spread if spread > 0 else 0.0


def check_brain(prepared: Prepared, where: str) -> float:
    """Refuse what is no brain, warn where it is doubtful, and return the agreement.

    Raises
    ------
    ImageError
        No tissue stands where the template has it.
    """
    found = template_agreement(prepared)
    if found >= DOUBTFUL_AGREEMENT:
        return found
    error = ImageError(
        "the image does not look like a brain",
        where=where,
        expected=f"tissues where the template has them (agreement {LEAST_AGREEMENT:g} and more; "
        f"below {DOUBTFUL_AGREEMENT:g} is doubtful)",
        got=f"{found:.3f}",
        hint="Look at the image, its mask and its registration: a phantom, another part of the "
        "body, or a failed registration.",
    )
    if found < LEAST_AGREEMENT:
        raise error
    remark(_log, where, "%s", error)
    return found


def _blocks(data: np.ndarray, step: int) -> np.ndarray:
    """Means of cubes of `step` voxels."""
    x, y, z = (n // step for n in data.shape)
    cut = data[: x * step, : y * step, : z * step]
    return cut.reshape(x, step, y, step, z, step).mean(axis=(1, 3, 5), dtype=np.float32)


def _local_contrast(data: np.ndarray, mask: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Difference of two normalized convolutions, inside the mask, (N,)."""
    known = np.where(mask, data, np.float32(0))
    fine, coarse = (mean_around(known, mask, mm / voxel_mm) for mm in (_FINE_MM, _COARSE_MM))
    return (fine - coarse)[mask].astype(np.float64)
