"""Normalized convolution: what is unknown takes no part."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bids_harmony.imaging.smoothing import masked_smooth, mean_around


def half_known(shape=(24, 20, 22)):
    known = np.zeros(shape, np.float32)
    known[: shape[0] // 2] = 1
    return known


def test_a_constant_stays_one_up_to_the_edge_and_far_away_nothing_is_known():
    known = half_known()
    mean = mean_around(7 * known, known, 1.5)
    assert mean.dtype == np.float32
    near = slice(0, 14)
    assert mean[near] == pytest.approx(np.full_like(mean[near], 7), rel=1e-4)
    # Four standard deviations, 6 voxels, beyond the last known one (11) the filter ends.
    assert not mean[18:].any()
    # Of the third voxel outside a share of 0.05 is known.
    assert mean[14].all() and not mean_around(7 * known, known, 1.5, least=0.1)[14].any()


def test_a_voxel_is_the_weighted_mean_of_its_neighbours_along_each_axis():
    data, weight = np.zeros((2, 9, 9, 9), np.float32)
    weight[4, 4, 4], weight[4, 4, 5] = 1, 0.5
    data[4, 4, 4], data[4, 4, 5] = 10, 0.5 * 40
    mean = mean_around(data, weight, (0, 0, 1.0))
    share = np.exp(-0.5) * 0.5
    assert mean[4, 4, 4] == pytest.approx((10 + 40 * share) / (1 + share), rel=1e-4)
    # Nothing is smoothed along the other axes.
    assert not mean[3].any() and not mean[:, 5].any()


@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_beyond_the_image_is_as_scipy_has_it(mode, rng):
    data = rng.random((6, 7, 8)).astype(np.float32)
    weight = rng.random(data.shape).astype(np.float32)
    mean = mean_around(data * weight, weight, 2.0, mode=mode, truncate=2.0)
    over, under = (
        gaussian_filter(part, 2.0, mode=mode, truncate=2.0) for part in (data * weight, weight)
    )
    assert mean == pytest.approx(over / under, rel=1e-5)


@pytest.mark.parametrize("sigma", [1.5, 6.0])
def test_smoothing_in_a_mask_is_the_quotient_of_two_gaussians(sigma, rng):
    """Also where block means stand for the image, six voxels wide."""
    shape = (41, 37, 34)
    smooth = gaussian_filter(rng.normal(size=shape), 5)
    data = (1 + 0.3 * smooth / smooth.std()).astype(np.float32)
    mask = np.zeros(shape, bool)
    mask[3:30, 4:33, 5:31] = True
    outside = np.where(mask, data, np.float32(1e3))
    found = masked_smooth(outside, mask, sigma)
    over, under = (
        gaussian_filter(part, sigma, mode="constant", truncate=3.0)
        for part in (np.where(mask, data, 0).astype(np.float64), mask.astype(np.float64))
    )
    expected = over[mask] / under[mask]
    assert found.shape == shape and found.dtype == np.float32
    assert found[mask] == pytest.approx(expected, abs=1e-4 if sigma < 4 else 0.03)


@pytest.mark.parametrize(("sigma", "far"), [(1.0, 4), (6.0, 25)])
def test_a_constant_is_carried_out_of_the_mask_and_ends(sigma, far):
    mask = np.zeros((48, 24, 24), bool)
    mask[:12] = True
    found = masked_smooth(np.full(mask.shape, 5, np.float32), mask, sigma)
    assert found[:13] == pytest.approx(np.full_like(found[:13], 5), rel=1e-4)
    assert not found[12 + far :].any()


def test_weights_count(rng):
    data, weight = rng.random((2, 8, 8, 8)).astype(np.float32)
    found = masked_smooth(data, weight, 1.0)
    over, under = (
        gaussian_filter(part, 1.0, mode="constant", truncate=3.0)
        for part in (data * weight, weight)
    )
    assert found == pytest.approx(over / under, rel=1e-4)
