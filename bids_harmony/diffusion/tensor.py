"""The diffusion tensor and its scalar maps (Basser et al., J Magn Reson B 1994), by DIPY."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.voxels import fittable_voxels, measured_signals
from bids_harmony.exceptions import DataError, ImageError

if TYPE_CHECKING:
    from dipy.reconst.dti import TensorFit, TensorModel

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
NO_FLOOR = float(np.finfo(np.float64).tiny)
"""DIPY raises signals to a floor, by default 0.0001 of a unit that a header chooses at will."""


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
    incomplete : int
        Fitted voxels of which some of these volumes were left out, for nothing was measured.
    unfitted : int
        Voxels that show signal at b=0, but in too few volumes for a tensor.
    """

    fa: np.ndarray
    md: np.ndarray
    ad: np.ndarray
    rd: np.ndarray
    v1: np.ndarray
    fitted: np.ndarray
    volumes: np.ndarray
    incomplete: int
    unfitted: int


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
    forms = _quadratic_forms(gradients)
    return len(forms) >= forms.shape[1] and bool(_span(forms) > LEAST_SPAN)


def _quadratic_forms(gradients: Gradients) -> np.ndarray:
    """Of the weighted directions, (M, 6)."""
    x, y, z = gradients.bvecs[~gradients.b0].T
    return np.stack([x * x, y * y, z * z, x * y, x * z, y * z], axis=1)


def _span(forms: np.ndarray) -> np.ndarray:
    """Smallest over largest singular value; 0 where there is nothing."""
    values = np.linalg.svd(forms, compute_uv=False)
    least, most = values[..., -1], values[..., 0]
    return np.divide(least, most, out=np.zeros_like(most), where=most > 0)


def fit_tensor(
    data: np.ndarray,
    mask: np.ndarray,
    gradients: Gradients,
    method: Literal["WLS", "RESTORE"] = "WLS",
) -> TensorMaps:
    """Fit a tensor to each voxel inside the mask that shows signal in enough volumes.

    Parameters
    ----------
    data : ndarray (X, Y, Z, N) float32
        Series, in any unit.
    mask : ndarray (X, Y, Z) bool
        Brain.
    gradients : Gradients
        Of the N volumes.
    method : {"WLS", "RESTORE"}
        Weighted least squares (Chung et al., NeuroImage 2006), or robust against outliers (Chang
        et al., MRM 2005; much slower).

    Returns
    -------
    TensorMaps
        DIPY's numbers for the same voxels in float64, stored as float32. A volume without signal
        (`voxels.measured_signals`) is left out of that voxel's fit: it was not measured there,
        and its logarithm would outweigh all others.

    Raises
    ------
    DataError
        Arrays that do not go together; gradients that do not determine a tensor, or too few
        volumes for RESTORE.
    ImageError
        No voxel can be fitted.
    """
    fitted = fittable_voxels(data, mask, gradients)
    volumes = tensor_volumes(gradients, highest_b=HIGHEST_B)
    if method == "RESTORE" and len(volumes) < LEAST_VOLUMES_ROBUST:
        raise DataError(
            "Too few volumes for a robust tensor",
            expected=f"{LEAST_VOLUMES_ROBUST} volumes and more",
            got=f"{len(volumes)} up to b={HIGHEST_B:g} s/mm2",
            hint="Use the method WLS.",
        )
    used = gradients.select(volumes)
    _log.info("tensor (%s) from %d of %d volumes", method, len(volumes), data.shape[3])
    where = np.argwhere(fitted)
    whole = np.zeros(len(where), bool)
    enough = np.zeros(len(where), bool)
    for some, signals in _blocks(data, where, volumes, VOXELS_AT_ONCE["WLS"]):
        measured = measured_signals(signals, used)[: some.stop - some.start]
        whole[some] = measured.all(axis=-1)
        enough[some] = _enough(measured, used, method)
    scalars = {name: np.zeros(fitted.shape, np.float32) for name in ("fa", "md", "ad", "rd")}
    v1 = np.zeros((*fitted.shape, 3), np.float32)
    said: set[str] = set()
    # Apart: what is whole is DIPY's own fit, whatever its neighbours lack.
    for chosen, fit_some in (
        (where[whole], _whole_fit(used, method)),
        (where[enough & ~whole], _partial_fit(used, method)),
    ):
        for some, signals in _blocks(data, chosen, volumes, VOXELS_AT_ONCE[method]):
            at = tuple(chosen[some].T)
            n = len(at[0])
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fit = fit_some(signals)
                for name, values in scalars.items():
                    values[at] = getattr(fit, name)[:n]
                v1[at] = fit.evecs[:n, :, 0]
            said |= {str(w.message) for w in caught}
    for text in sorted(said):
        _log.info("DIPY: %s", text)
    fitted[tuple(where[~enough].T)] = False
    if not fitted.any():
        raise ImageError(
            "No voxel to fit",
            expected="voxels inside the mask with signal in enough volumes for a tensor",
            got=f"{len(where)} voxels with signal at b=0, none with enough weighted volumes",
        )
    incomplete = int(np.count_nonzero(enough & ~whole))
    return TensorMaps(
        **scalars,
        v1=v1,
        fitted=fitted,
        volumes=volumes,
        incomplete=incomplete,
        unfitted=int(np.count_nonzero(~enough)),
    )


