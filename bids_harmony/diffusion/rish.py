"""Rotation-invariant spherical-harmonic (RISH) features of a diffusion shell.

The energy of each order does not depend on how fibres lie, so that sites can be compared by it;
scaling the coefficients of an order changes its energy and leaves fibres where they are
(Mirzaalian et al. 2016, NeuroImage 135:311; Cetin Karayumak et al. 2019, NeuroImage 184:180).
"""

from __future__ import annotations

import numpy as np

__all__ = ["SMOOTH", "rish_features", "scale_rish"]

Array = np.ndarray

#: Weight of the Laplace-Beltrami penalty (Descoteaux et al. 2007, Magn Reson Med 58:497).
SMOOTH = 0.006


def rish_features(
    shell_signal: Array, bvecs: Array, order: int = 4, *, smooth: float = SMOOTH
) -> Array:
    """Energy of a shell's signal in each even order of spherical harmonics.

    Parameters
    ----------
    shell_signal : (..., N) float
        One shell, in any unit; features of signals over the mean b=0 do not depend on gain.
    bvecs : (N, 3) float
        Unit vectors, in any frame: a turn or a reflection of all changes nothing.
    order : int
        Highest order, even; (order + 1)(order + 2) / 2 directions or more are needed.
    smooth : float
        Weight of the Laplace-Beltrami penalty; 0 is plain least squares.

    Returns
    -------
    (..., order / 2 + 1) float
        Sum of squared coefficients of orders 0, 2, 4, ...; the square of the signal's unit. Type
        of `shell_signal`, at least float32.

    Raises
    ------
    ValueError
        The order is odd or negative, directions are too few for it, are not unit vectors or do
        not match the signal.
    """
    _, fit, orders = _basis(shell_signal, bvecs, order, smooth)
    energy = np.square(_applied(shell_signal, fit))
    return np.add.reduceat(energy, np.searchsorted(orders, np.unique(orders)), axis=-1)


def scale_rish(signal: Array, bvecs: Array, scales: Array, *, smooth: float = SMOOTH) -> Array:
    """Multiply a shell's spherical-harmonic coefficients, order by order.

    Parameters
    ----------
    signal : (..., N) float
        One shell.
    bvecs : (N, 3) float
        Unit vectors, in any frame.
    scales : (..., L) or (L,) float
        For orders 0, 2, ..., 2 L - 2. To bring an energy to another, the root of their ratio.
    smooth : float
        As in `rish_features`.

    Returns
    -------
    (..., N) float
        What the harmonics explain, scaled, and what they do not, as it was; where all scales are
        1 the signal bit for bit. It may be negative. Type of `signal`, at least float32.

    Raises
    ------
    ValueError
        As `rish_features`, for order 2 L - 2.
    """
    scales = np.asarray(scales)
    basis, fit, orders = _basis(signal, bvecs, 2 * scales.shape[-1] - 2, smooth)
    # Signal plus change, not scaled fit plus residual: a scale of 1 then adds exactly nothing.
    coefficients = _applied(signal, fit)
    change = coefficients * (scales - 1).astype(coefficients.dtype)[..., orders // 2]
    return signal + _applied(change, basis)


def _basis(signal: Array, bvecs: Array, order: int, smooth: float) -> tuple[Array, Array, Array]:
    """Harmonics (N, C), the fit of their coefficients (C, N) and the order of each (C,)."""
    # DIPY's import takes a second or more.
    from dipy.core.geometry import cart2sphere
    from dipy.reconst.shm import real_sh_descoteaux, smooth_pinv

    bvecs = np.asarray(bvecs, dtype=float)
    if order < 0 or order % 2:
        raise ValueError(f"order must be even and not negative; got {order}")
    if bvecs.shape != (signal.shape[-1], 3):
        raise ValueError(f"bvecs must be ({signal.shape[-1]}, 3); got {bvecs.shape}")
    if not np.allclose(np.linalg.norm(bvecs, axis=1), 1, atol=1e-2):
        raise ValueError("bvecs must be unit vectors: b=0 does not belong to a shell")
    least = (order + 1) * (order + 2) // 2
    if len(bvecs) < least:
        raise ValueError(f"order {order} needs {least} directions or more; got {len(bvecs)}")
    _, theta, phi = cart2sphere(*bvecs.T)
    basis, _, orders = real_sh_descoteaux(order, theta, phi, legacy=False)
    penalty = np.sqrt(smooth) * orders * (orders + 1)
    return basis, smooth_pinv(basis, penalty), orders


def _applied(data: Array, matrix: Array) -> Array:
    """Map the last axis by a matrix (out, in) in the precision of the data."""
    kind = np.result_type(data, np.float32)
    return np.asarray(data, dtype=kind) @ matrix.T.astype(kind)
