"""Segmentation with a field; comparisons of tissues stand in tests/quality."""

import numpy as np
import pytest
from numpy.polynomial.legendre import legval

from bids_harmony.imaging.legendre import FIELD_TERMS, log_field


def test_a_field_on_a_coarser_grid_is_the_same_field():
    coefficients = np.random.default_rng(0).normal(0, 0.05, FIELD_TERMS)
    fine, coarse = (log_field(coefficients, shape) for shape in ((9, 13, 17), (5, 7, 9)))
    assert np.allclose(fine[::2, ::2, ::2], coarse, atol=1e-6)


@pytest.mark.parametrize(("term", "axis", "degree"), [(1, 2, 1), (2, 2, 2), (4, 1, 1), (10, 0, 1)])
def test_terms_are_legendre_polynomials(term, axis, degree):
    coefficients = np.zeros(FIELD_TERMS)
    coefficients[term] = 0.5
    field = np.moveaxis(log_field(coefficients, (5, 6, 7)), axis, 0)
    line = 0.5 * legval(np.linspace(-1, 1, field.shape[0]), np.eye(degree + 1)[degree])
    assert np.allclose(field, line[:, None, None], atol=1e-6)


def test_a_field_is_clipped():
    assert log_field(np.full(FIELD_TERMS, 9.0), (3, 3, 3)).max() == 1
