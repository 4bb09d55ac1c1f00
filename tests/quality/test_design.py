"""Columns of tables as columns of models."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.quality.design import (
    centred,
    covariate_columns,
    indicator_columns,
    known,
    numbers,
    separate_sites,
)


def test_missing_is_what_bids_and_numpy_call_missing():
    column = [1, "n/a", None, float("nan"), "", "no", float("inf"), 0, False]
    assert known(column).tolist() == [True, *[False] * 4, True, False, True, True]


def test_numbers_may_be_written_as_words_but_words_are_no_numbers():
    np.testing.assert_array_equal(numbers(["34.5", 2, "n/a", None]), [34.5, 2, np.nan, np.nan])
    assert numbers([1, "F"]) is None


def test_words_become_indicators_and_numbers_one_column():
    names, columns = indicator_columns(["b", "a", "b"])
    assert (names, columns.tolist()) == (["a", "b"], [[0, 1], [1, 0], [0, 1]])
    assert covariate_columns(["b", "a", "c"]).tolist() == [[1, 0], [0, 0], [0, 1]]
    ages = covariate_columns([20, 30, 70])
    assert ages.shape == (3, 1)
    assert [ages.mean(), ages.std()] == pytest.approx([0, 1])
    assert covariate_columns([5, 5]).shape == covariate_columns(["x", "x"]).shape == (2, 0)


def test_blocks_lose_their_means():
    columns = np.array([[1.0, 0], [3, 0], [10, 1]])
    assert centred(columns, np.array([0, 0, 1])).tolist() == [[-1, 0], [1, 0], [0, 0]]


def test_directions_of_sites_are_those_that_covariates_leave(rng):
    sites = centred(np.eye(3)[np.arange(30) % 3], np.zeros(30, int))
    age = centred(rng.normal(size=(30, 1)) + sites[:, :1], np.zeros(30, int))
    first, second = separate_sites(sites, {"age": age})
    both = np.column_stack([first, second])
    np.testing.assert_allclose(both.T @ both, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(both @ (both.T @ sites), sites, atol=1e-12)
    np.testing.assert_allclose(first @ (first.T @ age), age, atol=1e-12)
    with pytest.raises(DataError, match=r"\[vendor\].*1 of 2 differences between 3 sites"):
        separate_sites(sites, {"age": age, "vendor": sites[:, :1]})
