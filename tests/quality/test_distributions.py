"""Quantiles, Wasserstein distances and densities against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde, norm, wasserstein_distance

from bids_harmony.exceptions import DataError
from bids_harmony.quality.distributions import (
    density_curve,
    density_of_quantiles,
    kernel_density,
    quantile_distance,
    quantiles,
    wasserstein,
)


def test_quantiles_of_masked_voxels():
    data = np.arange(27.0).reshape(3, 3, 3)
    mask = data <= 10
    got = quantiles(np.where(mask, data, 1e6), mask, n=11)
    np.testing.assert_allclose(got, np.arange(11.0))
    assert quantiles(data).shape == (101,)


def test_wasserstein_of_a_shift_and_of_a_scale():
    rng = np.random.default_rng(0)
    data = rng.random((10, 10, 10))
    mask = data > 0.2
    assert wasserstein(data, data[mask] + 0.5, mask) == pytest.approx(0.5)
    target = rng.permutation(3 * data.ravel())
    assert wasserstein(data, target) == pytest.approx(2 * data.mean())


def test_quantile_distance_of_two_normals_is_known():
    p = np.linspace(0.001, 0.999, 2001)
    shifted = quantile_distance(norm.ppf(p), norm.ppf(p) + 1.5, p)
    assert shifted == pytest.approx(1.5)
    # Standard deviations 1 and 2, equal means: the curves cross, W1 = E|Z| over the covered range.
    density = 2 * (norm.pdf(0) - norm.pdf(norm.ppf(0.999)))
    wider = quantile_distance(norm.ppf(p), 2 * norm.ppf(p), p)
    assert wider == pytest.approx(density / 0.998, rel=1e-3)


def test_quantile_distance_is_exact_where_the_curves_cross_inside_a_segment():
    # |difference| falls from 1 to 0 and rises to 3 within one segment: two triangles.
    assert quantile_distance([0.0, 4.0], [1.0, 1.0]) == pytest.approx((1 + 9) / (2 * 4))
    assert quantile_distance([0.0, 1.0], [0.0, 1.0]) == 0


def test_quantile_distance_agrees_with_samples():
    rng = np.random.default_rng(1)
    a, b = rng.gamma(4, 1, 20000), rng.normal(4, 1, 20000)
    got = quantile_distance(quantiles(a, n=501), quantiles(b, n=501))
    assert got == pytest.approx(wasserstein_distance(a, b), rel=0.02)


def test_landmarks_with_uneven_probabilities():
    p = np.array([1, 10, 50, 90, 99]) / 100
    assert quantile_distance(p, p + 0.2, p) == pytest.approx(0.2)
    steep = quantile_distance([0, 0, 0, 0, 0], [0, 0, 0, 0, 1], p)
    assert steep == pytest.approx(0.5 * 0.09 / 0.98)


def test_density_equals_a_gaussian_kernel_estimate():
    rng = np.random.default_rng(2)
    sample = np.concatenate([rng.normal(0.3, 0.05, 3000), rng.normal(0.7, 0.1, 2000)])
    grid = np.linspace(-0.2, 1.2, 1401)
    bandwidth = 0.03
    expected = gaussian_kde(sample, bw_method=bandwidth / sample.std(ddof=1))(grid)
    got = kernel_density(sample, grid, bandwidth)
    np.testing.assert_allclose(got, expected, atol=0.002 * expected.max())
    assert np.trapezoid(density_curve(sample, grid), grid) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("levels", [256, 241, 268, 512])
def test_density_of_whole_numbers_does_not_ripple(levels):
    rng = np.random.default_rng(0)
    two = np.r_[rng.normal(80, 18, 20000), rng.normal(150, 15, 30000)]
    sample = np.clip(np.rint(two), 0, 255)
    low, high = np.quantile(sample, [0.25, 0.75])
    bandwidth = 0.9 * min(sample.std(), (high - low) / 1.349) * sample.size**-0.2
    grid = np.linspace(0, 255, levels)
    expected = gaussian_kde(sample, bw_method=bandwidth / sample.std(ddof=1))(grid)
    got = density_curve(sample, grid)
    np.testing.assert_allclose(got, expected, atol=0.003 * expected.max())
    assert np.count_nonzero(np.diff(np.sign(np.diff(got))) < 0) == 2


@pytest.mark.parametrize("unit", [1.0, 0.013])
def test_a_kernel_narrower_than_the_spacing_of_values_shows_no_comb(unit):
    sample = unit * np.rint(np.random.default_rng(0).normal(100, 8, 200_000))
    grid = np.linspace(60, 140, 801) * unit
    expected = norm.pdf(grid, 100 * unit, 8 * unit)
    got = density_curve(sample, grid)
    np.testing.assert_allclose(got, expected, atol=0.02 * expected.max())


@pytest.mark.parametrize("steps", [0.5, 1.0, 3.0, 50.0])
def test_density_of_one_value_is_the_kernel_on_any_grid(steps):
    grid = np.linspace(-1, 1, 201)
    width = steps * 0.01
    got = kernel_density([0.0037], grid, width)
    np.testing.assert_allclose(got, norm.pdf(grid, 0.0037, width), atol=0.004 / width)


def test_density_of_what_is_known():
    grid = np.linspace(-1, 1, 21)
    some = kernel_density([0.1, np.nan, -0.3, np.inf], grid, 0.1)
    np.testing.assert_array_equal(some, kernel_density([0.1, -0.3], grid, 0.1))
    assert np.isfinite(density_curve(np.array([True, False]), grid)).all()


def test_density_counts_what_lies_off_the_grid():
    sample = np.repeat([0.5, 5.0], 500)
    grid = np.linspace(0, 1, 201)
    share = np.trapezoid(kernel_density(sample, grid, 0.05), grid)
    assert share == pytest.approx(0.5, abs=1e-3)
    # The kernel of a value just beyond the end reaches back onto the grid.
    edge = kernel_density([1.05], grid, 0.05)
    assert edge[-1] == pytest.approx(norm.pdf(1.0, 1.05, 0.05), rel=0.02)


def test_density_of_a_constant_sample_is_finite():
    grid = np.linspace(0, 2, 101)
    density = density_curve(np.ones(50), grid)
    assert np.isfinite(density).all() and grid[density.argmax()] == pytest.approx(1)


def test_density_of_quantiles_is_the_density_they_came_from():
    grid = np.linspace(-4, 4, 401)
    got = density_of_quantiles(norm.ppf(np.linspace(0.001, 0.999, 999)), grid)
    # Silverman's bandwidth of 4096 values, 0.17, takes a little off the peak.
    np.testing.assert_allclose(got, norm.pdf(grid), atol=0.015)


def test_bad_input_is_named():
    with pytest.raises(DataError, match="No intensities"):
        quantiles(np.ones(4), np.zeros(4, bool))
    with pytest.raises(DataError, match="one length"):
        quantile_distance([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="increase"):
        quantile_distance([1, 2], [1, 2], [0.5, 0.5])
    with pytest.raises(DataError, match="two points"):
        density_curve([1.0], [0.0])
