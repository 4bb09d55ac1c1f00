"""Covariates of two sites: which are shared, and how far apart the sites are in them."""

import numpy as np
import pytest

from bids_harmony.sites.covariates import separation, shared_covariates
from bids_harmony.sites.scan_measures import ScanMeasures


def people(*names, **covariates):
    count = len(names)
    rest = np.ones((count, 3)), np.zeros((count, 20)), np.zeros((count, 2))
    return ScanMeasures(names, *rest, covariates={k: np.array(v) for k, v in covariates.items()})


def test_covariates_are_of_people_and_in_units_of_their_spread():
    source = people("a", "a", "b", age=[20.0, 22.0, 41.0], sex=[1.0, 1.0, 1.0])
    target = people("c", age=[31.0], sex=[1.0], height=[180.0])
    names, own, other = shared_covariates(source, ("a", "b"), target, ("c",))
    assert names == ("age",)  # one varies, one is of all the same, one is known here alone
    spread = np.std([21, 41, 31])
    assert own[:, 0] == pytest.approx([-10 / spread, 10 / spread])
    assert other[:, 0] == pytest.approx([0])


def test_without_any_the_tables_have_no_column():
    names, own, other = shared_covariates(people("a", "b"), ("a", "b"), people("c"), ("c",))
    assert (names, own.shape, other.shape) == ((), (2, 0), (1, 0))


def test_sites_are_apart_in_deviations_within_them():
    source, target = np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([[7.0, 1.0], [9.0, 1.0]])
    assert separation(source, target) == pytest.approx([6 / np.sqrt(2), np.inf])
