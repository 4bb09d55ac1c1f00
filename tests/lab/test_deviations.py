from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from lab.deviations import person_correlation, site_variance


def test_variance_between_sites_is_freed_of_noise_and_of_people(rng):
    sites, people = np.array([0.0, 0.1, 0.3]), rng.normal(0, 5, (40, 1))
    assert site_variance(people + sites) == pytest.approx(sites.var(ddof=1))
    drawn = [site_variance(people[:4] + sites + rng.normal(0, 0.2, (4, 3))) for _ in range(4000)]
    # Means of four people alone would give 0.2^2 / 4 too much, a third of it.
    assert np.mean(drawn) == pytest.approx(sites.var(ddof=1), abs=0.0015)


def test_without_differences_between_sites_nothing_is_negative(rng):
    values = [site_variance(rng.normal(0, 1, (6, 4))) for _ in range(200)]
    assert min(values) == 0 < max(values)


def test_people_are_compared_within_sites(rng):
    truth = rng.normal(0, 1, 30)
    shifted = 0.5 * truth[:, None] + [0.0, 10.0]
    assert person_correlation(shifted, truth) == pytest.approx(1)
    assert person_correlation(-shifted, truth) == pytest.approx(-1)
    noise = rng.normal(0, 1, (30, 2))
    both = truth[:, None] + noise
    expected = np.corrcoef((both - both.mean(0)).ravel(), np.repeat(truth - truth.mean(), 2))[0, 1]
    assert person_correlation(both, truth) == pytest.approx(expected)
    # A site where people differ by half as much is not the same scale.
    assert person_correlation(truth[:, None] * [1.0, 0.1], truth) < 0.9
    assert np.isnan(person_correlation(np.zeros((30, 2)), truth))


def test_tables_with_holes_are_refused():
    with pytest.raises(DataError, match="every site"):
        site_variance(np.array([[1.0, 2.0], [np.nan, 1.0]]))
    with pytest.raises(DataError, match="shape"):
        site_variance(np.zeros((1, 3)))
    with pytest.raises(DataError, match="3 numbers"):
        person_correlation(np.zeros((3, 2)), np.zeros(2))
