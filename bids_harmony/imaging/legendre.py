"""Smooth functions on a grid: products of Legendre polynomials on [-1, 1]^3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.polynomial.legendre import Legendre, legvander
from numpy.typing import NDArray

__all__ = ["FIELD_DEGREES", "FIELD_TERMS", "legendre_at", "legendre_products", "log_field"]

_DEGREE = 3
#: Total degree of each Legendre product of a field, in the order of its coefficients.
FIELD_DEGREES = tuple(
    int(degree)
    for degree in np.indices((_DEGREE + 1,) * 3).sum(axis=0).ravel()
    if degree <= _DEGREE
)
FIELD_TERMS = len(FIELD_DEGREES)


def legendre_products(
    shape: tuple[int, int, int], degree: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Walk over the products of total degree 0 to `degree`, (X, Y, Z) each, on [-1, 1]^3.

    One at a time: all together, they take twenty times the memory of an image at degree 3.

    Parameters
    ----------
    shape : (3,) int
    degree : int

    Yields
    ------
    degree : int
        Of this product.
    product : (X, Y, Z) float32
        In double precision this would be ``legvander3d``, whose order (z fastest) it keeps.
    """
    x, y, z = (
        [Legendre.basis(d)(axis).astype(np.float32) for d in range(degree + 1)]
        for axis in (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    )
    for i in range(degree + 1):
        for j in range(degree + 1 - i):
            for k in range(degree + 1 - i - j):
                yield i + j + k, x[i][:, None, None] * y[j][None, :, None] * z[k][None, None, :]


def log_field(coefficients: NDArray, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Evaluate a field's logarithm on a whole grid, clipped to -1 to 1.

    Coordinates run from -1 to 1 along each axis, so that coefficients from a coarser grid over the
    same space hold.

    Parameters
    ----------
    coefficients : (FIELD_TERMS,) float
    shape : (3,) int

    Returns
    -------
    (X, Y, Z) float32
    """
    cube: NDArray[Any] = np.zeros((_DEGREE + 1,) * 3)
    cube[_low_order()] = coefficients
    # One axis after the other, by products of matrices: a fifth of the time of ``leggrid3d``.
    for n in shape:
        cube = np.tensordot(cube, legvander(np.linspace(-1, 1, n), _DEGREE), ((0,), (1,)))
    return np.clip(cube, -1, 1, out=cube).astype(np.float32)


def _low_order() -> NDArray[np.bool_]:
    return np.indices((_DEGREE + 1,) * 3).sum(axis=0) <= _DEGREE


def legendre_at(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Legendre products of total degree 0 to 3 at the voxels of the mask, (N, 20)."""
    # As ``legvander3d`` multiplies them, but each axis is evaluated once instead of once a voxel,
    # and the 44 products of higher degree never: a third of its time, the same bits.
    x, y, z = (
        legvander(2 * np.arange(n) / max(n - 1, 1) - 1, _DEGREE)[at]
        for n, at in zip(mask.shape, np.nonzero(mask), strict=True)
    )
    products = np.empty((FIELD_TERMS, len(x)))
    for term, (i, j, k) in zip(products, np.argwhere(_low_order()), strict=True):
        np.multiply(x[:, i] * y[:, j], z[:, k], out=term)
    return products.T
