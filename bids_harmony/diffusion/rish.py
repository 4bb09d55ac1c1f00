"""Rotation-invariant spherical-harmonic (RISH) features of a diffusion shell.

The energy of each order does not depend on how fibres lie, so that sites can be compared by it;
scaling the coefficients of an order changes its energy and leaves fibres where they are
(Mirzaalian et al. 2016, NeuroImage 135:311; Cetin Karayumak et al. 2019, NeuroImage 184:180).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["SMOOTH", "Harmonics", "harmonics"]

Array = np.ndarray

#: Weight of the Laplace-Beltrami penalty (Descoteaux et al. 2007, Magn Reson Med 58:497).
SMOOTH = 0.006


@dataclass(frozen=True, eq=False)
class Harmonics:
    """Even spherical harmonics of the directions of one shell.

    Attributes
    ----------
    basis : (N, C) float
        Harmonics in the N directions.
    fit : (C, N) float
        Gives coefficients of a signal.
    orders : (C,) int
        Order of each coefficient: 0, 2, 2, 2, 2, 2, 4, ...
    """

    basis: Array
    fit: Array
    orders: Array

    @property
    def count(self) -> int:
        """C."""
        return len(self.orders)

    def coefficients(self, signal: Array) -> Array:
        """Coefficients (..., C) of a signal (..., N), in its precision."""
        return _applied(signal, self.fit)

    def signal(self, coefficients: Array) -> Array:
        """Signal (..., N) of coefficients (..., C)."""
        return _applied(coefficients, self.basis)

    def energy(self, coefficients: Array) -> Array:
        """Sum of squares of each order, (..., L)."""
        return np.add.reduceat(np.square(coefficients), self._starts, axis=-1)

    @property
    def noise_energy(self) -> Array:
        """Mean energy of each order in noise of unit variance, (L,)."""
        return np.add.reduceat(np.square(self.fit).sum(axis=1), self._starts)

    @property
    def _starts(self) -> Array:
        return np.searchsorted(self.orders, np.unique(self.orders))


def harmonics(bvecs: Array, order: int, *, smooth: float = SMOOTH) -> Harmonics:
    """Harmonics of a shell's directions.

    Parameters
    ----------
    bvecs : (N, 3) float
        Unit vectors, in any frame: energies do not change where all are turned or reflected.
    order : int
        Highest order, even; (order + 1)(order + 2) / 2 directions or more are needed.
    smooth : float
        Weight of the Laplace-Beltrami penalty; 0 is plain least squares.

    Raises
    ------
    ValueError
        The order is odd or negative, directions are too few for it or are not unit vectors.
    """
    # DIPY's import takes a second or more.
    from dipy.core.geometry import cart2sphere
    from dipy.reconst.shm import real_sh_descoteaux, smooth_pinv

    bvecs = np.asarray(bvecs, dtype=float)
    if order < 0 or order % 2:
        raise ValueError(f"order must be even and not negative; got {order}")
    if not np.allclose(np.linalg.norm(bvecs, axis=1), 1, atol=1e-2):
        raise ValueError("bvecs must be unit vectors: b=0 does not belong to a shell")
    least = (order + 1) * (order + 2) // 2
    if len(bvecs) < least:
        raise ValueError(f"order {order} needs {least} directions or more; got {len(bvecs)}")
    _, theta, phi = cart2sphere(*bvecs.T)
    basis, _, orders = real_sh_descoteaux(order, theta, phi, legacy=False)
    penalty = np.sqrt(smooth) * orders * (orders + 1)
    return Harmonics(basis, smooth_pinv(basis, penalty), orders)


def _applied(data: Array, matrix: Array) -> Array:
    """Map the last axis by a matrix (out, in) in the precision of the data."""
    kind = np.result_type(data, np.float32)
    return np.asarray(data, dtype=kind) @ matrix.T.astype(kind)