def _blocks(
    data: np.ndarray, where: np.ndarray, volumes: np.ndarray, at_once: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Signals of the voxels, always so many at once; the last block repeats its last voxel."""
    for start in range(0, len(where), at_once):
        some = slice(start, min(start + at_once, len(where)))
        # float64 before DIPY takes logarithms: those of float32 would cost half the digits.
        signals = data[tuple(where[some].T)][:, volumes].astype(np.float64)
        yield some, np.concatenate([signals, np.repeat(signals[-1:], at_once - len(signals), 0)])


def _enough(measured: np.ndarray, used: Gradients, method: str) -> np.ndarray:
    """Voxels whose measured volumes determine a tensor, (V,) bool."""
    whole: np.ndarray = np.asarray(measured.all(axis=-1))
    # Most voxels are whole, and their scheme has been looked at.
    enough = whole.copy()
    some = measured[~whole]
    weighted = some[:, ~used.b0]
    least = LEAST_VOLUMES_ROBUST if method == "RESTORE" else 0
    enough[~whole] = (
        some[:, used.b0].any(axis=-1)
        & (weighted.sum(axis=-1) >= 6)
        & (some.sum(axis=-1) >= least)
        & (_span(_quadratic_forms(used) * weighted[..., None]) > LEAST_SPAN)
    )
    return enough


def _model(used: Gradients, method: str) -> TensorModel:
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    table = gradient_table(used.bvals, bvecs=used.bvecs, b0_threshold=used.b0_threshold)
    return TensorModel(table, fit_method=method, min_signal=NO_FLOOR)


def _whole_fit(used: Gradients, method: str) -> Callable[[np.ndarray], TensorFit]:
    """DIPY's fit of voxels of which every volume was measured."""
    return _model(used, method).fit


def _partial_fit(used: Gradients, method: str) -> Callable[[np.ndarray], TensorFit]:
    """DIPY's fit of each voxel's measured volumes alone."""
    from dipy.reconst.dti import TensorFit, wls_fit_tensor

    if method == "RESTORE":

        def robust(signals: np.ndarray) -> TensorFit:
            (measured,) = measured_signals(signals, used)
            return _model(used.select(measured), method).fit(signals[:, measured])

        return robust

    model = _model(used, method)
    design = model.design_matrix

    def weighted(signals: np.ndarray) -> TensorFit:
        measured = measured_signals(signals, used)
        known = np.where(measured, signals, 1.0)
        # Weights of zero leave a volume out of both passes: the plain one that finds the weights,
        # and the weighted one.
        start, _ = wls_fit_tensor(
            design, known, weights=measured.astype(np.float64), return_lower_triangular=True
        )
        weights = np.where(measured, np.exp(2 * (start @ design.T)), 0.0)
        return TensorFit(model, wls_fit_tensor(design, known, weights=weights)[0])

    return weighted
