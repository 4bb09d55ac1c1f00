"""Site effects against scipy, plain least squares, series of the noncentral F, and simulations."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from scipy.special import betainc
from scipy.stats import f_oneway, kstest, poisson

from bids_harmony.exceptions import DataError
from bids_harmony.quality.site_effect import site_effect


def _noncentral(f, df1, df2, noncentrality):
    """Distribution function of the noncentral F, by its Poisson series."""
    j = np.arange(3000)
    parts = betainc(df1 / 2 + j, df2 / 2, df1 * f / (df1 * f + df2))
    return float(poisson.pmf(j, noncentrality / 2) @ parts)


def _squares(y, *columns):
    """Sum of squares that least squares leaves, and its rank."""
    x = np.column_stack(columns).astype(float)
    fit = np.linalg.lstsq(x, y, rcond=None)[0]
    return float(np.sum((y - x @ fit) ** 2)), np.linalg.matrix_rank(x)


def _indicators(labels):
    return np.asarray(labels)[:, None] == np.unique(labels)


def _alike(first, second):
    """Whether two effects are one but for the order of sums."""
    return asdict(first) == pytest.approx(asdict(second))


def test_without_covariates_it_is_the_one_way_analysis_of_variance(rng):
    sites = np.repeat(["A", "B", "C"], [6, 9, 12])
    y = rng.normal(size=27) + (sites == "B")
    got = site_effect(y, sites)
    test = f_oneway(*(y[sites == s] for s in "ABC"))
    assert [got.f, got.p] == pytest.approx([test.statistic, test.pvalue])
    # Omega squared as in textbooks, from sums of squares.
    within = sum(y[sites == s].var() * (sites == s).sum() for s in "ABC")
    total = y.var() * 27
    mse = within / 24
    assert got.share == pytest.approx((total - within - 2 * mse) / (total + mse))
    assert (got.df_sites, got.df_error, got.n_scans, got.n_sites) == (2, 24, 27, 3)
    assert (got.n_left_out, got.within_people) == (0, False)


def test_ends_of_the_interval_have_their_definition(rng):
    sites = np.repeat(["A", "B", "C"], 12)
    got = site_effect(rng.normal(size=36) + 1.8 * (sites == "B"), sites)
    assert 0 < got.low < got.share < got.high < 1
    for end, quantile in ((got.low, 0.975), (got.high, 0.025)):
        noncentrality = 36 * end / (1 - end)
        assert _noncentral(got.f, 2, 33, noncentrality) == pytest.approx(quantile, abs=1e-8)


def test_covariates_are_held_fixed_and_missing_ones_counted(rng):
    sites = rng.permutation(np.repeat(["A", "B", "C"], 15))
    age = rng.uniform(20, 80, 45).astype(object)
    sex = rng.choice(["F", "M"], 45).astype(object)
    y = rng.normal(size=45) + 0.1 * age.astype(float) + 0.8 * (sites == "C")
    age[3], sex[5], y[7] = "n/a", None, np.nan
    got = site_effect(y, sites, covariates={"age": age, "sex": sex})
    keep = np.isin(np.arange(45), [3, 5, 7], invert=True)
    z = (np.ones(42), age[keep].astype(float), sex[keep] == "M")
    less, rank = _squares(y[keep], *z)
    full, full_rank = _squares(y[keep], *z, _indicators(sites[keep]))
    assert got.f == pytest.approx((less - full) / 2 / (full / (42 - full_rank)))
    assert (got.df_sites, got.df_error) == (full_rank - rank, 42 - full_rank)
    assert (got.n_scans, got.n_left_out) == (42, 3)


def test_people_at_several_sites_are_compared_with_themselves(rng):
    who, sites = np.divmod(np.arange(40), 4)
    keep = np.isin(np.arange(40), [2, 17, 33], invert=True)  # not everyone was everywhere
    who, sites = who[keep], sites[keep]
    y = 10 * rng.normal(size=10)[who] + rng.normal(size=37) + 0.6 * sites
    got = site_effect(y, sites, people=who)
    less, _ = _squares(y, _indicators(who))
    full, full_rank = _squares(y, _indicators(who), _indicators(sites))
    assert got.f == pytest.approx((less - full) / 3 / (full / (37 - full_rank)))
    assert (got.df_sites, got.df_error, got.within_people) == (3, 37 - full_rank, True)
    # What differs between sites by 0.6 each is found only against people themselves.
    assert got.p < 0.01 and got.low > 0
    assert site_effect(y, sites).p > 0.3 and site_effect(y, sites).low == 0


def test_people_of_one_site_only_do_not_enter_among_travelling_ones(rng):
    who, sites = np.divmod(np.arange(24), 3)
    y = rng.normal(size=8)[who] + rng.normal(size=24)
    alone = site_effect(y, sites, people=who)
    more = site_effect([*y, 5, 7], [*sites, 0, 1], people=[*who, 98, 99])
    assert more.f == pytest.approx(alone.f) and more.share == pytest.approx(alone.share)
    assert (more.n_scans, more.n_left_out, more.within_people) == (24, 2, True)


def test_few_travelling_people_do_not_stand_for_all(rng):
    sites = np.tile(["A", "B"], 20)
    people = [0, 0, *range(2, 40)]
    y = rng.normal(size=40)
    assert _alike(site_effect(y, sites, people=people), site_effect(y, sites))


def test_travelling_people_who_do_not_link_all_sites_are_compared_with_others(rng):
    sites = np.array(list("ABABABCDCDCD"))
    people = np.repeat(np.arange(6), 2)
    y = rng.normal(size=12)
    assert _alike(site_effect(y, sites, people=people), site_effect(y, sites))
    linked = site_effect([*y, 1.0, 2.0], [*sites, "B", "C"], people=[*people, 6, 6])
    assert linked.within_people and linked.df_sites == 3


def test_rescans_do_not_make_a_site_better_known_than_its_people_do(rng):
    sites, people = np.repeat(["A", "B"], 8), np.arange(16)
    y = rng.normal(size=16)
    once = site_effect(y, sites, people=people)
    thrice = site_effect(
        np.repeat(y, 3) + np.tile([-1, 0, 1], 16), np.repeat(sites, 3), people=np.repeat(people, 3)
    )
    assert thrice.p == pytest.approx(once.p) and thrice.share == pytest.approx(once.share)
    assert (thrice.n_scans, thrice.df_error) == (48, 14)


def test_scans_of_one_person_are_compared_as_they_are(rng):
    sites, y = np.repeat(["A", "B"], 5), rng.normal(size=10)
    assert site_effect(y, sites, people=["me"] * 10) == site_effect(y, sites)


def test_nothing_that_varies_is_no_effect_and_sites_without_noise_are_all():
    sites = np.repeat(["A", "B"], 3)
    for y in (np.full(6, 0.1), np.zeros(6)):
        got = site_effect(y, sites)
        assert (got.share, got.low, got.high, got.p, got.f) == (0, 0, 0, 1, 0)
    age = np.array([1.0, 2, 4, 1, 3, 9])
    assert site_effect(0.3 * age, sites, covariates={"age": age}).share == 0
    got = site_effect([0.1] * 3 + [0.2] * 3, sites)
    assert (got.share, got.low, got.high, got.p) == (1, 1, 1, 0)


def test_very_large_effects_have_an_interval(rng):
    sites = np.repeat(["A", "B", "C"], 50)
    got = site_effect(rng.normal(size=150) + 1e4 * (sites == "B"), sites)
    assert 0.999 < got.low < got.share < got.high <= 1


def test_the_interval_holds_what_it_should(rng):
    sites = np.repeat(np.arange(4), 10)
    shift = np.array([0, 0.3, 0.6, 0.9])[sites]
    truth = shift.var() / (shift.var() + 1)
    held, zero, p = [], [], []
    for _ in range(120):
        noise = rng.normal(size=40)
        found, null = site_effect(noise + shift, sites), site_effect(noise, sites)
        held.append(found.low <= truth <= found.high)
        zero.append(null.low == 0)
        p.append(null.p)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)
    # Zero is the end of what there is: only 2.5 % can miss it.
    assert np.mean(zero) == pytest.approx(0.975, abs=0.02)
    assert kstest(p, "uniform").pvalue > 0.01


def test_the_share_is_right_on_average(rng):
    sites = np.repeat(np.arange(3), 30)
    shift = np.array([0, 0.5, 1.0])[sites]
    shares = [site_effect(rng.normal(size=90) + shift, sites).share for _ in range(80)]
    assert np.mean(shares) == pytest.approx(shift.var() / (shift.var() + 1), abs=0.015)


def test_agrees_with_statsmodels_where_it_is_there(rng):
    smf = pytest.importorskip("statsmodels.formula.api")
    anova = pytest.importorskip("statsmodels.stats.anova")
    import pandas as pd

    table = pd.DataFrame({"site": np.tile(list("ABCD"), 15), "age": rng.uniform(20, 80, 60)})
    table["y"] = rng.normal(size=60) + 0.02 * table.age + 0.5 * (table.site == "A")
    rows = anova.anova_lm(smf.ols("y ~ age + C(site)", table).fit(), typ=2)
    got = site_effect(table.y, table.site, covariates={"age": table.age})
    assert [got.f, got.p] == pytest.approx(rows.loc["C(site)", ["F", "PR(>F)"]].tolist())


def test_bad_designs_are_named(rng):
    y = rng.normal(size=9)
    with pytest.raises(DataError, match="A: 8, B: 1"):
        site_effect(y, [*"AAAAAAAAB"])
    with pytest.raises(DataError, match=r"told apart.*\[vendor\].*Leave the covariate out"):
        site_effect(y, [*"AAABBBCCC"], covariates={"age": y**2, "vendor": [*"gggsssppp"]})
    with pytest.raises(DataError, match=r"\[vendor\].*1 of 2"):
        site_effect(y, [*"AAABBBCCC"], covariates={"vendor": [*"gggssssss"]})
    with pytest.raises(DataError, match="visit"):
        site_effect(y[:8], [*"ABABABAB"], covariates={"visit": [1, 2] * 4}, people=[*"kkllmmnn"])
    with pytest.raises(DataError, match="1 more"):
        site_effect(y[:4], [*"AABB"], covariates={"a": y[:4], "b": y[4:8]})
    with pytest.raises(DataError, match="sites: 8"):
        site_effect(y, [*"AABBAABB"])
    with pytest.raises(DataError, match="numbers"):
        site_effect([*"abcdefghi"], [*"AAABBBCCC"])


def test_the_only_scan_of_a_site_is_left_out(rng):
    y, sites = rng.normal(size=9), [*"AAAABBBBC"]
    got = site_effect(y, sites)
    assert (got.n_sites, got.n_left_out) == (2, 1)
    assert got.f == pytest.approx(site_effect(y[:8], sites[:8]).f)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_a_measure_that_is_constant_within_sites_is_all_the_sites(unit):
    values = unit * np.array([0.3, 0.3, 1.1, 1.1, 1.1])
    for noise in (0.0, 1e-16, 1e-12, 1e-9):
        got = site_effect(values * (1 + noise * np.array([1, -1, 1, -1, 0])), list("AABBB"))
        assert (got.share, got.low, got.high) == pytest.approx((1, 1, 1), abs=1e-6)
        assert got.p < 1e-6
    nothing = site_effect(np.full(5, 0.3 * unit), list("AABBB"))
    assert (nothing.share, nothing.p, nothing.low, nothing.high) == (0, 1, 0, 0)
