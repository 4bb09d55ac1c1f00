"""People that an effect needs, against a simulation and the tables of Cohen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from bids_harmony.quality.power import people_per_site


def test_without_site_effect_it_is_the_number_of_the_tables():
    assert people_per_site(0.0, 1) == 2 * 394  # Cohen 1988, d = 0.2, power 0.8
    assert people_per_site(-0.05, 2) == 394
    assert people_per_site(0.0, 3) == 263  # the next whole person


def test_half_of_the_variance_doubles_it():
    assert people_per_site(0.5, 2) == pytest.approx(2 * people_per_site(0.0, 2), abs=2)


@pytest.mark.parametrize("share", [float("nan"), 1.0, 0.99999])
def test_where_nothing_is_left_there_is_no_number(share):
    assert people_per_site(share, 4) is None


def test_that_many_people_show_the_effect_four_times_of_five():
    share, n_sites = 0.4, 4
    half = people_per_site(share, n_sites) // 2
    rng = np.random.default_rng(0)
    # The variance between four equally spaced sites, divided by all, is the share.
    steps = np.arange(n_sites) - (n_sites - 1) / 2
    sites = np.repeat(steps / steps.std() * np.sqrt(share / (1 - share)), half)
    shown = 0
    for _ in range(400):
        first = sites + rng.normal(size=sites.size)
        second = sites + 0.2 + rng.normal(size=sites.size)
        shown += ttest_ind(first, second).pvalue < 0.05
    assert shown / 400 == pytest.approx(0.8, abs=0.1)
