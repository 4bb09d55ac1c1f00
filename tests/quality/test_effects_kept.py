"""Slopes before and after, against scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress, t, ttest_ind

from bids_harmony.exceptions import DataError
from bids_harmony.quality.effects_kept import effect_kept


@pytest.fixture
def aged(rng):
    age = rng.uniform(20, 80, 40)
    noise = rng.normal(0, 0.02, 40)
    before = 0.6 - 0.002 * age + noise
    after = 0.5 - 0.0016 * age + 0.8 * noise + rng.normal(0, 0.01, 40)
    return age, before, after


def test_ratio_of_slopes_and_fiellers_limits(aged):
    age, before, after = aged
    kept = effect_kept(age, before, after)
    assert kept.slope_before == pytest.approx(linregress(age, before).slope)
    assert kept.ratio == pytest.approx(linregress(age, after).slope / kept.slope_before)
    assert kept.low < kept.ratio < kept.high < 2
    # At its ends the difference has a slope that is just significant.
    for end in (kept.low, kept.high):
        assert linregress(age, after - end * before).pvalue == pytest.approx(0.05, abs=1e-6)


def test_an_effect_that_is_scaled_is_known_exactly(aged):
    age, before, _ = aged
    kept = effect_kept(age, before, 0.7 * before + 3)
    assert [kept.low, kept.ratio, kept.high] == pytest.approx([0.7] * 3, abs=1e-5)


def test_without_an_effect_before_nothing_is_known(aged, rng):
    age, _, after = aged
    kept = effect_kept(age, rng.normal(0, 1, len(age)), after)
    assert (kept.low, kept.high) == (-np.inf, np.inf)


def test_sites_do_not_make_an_effect_of_age(aged):
    age, before, after = aged
    old = age > np.median(age)
    names = np.where(old, "GE", "COI")
    shifted = before + 0.3 * old
    plain = effect_kept(age, shifted, after)
    assert plain.slope_before > 0
    within = effect_kept(age, shifted, after, sites=list(names))
    alone = effect_kept(age, before, after, sites=list(names))
    assert within.slope_before == pytest.approx(alone.slope_before)
    # The interval is that of a regression with a mean for each site.
    columns = np.column_stack([age, old, ~old])
    rest = after - within.high * shifted
    fit, residual, *_ = np.linalg.lstsq(columns, rest, rcond=None)
    error = np.sqrt(residual[0] / 37 * np.linalg.inv(columns.T @ columns)[0, 0])
    assert abs(fit[0] / error) == pytest.approx(2.0261925, abs=1e-4)  # t of 37 at 0.975


def test_several_effects_at_once_are_told_apart_by_a_multiple_regression(aged, rng):
    age, before, after = aged
    load = 0.02 * age + rng.normal(0, 1, 40)  # goes with age
    seen, left = before + 0.05 * load, after + 0.01 * load
    names = list(rng.permutation(["GE", "COI"] * 20))
    kept = effect_kept(age, seen, left, sites=names, others=np.column_stack([load, load * 0]))
    ge = np.array(names) == "GE"
    columns = np.column_stack([age, load, ge, ~ge])
    slopes = [np.linalg.lstsq(columns, y, rcond=None)[0][0] for y in (seen, left)]
    assert [kept.slope_before, kept.slope_after] == pytest.approx(slopes)
    assert kept.ratio == pytest.approx(0.8, abs=0.1)
    # Without the load, what it does is noise.
    alone = effect_kept(age, seen, left)
    assert kept.high - kept.low < 0.5 * (alone.high - alone.low)
    # At the ends of the interval the difference has a slope that is just significant.
    for end in (kept.low, kept.high):
        fit, residual, *_ = np.linalg.lstsq(columns, left - end * seen, rcond=None)
        error = np.sqrt(residual[0] / 36 * np.linalg.inv(columns.T @ columns)[0, 0])
        assert abs(fit[0] / error) == pytest.approx(t.ppf(0.975, 36), abs=1e-4)


def test_further_covariates_must_be_known_and_leave_something(aged):
    age, before, after = aged
    with pytest.raises(DataError, match="41"):
        effect_kept(age, before, after, others=np.zeros((41, 1)))
    with pytest.raises(DataError, match="covariates"):
        effect_kept(age, before, after, others=np.full((40, 1), np.nan))
    with pytest.raises(DataError, match="2 covariates"):
        effect_kept(age, before, after, others=3 * age[:, None] + 1)
    # Nobody whose own values are unknown needs further covariates.
    table = np.zeros((40, 1))
    table[0], some = np.nan, before.copy()
    some[0] = np.nan
    assert effect_kept(age, some, after, others=table).n == 39


def test_ages_that_make_no_slope_are_refused(aged):
    age, before, after = aged
    with pytest.raises(DataError, match="slope"):
        effect_kept(np.full(40, 50), before, after)
    with pytest.raises(DataError, match="within sites"):
        effect_kept(age[:4], before[:4], after[:4], sites=list("abcd"))
    same_at_each = np.tile([0.1, 0.7, 33.3, 70.1], 10)  # whose means are not exact
    with pytest.raises(DataError, match="within sites"):
        effect_kept(same_at_each, before, after, sites=list("abcd") * 10)
    with pytest.raises(DataError, match="f, m, o"):
        effect_kept(list("fmof") * 10, before, after)
    with pytest.raises(DataError, match="39"):
        effect_kept(age, before[:39], after)


def test_two_words_are_compared_as_groups(aged, rng):
    sex = rng.permutation(["M", "F"] * 20)
    before = rng.normal(0, 1, 40) + 2 * (sex == "M")
    kept = effect_kept(sex, before, 0.5 * before)
    assert kept.levels == ("F", "M")
    assert kept.slope_before == pytest.approx(
        before[sex == "M"].mean() - before[sex == "F"].mean()
    )
    assert kept.p_before == pytest.approx(ttest_ind(before[sex == "M"], before[sex == "F"]).pvalue)
    assert [kept.low, kept.ratio, kept.high] == pytest.approx([0.5] * 3, abs=1e-5)


def test_a_reader_sees_whether_there_was_an_effect(aged, rng):
    age, before, after = aged
    assert effect_kept(age, before, after).p_before == pytest.approx(
        linregress(age, before).pvalue
    )
    # One degree of freedom less for a second site: t of a regression with a mean for each.
    names = np.tile(["GE", "COI"], 20)
    columns = np.column_stack([age, names == "GE", names == "COI"]).astype(float)
    fit, residual, *_ = np.linalg.lstsq(columns, before, rcond=None)
    error = np.sqrt(residual[0] / 37 * np.linalg.inv(columns.T @ columns)[0, 0])
    within = effect_kept(age, before, after, sites=list(names))
    assert within.p_before == pytest.approx(2 * t.sf(abs(fit[0] / error), 37))
    assert effect_kept(age, np.ones(40), after).p_before == 1


def test_people_of_whom_something_is_missing_do_not_count(aged):
    age, before, after = aged
    some, worse = age.astype(object), after.copy()
    some[0], some[1], worse[2] = "n/a", None, np.nan
    assert effect_kept(some, before, worse) == effect_kept(age[3:], before[3:], after[3:])
    assert effect_kept(some, before, worse).n == 37
