"""The diffusion tensor and its scalar maps (Basser et al., J Magn Reson B 1994), by DIPY."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.voxels import fittable_voxels
from bids_harmony.exceptions import DataError

__all__ = ["TensorMaps", "fit_tensor", "tensor_volumes"]

_log = logging.getLogger(__name__)

HIGHEST_B = 1500.0
"""s/mm2; above, log-signals bend away from the line that a tensor draws (kurtosis)."""
LEAST_SPAN = 0.01
"""Smallest over largest singular value of the six quadratic forms of the directions; six evenly
spread directions have about 0.4, directions in one plane 0."""
VOXELS_AT_ONCE = {"WLS": 512, "RESTORE": 1}
"""Memory stays flat: 512 voxels of 100 volumes take some 10 MB. DIPY always gets exactly so many,
because the last bits of a matrix product depend on its number of rows. RESTORE iterates voxel by
voxel anyhow."""
LEAST_VOLUMES_ROBUST = 8
"""RESTORE divides by the number of volumes less the seven parameters."""


@dataclass(frozen=True, eq=False)
class TensorMaps:
    """Maps of a tensor fit; 0 where nothing was fitted.

    Attributes
    ----------
    fa : ndarray (X, Y, Z) float32
        Fractional anisotropy, 0 to 1.
    md, ad, rd : ndarray (X, Y, Z) float32
        Mean, axial and radial diffusivity, mm2/s.
    v1 : ndarray (X, Y, Z, 3) float32
        Unit vector of the largest diffusivity, either sign, in the frame of the bvec file.
    fitted : ndarray (X, Y, Z) bool
        Where.
    volumes : ndarray (M,) intp
        Volumes that were used.
    """

    fa: np.ndarray
    md: np.ndarray
    ad: np.ndarray
    rd: np.ndarray
    v1: np.ndarray
    fitted: np.ndarray
    volumes: np.ndarray


def tensor_volumes(gradients: Gradients, *, highest_b: float = HIGHEST_B) -> np.ndarray:
    """Volumes that a tensor is fitted to: b=0 and the shells up to a b-value.

    Parameters
    ----------
    gradients : Gradients
    highest_b : float
        s/mm2, compared with the shells' nominal b-values. When the shells up to there cannot carry
        a tensor (there are none, or too few directions), all volumes are taken.

    Returns
    -------
    ndarray (M,) intp
        Ascending.

    Raises
    ------
    DataError
        The directions of all volumes together do not determine a tensor.
    """
    low = [s.volumes for s in gradients.shells if s.nominal <= highest_b]
    some = np.sort(np.concatenate([np.flatnonzero(gradients.b0), *low]))
    everything = np.arange(len(gradients.bvals))
    for volumes in (some, everything):
        if _determine_tensor(gradients.select(volumes)):
            return volumes
    raise DataError(
        "The directions do not determine a diffusion tensor",
        expected="six directions and more that are not in one plane",
        got=f"{np.count_nonzero(~gradients.b0)} weighted volumes",
    )


def _determine_tensor(gradients: Gradients) -> bool:
    x, y, z = gradients.bvecs[~gradients.b0].T
    forms = np.stack([x * x, y * y, z * z, x * y, x * z, y * z], axis=1)
    if len(forms) < forms.shape[1]:
        return False
    values = np.linalg.svd(forms, compute_uv=False)
    return bool(values[-1] > LEAST_SPAN * values[0])


def fit_tensor(
    data: np.ndarray,
    mask: np.ndarray,
    gradients: Gradients,
    method: Literal["WLS", "RESTORE"] = "WLS",
    *,
    highest_b: float = HIGHEST_B,
) -> TensorMaps:
    """Fit a tensor to each voxel inside the mask whose mean b=0 signal is positive.

    Parameters
    ----------
    data : ndarray (X, Y, Z, N) float32
        Series, in any unit; signals below 0.0001 are raised to that (DIPY's default).
    mask : ndarray (X, Y, Z) bool
        Brain.
    gradients : Gradients
        Of the N volumes.
    method : {"WLS", "RESTORE"}
        Weighted least squares (Chung et al., NeuroImage 2006), or robust against outliers (Chang
        et al., MRM 2005; much slower).
    highest_b : float
        See `tensor_volumes`; 1500 s/mm2 by default.

    Returns
    -------
    TensorMaps
        DIPY's numbers for the same voxels in float64, stored as float32.

    Raises
    ------
    DataError
        Arrays that do not go together; gradients that do not determine a tensor, or too few
        volumes for RESTORE.
    ImageError
        No voxel can be fitted, or values inside the mask are not finite.
    """
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    fitted = fittable_voxels(data, mask, gradients)
    volumes = tensor_volumes(gradients, highest_b=highest_b)
    if method == "RESTORE" and len(volumes) < LEAST_VOLUMES_ROBUST:
        raise DataError(
            "Too few volumes for a robust tensor",
            expected=f"{LEAST_VOLUMES_ROBUST} volumes and more",
            got=f"{len(volumes)} up to b={highest_b:g} s/mm2",
            hint="Use the method WLS.",
        )
    used = gradients.select(volumes)
    table = gradient_table(used.bvals, bvecs=used.bvecs, b0_threshold=used.b0_threshold)
    model = TensorModel(table, fit_method=method)
    _log.info("tensor (%s) from %d of %d volumes", method, len(volumes), data.shape[3])

    scalars = {name: np.zeros(fitted.shape, np.float32) for name in ("fa", "md", "ad", "rd")}
    v1 = np.zeros((*fitted.shape, 3), np.float32)
    where = np.argwhere(fitted)
    at_once = VOXELS_AT_ONCE[method]
    said: set[str] = set()
    for start in range(0, len(where), at_once):
        at = tuple(where[start : start + at_once].T)
        n = len(at[0])
        # float64 before DIPY takes logarithms: those of float32 would cost half the digits.
        signals = data[at][:, volumes].astype(np.float64)
        padded = np.concatenate([signals, np.repeat(signals[-1:], at_once - n, axis=0)])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = model.fit(padded)
            for name, values in scalars.items():
                values[at] = getattr(fit, name)[:n]
            v1[at] = fit.evecs[:n, :, 0]
        said |= {str(w.message) for w in caught}
    for text in sorted(said):
        _log.info("DIPY: %s", text)
    return TensorMaps(**scalars, v1=v1, fitted=fitted, volumes=volumes)
