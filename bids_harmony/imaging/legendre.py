"""Smooth functions on a grid: products of Legendre polynomials."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.polynomial.legendre import Legendre
from numpy.typing import NDArray

__all__ = ["legendre_products"]


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
