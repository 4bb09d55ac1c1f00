"""Legendre products are numpy's, in their order."""

import numpy as np
from numpy.polynomial.legendre import leggrid3d, legvander3d

from bids_harmony.imaging.legendre import FIELD_TERMS, legendre_at, legendre_products, log_field


def test_products_are_those_of_numpy():
    shape, degree = (4, 7, 5), 3
    degrees, products = zip(*legendre_products(shape, degree), strict=True)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    total = np.indices((degree + 1,) * 3).sum(axis=0).ravel()
    expected = legvander3d(*grid, [degree] * 3)[..., total <= degree]
    assert degrees == tuple(total[total <= degree])
    assert np.allclose(np.stack(products, axis=-1), expected, atol=1e-6)
    assert all(product.dtype == np.float32 for product in products)


def test_products_at_voxels_are_numpys_to_the_bit(rng):
    mask = rng.random((6, 9, 1)) > 0.4
    points = 2 * np.argwhere(mask) / np.maximum(np.array(mask.shape) - 1, 1) - 1
    low = np.indices((4, 4, 4)).sum(axis=0).ravel() <= 3
    assert np.array_equal(legendre_at(mask), legvander3d(*points.T, [3, 3, 3])[:, low])


def test_products_at_voxels_are_those_of_the_grid(rng):
    mask = rng.random((4, 7, 5)) > 0.4
    products = [product[mask] for _, product in legendre_products(mask.shape, 3)]
    found = legendre_at(mask)
    assert found.shape == (np.count_nonzero(mask), FIELD_TERMS)
    assert np.allclose(found, np.stack(products, axis=1), atol=1e-6)


def test_an_axis_of_one_voxel_has_its_lower_end():
    found = legendre_at(np.ones((1, 2, 3), bool))
    # Terms 1, 4 and 10 are z, y and x.
    assert found[:, 1].tolist() == [-1, 0, 1] * 2
    assert found[:, 4].tolist() == [-1] * 3 + [1] * 3
    assert found[:, 10].tolist() == [-1] * 6


def test_a_field_is_numpys_and_bounded(rng):
    coefficients, shape = rng.normal(0, 0.3, FIELD_TERMS), (9, 7, 5)
    cube = np.zeros((4, 4, 4))
    cube[np.indices(cube.shape).sum(axis=0) <= 3] = coefficients
    expected = leggrid3d(*(np.linspace(-1, 1, n) for n in shape), cube)
    assert np.abs(expected).max() > 1
    found = log_field(coefficients, shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.clip(expected, -1, 1), rtol=1e-6, atol=1e-7)
