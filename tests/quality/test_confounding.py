"""Confounding against scipy, closed forms and chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, f_oneway

from bids_harmony.exceptions import DataError
from bids_harmony.quality.confounding import confounding


def test_of_numbers_it_is_eta_squared(rng):
    sites = np.repeat(["A", "B", "C"], [10, 14, 16])
    age = rng.normal(50, 10, 40) + 20 * (sites == "C")
    got = confounding(sites, age)
    means = np.array([age[sites == s].mean() for s in sites])
    assert got.share == pytest.approx(means.var() / age.var())
    assert got.p == pytest.approx(f_oneway(*(age[sites == s] for s in "ABC")).pvalue)
    assert (got.n, got.confounded) == (40, True)


def test_of_words_it_is_cramers_v_less_its_bias():
    sites, sex = np.repeat(["A", "B"], [40, 60]), ["F"] * 30 + ["M"] * 10 + ["F"] * 15 + ["M"] * 45
    got = confounding(sites, sex)
    # Of two by two: phi squared, less 1 / (n - 1), over what is left of one.
    phi = (30 * 45 - 10 * 15) ** 2 / (40 * 60 * 45 * 55)
    assert got.share == pytest.approx((phi - 1 / 99) / (1 - 1 / 99))
    table = [[30, 10], [15, 45]]
    assert got.p == pytest.approx(chi2_contingency(table, correction=False).pvalue)


def test_words_that_chance_deals_have_no_share_on_average(rng):
    sites = np.repeat(np.arange(6), 10)
    found = [confounding(sites, rng.choice(["x", "y", "z"], 60)) for _ in range(100)]
    # Without the correction the mean would be (6 - 1) / 59 = 0.085.
    assert np.mean([c.share for c in found]) < 0.03
    assert sum(c.confounded for c in found) <= 2


def test_small_or_uncertain_differences_do_not_confound(rng):
    sites = np.repeat(["A", "B"], 500)
    age = rng.normal(50, 10, 1000) + 4 * (sites == "B")
    clear = confounding(sites, age)
    assert clear.p < 1e-6 and 0 < clear.share < 0.1 and not clear.confounded
    few = confounding([*"AABBCC"], [20, 50, 30, 60, 80, 55])
    assert few.share > 0.25 and few.p > 0.01 and not few.confounded


def test_a_site_with_a_value_of_its_own_confounds():
    sites = ["A"] * 2 + ["B"] * 20
    group = ["patient"] * 2 + ["control", "carrier"] * 10
    assert confounding(sites, group).confounded
    assert confounding(sites, ["control", "control", *group[2:]]).confounded is False
    ages = [8.0, 8.0, *np.linspace(7, 9, 20)]
    assert confounding(sites, ages).confounded
    assert not confounding(sites, [8.0, 8.1, *ages[2:]]).confounded
    # One scan has one value whatever its site is.
    assert not confounding(["A", *"BBBBCCCC"], [8.05, 7, 8, 9, 10, 7, 8, 9, 10]).confounded


def test_the_same_everywhere_is_not_confounded_and_the_opposite_is():
    sites = ["A"] * 5 + ["B"] * 5
    for value in (0.1, "F"):
        got = confounding(sites, [value] * 10)
        assert (got.share, got.p, got.confounded) == (0, 1, False)
    for values in ([0.1] * 5 + [0.3] * 5, ["F"] * 5 + ["M"] * 5):
        got = confounding(sites, values)
        assert got.share == pytest.approx(1)
        assert got.p < 0.01 and got.confounded


def test_missing_values_do_not_count():
    sites = [*"AAABBBB", "n/a"]
    assert confounding(sites, [1, 2, "n/a", 1, 3, None, 2, 7]) == confounding(
        [*"AABBB"], [1, 2, 1, 3, 2]
    )
    # NaN beside words is not the word "nan".
    assert confounding(sites, [*"FFMMF", float("nan"), "M", "M"]).n == 6
    with pytest.raises(DataError, match="2 scans of 1 sites"):
        confounding(sites, [1, 2, *["n/a"] * 6])
    with pytest.raises(DataError, match="8 values"):
        confounding(sites, [1, 2])
