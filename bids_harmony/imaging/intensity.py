"""Scale of a scan's arbitrary units, and its smooth receive bias."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bids_harmony.exceptions import ImageError

if TYPE_CHECKING:
    from bids_harmony.imaging.mask import BrainMask
    from bids_harmony.imaging.volume import Volume

__all__ = ["correct_bias", "robust_scale", "to_half"]

_PERCENTILE = 99.5
_HALF_MAX = np.float32(np.finfo(np.float16).max)


def robust_scale(data: np.ndarray, mask: np.ndarray) -> float:
    """One number q per volume that brings the brain into [0, 1].

    Parameters
    ----------
    data : ndarray (X, Y, Z)
        Intensities in the scan's own units.
    mask : ndarray (X, Y, Z) bool
        Brain.

    Returns
    -------
    float
        q > 0 in the units of `data`, the 99.5th percentile of the brain; the lower end of the
        range is 0. One per volume, never per slice: neighbouring slices must stay comparable.

    Raises
    ------
    ImageError
        The mask is empty, or the brain holds no positive signal.
    """
    values = data[mask]
    if values.size == 0:
        raise ImageError("the brain mask is empty", expected="at least one voxel")
    scale = float(np.percentile(values, _PERCENTILE))
    if not scale > 0:
        raise ImageError(
            "no positive signal in the brain",
            expected=f"a positive {_PERCENTILE}th percentile of the brain's intensities",
            got=f"{scale:g}",
        )
    return scale


def correct_bias(volume: Volume, mask: BrainMask, *, shrink_factor: int = 4) -> Volume:
    """Divide out the smooth receive bias (N4; Tustison et al., IEEE TMI 2010).

    Parameters
    ----------
    volume : Volume
    mask : BrainMask
        On the grid of `volume`; the field is estimated inside.
    shrink_factor : int
        The field is estimated on a grid that is coarser by so much; 4 suits voxels of 1 mm.

    Returns
    -------
    Volume
        Same grid; the mean of the brain is kept.
    """
    from bids_harmony.imaging.linear import deterministic_ants

    ants = deterministic_ants()
    spacing = [float(s) for s in np.linalg.norm(volume.affine[:3, :3], axis=0)]
    image = ants.from_numpy(np.maximum(volume.data, 0), spacing=spacing)
    inside = ants.from_numpy(mask.data.astype(np.float32), spacing=spacing)
    field = ants.n4_bias_field_correction(
        image,
        mask=inside,
        shrink_factor=shrink_factor,
        convergence={"iters": [50, 50, 30, 20], "tol": 1e-7},
        return_bias_field=True,
    ).numpy()
    corrected = volume.data / np.maximum(field, 1e-3).astype(np.float32)
    gain = volume.data[mask.data].mean(dtype=np.float64) / max(
        corrected[mask.data].mean(dtype=np.float64), np.finfo(np.float32).tiny
    )
    return replace(volume, data=(corrected * np.float32(gain)).astype(np.float32))


def to_half(data: np.ndarray) -> np.ndarray:
    """Half precision without overflow: it ends at 65504, where float32 would become infinite."""
    return np.clip(data, -_HALF_MAX, _HALF_MAX).astype(np.float16)
