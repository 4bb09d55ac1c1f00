"""Histogram matching: identity, monotony, quantiles met, and bias taken out before."""

import numpy as np
import pytest

from bids_harmony.harmonizers import load_harmonizer
from bids_harmony.harmonizers.histogram import match_distribution, without_bias
from bids_harmony.phantom.scanner import bias_field
from bids_harmony.training.bank_files import write_banks

LEVELS = np.linspace(0, 100, 101)


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("banks")
    write_banks(path, world.banks.values(), 5.0)
    return path


def test_a_distribution_matched_to_itself_is_the_identity(rng):
    data = rng.gamma(2, 0.2, (12, 12, 12)).astype(np.float32)
    mask = np.ones(data.shape, bool)
    own = np.percentile(data, LEVELS)
    assert np.allclose(match_distribution(data, mask, own), data, atol=1e-6)


@pytest.mark.parametrize("count", [101, 1001])
def test_quantiles_become_the_targets(rng, count):
    data = rng.gamma(2, 0.2, (20, 20, 20)).astype(np.float32)
    mask = np.ones(data.shape, bool)
    levels = np.linspace(0, 100, count)
    goal = np.percentile(rng.normal(0.6, 0.1, 8000), levels)
    matched = match_distribution(data, mask, goal)
    assert np.allclose(np.percentile(matched, LEVELS), np.interp(LEVELS, levels, goal), atol=2e-3)
    order = np.argsort(data, axis=None)
    assert (np.diff(matched.ravel()[order]) >= 0).all()


def test_equal_intensities_stay_equal_in_the_middle_of_their_quantiles():
    data = np.zeros((10, 10, 10), np.float32)
    data[5:] = np.linspace(0.5, 1, 500).reshape(5, 10, 10)
    matched = match_distribution(data, np.ones(data.shape, bool), np.linspace(0, 1, 101))
    assert len(np.unique(matched[:5])) == 1 and matched[0, 0, 0] == pytest.approx(0.25, abs=0.02)


def test_the_method_meets_the_quantiles_of_the_bank(world, folder):
    scan, method = world.scan("GE"), load_harmonizer("histogram-cdf", folder)
    applied = method.apply(scan, modality="T1w", source_site="GE", target_site="COI")
    wanted = method.target_quantiles("T1w", "COI")
    assert np.allclose(np.percentile(applied.data[scan.mask], LEVELS), wanted, atol=0.01)
    assert not applied.data[~scan.mask].any()


def test_bias_is_taken_out(world):
    scan = world.scan("COI")
    field = np.exp(0.25 * bias_field(scan.mask.shape, scan.mask, [4])).astype(np.float32)
    plain = without_bias(scan.data, scan.mask, scan.grid)
    biased = without_bias(scan.data * field, scan.mask, scan.grid)
    assert biased[scan.mask].mean() == pytest.approx((scan.data * field)[scan.mask].mean(), 1e-3)

    def spread(a, b):
        return float(np.std(np.log(np.maximum(a, 0.02) / np.maximum(b, 0.02))[scan.mask]))

    assert spread(biased, plain) < 0.5 * spread(scan.data * field, scan.data)
