"""Intraclass correlation on the table of Shrout & Fleiss, and with planted variances."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.quality.reliability import icc

#: Six people rated by four judges, Table 2 of Shrout & Fleiss, 1979.
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


def test_the_table_of_shrout_and_fleiss():
    got = icc(RATINGS)
    assert got.icc == pytest.approx(0.29, abs=0.005)
    # As the R package psych 2.x prints them.
    assert [got.low, got.high] == pytest.approx([0.019, 0.761], abs=0.001)
    assert (got.n_people, got.n_scans, got.n_left_out) == (6, 4, 0)


def test_people_with_a_missing_scan_are_left_out_and_counted():
    more = np.vstack([RATINGS, [5, np.nan, 3, 3]])
    got = icc(more)
    assert got.icc == icc(RATINGS).icc
    assert (got.n_people, got.n_left_out) == (6, 1)


def test_a_site_that_is_off_for_everyone_counts_as_disagreement(rng):
    people = rng.normal(0, 1, (50, 1))
    values = people + rng.normal(0, 0.2, (50, 3))
    assert icc(values).icc > 0.9
    assert icc(values + np.array([0, 0, 3])).icc < 0.4


def test_the_share_between_people_is_found_and_the_interval_holds_it(rng):
    held, found = [], []
    for _ in range(300):
        people, sites = rng.normal(0, 1, (20, 1)), rng.normal(0, 0.5, (1, 6))
        got = icc(people + sites + rng.normal(0, 0.5, (20, 6)))
        held.append(got.low <= 1 / 1.5 <= got.high)
        found.append(got.icc)
    assert np.median(found) == pytest.approx(1 / 1.5, abs=0.03)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_perfect_agreement_and_none():
    got = icc(np.repeat([[0.1], [0.2], [0.7]], 3, axis=1))
    assert (got.icc, got.low, got.high) == (1, 1, 1)
    worse = icc([[1, 2], [2, 1], [1, 2], [2, 1.1]])
    assert worse.low <= worse.icc <= worse.high < 1 and worse.icc < 0


def test_what_cannot_be_measured_is_named():
    with pytest.raises(DataError, match="1 people with all of 4"):
        icc([RATINGS[0], [1, 2, np.nan, 3]])
    with pytest.raises(DataError, match="all of 1 scans"):
        icc(RATINGS[:, :1])
    with pytest.raises(DataError, match="values that differ"):
        icc(np.ones((5, 2)))
    with pytest.raises(DataError, match="values that differ"):
        icc([[1, 2], [2, 1]])  # neither people nor scans do
    with pytest.raises(DataError, match="two axes"):
        icc(RATINGS[0])


def test_people_who_are_all_alike_have_no_agreement_to_measure():
    with pytest.raises(DataError, match="values that differ"):
        icc([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
