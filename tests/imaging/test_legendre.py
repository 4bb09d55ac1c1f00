"""Legendre products are numpy's, in their order."""

import numpy as np
from numpy.polynomial.legendre import legvander3d

from bids_harmony.imaging.legendre import legendre_products


def test_products_are_those_of_numpy():
    shape, degree = (4, 7, 5), 3
    degrees, products = zip(*legendre_products(shape, degree), strict=True)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    total = np.indices((degree + 1,) * 3).sum(axis=0).ravel()
    expected = legvander3d(*grid, [degree] * 3)[..., total <= degree]
    assert degrees == tuple(total[total <= degree])
    assert np.allclose(np.stack(products, axis=-1), expected, atol=1e-6)
    assert all(product.dtype == np.float32 for product in products)
