"""Modified z-scores against their formula and astronomical values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from bids_harmony.exceptions import DataError
from bids_harmony.quality.outliers import outliers


def test_scores_follow_the_formula(rng):
    values = rng.normal(7, 2, 31)
    got = outliers(values)
    expected = 0.6745 * (values - np.median(values)) / median_abs_deviation(values)
    np.testing.assert_allclose(got.scores, expected)
    assert got.flagged.tolist() == (np.abs(expected) > 3.5).tolist()


def test_many_outliers_do_not_hide_each_other(rng):
    values = np.concatenate([rng.normal(0, 1, 60), np.full(20, 50.0)])
    assert outliers(values).flagged[60:].all()
    assert not outliers(values).flagged[:60].any()
    # Plain z-scores see nothing there.
    assert np.abs((values - values.mean()) / values.std()).max() < 2


def test_normal_values_are_hardly_ever_flagged_and_the_limit_counts(rng):
    got = outliers(rng.normal(size=20_000))
    assert got.flagged.mean() < 0.001
    assert (np.abs(got.scores) > 1.96).mean() == pytest.approx(0.05, abs=0.006)
    assert got.flagged.tolist() == (np.abs(got.scores) > 3.5).tolist()


def test_values_are_compared_within_sites_that_are_large_enough(rng):
    sites = np.repeat(["A", "B", "C"], [10, 10, 4])
    values = rng.normal(size=24) + np.repeat([0, 100, 0], [10, 10, 4])
    values[0] = 100  # as if it were of site B
    got = outliers(values, sites)
    assert got.flagged[0] and not got.flagged[10:20].any()
    np.testing.assert_allclose(got.scores[:10], outliers(values[:10]).scores)
    np.testing.assert_allclose(got.scores[20:], outliers(values).scores[20:])
    # Four known values are too few, however many scans there are.
    values[20:], sites[19:] = np.nan, "C"
    np.testing.assert_allclose(outliers(values, sites).scores[19], outliers(values).scores[19])


def test_equal_values_have_a_mean_deviation_or_none_at_all():
    values = np.array([3.0] * 9 + [4.0])
    got = outliers(values)
    assert got.scores[9] == pytest.approx(1 / (1.253314 * 0.1))
    assert got.flagged.tolist() == [False] * 9 + [True]
    for same in (np.full(6, 0.1), np.array([0.1] * 5 + [np.nextafter(0.1, 1)]), np.zeros(5)):
        assert outliers(same).scores.tolist() == [0] * len(same)


def test_missing_values_have_no_score():
    got = outliers([1, 2, np.nan, 3, 2, 90])
    assert np.isnan(got.scores[2])
    assert got.flagged.tolist() == [False] * 5 + [True]
    np.testing.assert_allclose(got.scores[[0, 1, 3, 4, 5]], outliers([1, 2, 3, 2, 90]).scores)
    assert not outliers([np.nan, np.nan]).flagged.any()
    assert len(outliers([]).scores) == 0


def test_every_value_needs_its_group():
    with pytest.raises(DataError, match="one length"):
        outliers([1, 2, 3], ["A", "B"])
    with pytest.raises(DataError, match="one length"):
        outliers(np.ones((3, 2)))
