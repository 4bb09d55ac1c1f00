"""ComBat against neuroCombat, closed forms and simulated cohorts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import linregress

from bids_harmony.exceptions import DataError
from bids_harmony.quality.combat import combat, leave_person_out
from bids_harmony.quality.effects_kept import effect_kept
from bids_harmony.quality.site_effect import site_effect

REFERENCE = json.loads((Path(__file__).parent / "combat_reference.json").read_text("utf-8"))


@pytest.fixture
def table():
    """Values (N, F), sites and covariates that neuroCombat was given."""
    given = REFERENCE["input"]
    covariates = {"age": given["age"], "sex": given["sex"]}
    return np.array(given["values"]), np.array(given["sites"]), covariates


@pytest.mark.parametrize("case", ["plain", "covariates"])
def test_numbers_are_those_of_neurocombat(case, table):
    values, sites, covariates = table
    got = combat(values, sites, covariates=None if case == "plain" else covariates)
    expected = np.array(REFERENCE["output"][case])
    # It stops its iteration earlier than we do, at a relative change of 1e-4.
    np.testing.assert_allclose(got / values.std(0), expected / values.std(0), atol=5e-4)
    assert np.abs((expected - values) / values.std(0)).max() > 0.5


def test_one_measure_is_that_of_neurocombat_without_empirical_bayes(table):
    values, sites, covariates = table
    got = combat(values[:, :1], sites, covariates=covariates)
    np.testing.assert_allclose(got, REFERENCE["output"]["one measure"], rtol=1e-8)


def test_one_measure_gets_one_location_and_scale(rng):
    sites = np.repeat(["A", "B"], [200, 300])
    values = rng.normal(size=500) * np.where(sites == "A", 1, 3) + np.where(sites == "A", 5, 9)
    got = combat(values[:, None], sites)[:, 0]
    spread = np.sqrt(np.mean((got[sites == "A"]) ** 2))
    assert got[sites == "A"].mean() == pytest.approx(got[sites == "B"].mean())
    assert got[sites == "A"].std(ddof=1) == pytest.approx(got[sites == "B"].std(ddof=1))
    assert got.mean() == pytest.approx(values.mean()) and spread > 0


def test_few_scans_are_shrunk_to_what_measures_share(rng):
    sites = np.repeat(["A", "B"], [3, 100])
    noise = rng.normal(size=(103, 200))
    got = combat(noise + 2 * (sites == "A")[:, None], sites)
    # Locations of measures differ by chance only. Their mean goes; of what chance dealt, half
    # stays: over measures it has a variance of 1/3, the weight is 3/3 over 3/3 + 1.
    assert got[:3].mean() == pytest.approx(got[3:].mean(), abs=0.05)
    chance = noise[:3].mean(0)
    assert linregress(chance, got[:3].mean(0)).slope == pytest.approx(0.5, abs=0.06)


def test_the_only_scan_of_a_site_is_moved_but_not_scaled(rng):
    sites = np.array(["A"] * 20 + ["B"] * 20 + ["C"])
    values = rng.normal(size=(41, 30)) + 3 * (sites == "C")[:, None]
    got = combat(values, sites)
    assert np.isfinite(got).all()
    assert np.abs(got[40].mean()) < 0.5 < values[40].mean()
    assert got[40].std() > 0.5 * values[40].std()
    with pytest.raises(DataError, match=r"only scan.*\[C\]"):
        combat(values[:, :1], sites)


def test_a_planted_age_effect_is_kept_when_it_is_named_and_lost_when_it_is_not(rng):
    sites = np.repeat(["young", "old"], 60)
    age = rng.normal(40, 8, 120) + 25 * (sites == "old")
    slopes = -0.05 * np.linspace(0.5, 1.5, 20)
    people = age[:, None] * slopes + rng.normal(size=(120, 20))
    values = people + (sites == "old")[:, None] * rng.normal(2, 0.3, 20)
    named, plain = combat(values, sites, covariates={"age": age}), combat(values, sites)
    ratios = []
    for column in range(20):
        within = effect_kept(age, values[:, column], named[:, column], sites=list(sites))
        ratios.append(within.ratio)
        # Over all people: the truth is known, and the covariate brings it back.
        truth = linregress(age, people[:, column]).slope
        assert abs(linregress(age, named[:, column]).slope - truth) < 0.03
        assert abs(linregress(age, plain[:, column]).slope) < 0.65 * abs(truth)
    assert np.median(ratios) == pytest.approx(1, abs=0.05)
    raw = [site_effect(v, sites, covariates={"age": age}).share for v in values.T]
    left = [site_effect(v, sites, covariates={"age": age}).share for v in named.T]
    assert np.median(raw) > 0.2 and max(left) < 0.05


def test_measures_without_noise_lose_their_shift(rng):
    sites = np.repeat(["A", "B"], 6)
    values = rng.normal(size=(12, 4))
    values[:, 1], values[:, 2] = 0.1, np.where(sites == "A", 1.0, 3.0)
    got = combat(values, sites)
    np.testing.assert_allclose(got[:, 1], 0.1)
    np.testing.assert_allclose(got[:, 2], 2)
    np.testing.assert_allclose(got[:, [0, 3]], combat(values[:, [0, 3]], sites))
    values[:6, 0] = 1  # silent at one site only
    assert np.isfinite(combat(values, sites)).all()
    assert np.isfinite(combat(values[:, :1], sites)).all()
    twice = np.repeat(values[:, 3:], 2, axis=1)  # nothing to shrink to
    np.testing.assert_allclose(combat(twice, sites)[:, :1], combat(twice, sites)[:, 1:])


def test_units_do_not_count_and_the_input_is_not_written_to(table):
    values, sites, covariates = table
    before = values.copy()
    got = combat(values, sites, covariates=covariates)
    other = combat(1000 * values + 5, sites, covariates=covariates)
    np.testing.assert_allclose(other, 1000 * got + 5)
    np.testing.assert_array_equal(values, before)


def test_bad_tables_are_named(table):
    values, sites, covariates = table
    with pytest.raises(DataError, match=r"told apart.*\[vendor\]"):
        combat(values, sites, covariates={"vendor": np.where(sites == "A", "GE", "SIEMENS")})
    with pytest.raises(DataError, match=r"\[age\]"):
        ages = list(covariates["age"])
        ages[3] = "n/a"
        combat(values, sites, covariates={"age": ages})
    with pytest.raises(DataError, match=r"none of the sites.*Expected: A, B, C"):
        combat(values, sites, reference="Z")
    with pytest.raises(DataError, match="two sites"):
        combat(values, ["A"] * len(values))
    with pytest.raises(DataError, match="same length"):
        combat(values, sites[1:])
    with pytest.raises(DataError, match="same length"):
        combat(values[:, 0], sites)
    with pytest.raises(DataError, match="Too few scans"):
        combat(values[:3], ["A", "B", "C"])


def test_a_missing_value_is_missing_and_takes_nothing_else_along(table):
    """neuroCombat makes the whole table NaN."""
    values, sites, covariates = table
    whole = combat(values, sites, covariates=covariates)
    holes = values.copy()
    holes[2, 1] = np.nan
    got = combat(holes, sites, covariates=covariates)
    assert np.isnan(got[2, 1]) and np.isnan(got).sum() == 1
    # Other measures change by what one value says of the prior; the measure by one of its scans.
    spread = values.std(axis=0)
    others = np.delete(np.abs(got - whole) / spread, 1, axis=1)
    assert others.max() < 0.05
    assert np.nanmax(np.abs(got - whole)[:, 1] / spread[1]) < 0.5
    # As if the measure alone had been asked of the other scans.
    rest = np.arange(len(values)) != 2
    alone = combat(
        values[rest, 1:2], np.array(sites)[rest],
        covariates={k: np.array(v)[rest] for k, v in covariates.items()},
    )  # fmt: skip
    one = combat(holes[:, 1:2], sites, covariates=covariates)
    np.testing.assert_allclose(one[rest], alone, rtol=0.02)


def test_a_measure_that_a_site_lacks_is_none_of_its_business(rng):
    sites = np.repeat(["A", "B", "C"], 20)
    values = rng.normal(size=(60, 12)) + 2.0 * (sites == "B")[:, None]
    values[sites == "C", 3] = np.nan
    got = combat(values, sites)
    assert np.isnan(got).sum() == 20 and np.isnan(got[sites == "C", 3]).all()
    assert got[sites == "B", 3].mean() == pytest.approx(got[sites == "A", 3].mean(), abs=0.2)


def test_others_come_to_the_reference_which_stays(rng):
    sites = np.repeat(["A", "B", "C"], [40, 30, 30])
    values = rng.normal(size=(100, 15)) * np.where(sites == "A", 1, 3)[:, None]
    values += np.where(sites == "A", 10, 4)[:, None]
    got = combat(values, sites, reference="A")
    np.testing.assert_array_equal(got[sites == "A"], values[sites == "A"])
    for site in "BC":
        goal = values[sites == "A"].mean()
        assert got[sites == site].mean() == pytest.approx(goal, abs=0.1)
        assert got[sites == site].std() == pytest.approx(1, abs=0.15)
    one = combat(values[:, :1], sites, reference="A")[:, 0]
    assert one[sites == "B"].mean() == pytest.approx(values[sites == "A", 0].mean())
    assert one[sites == "B"].std(ddof=1) == pytest.approx(
        np.sqrt(np.mean(np.square(values[sites == "A", 0] - values[sites == "A", 0].mean())))
    )
    with pytest.raises(DataError, match=r"too seldom \[D\]"):
        combat(np.vstack([values, values[:1]]), [*sites, "D"], reference="D")


def test_who_is_left_out_says_nothing_of_the_sites(rng):
    people = np.tile([f"p{i}" for i in range(9)], 4)
    sites = np.repeat(["A", "B", "C", "D"], 9)
    values = rng.normal(size=(36, 6)) + np.repeat(rng.normal(0, 2, (4, 6)), 9, axis=0)
    got = leave_person_out(values, sites, people)
    assert np.isfinite(got).all()
    # Moved by one at every site, the person alone moves, and by the scale of the site.
    moved = values.copy()
    moved[people == "p3"] += 1.0
    again = leave_person_out(moved, sites, people)
    shift = (again - got)[people == "p3"]
    assert (shift > 0.3).all() and (shift < 3).all()
    scales = combat(values, sites, learn_on=people != "p3")[people == "p3"]
    np.testing.assert_allclose(got[people == "p3"], scales)

    # Learnt on the person as well, the same people seem to agree more than they do.
    def within(table):
        return np.mean([table[people == p].var(axis=0) for p in set(people)])

    assert within(combat(values, sites)) < within(got) < within(values)


def test_where_others_do_not_suffice_nobody_is_adjusted(rng):
    sites = np.array(["A"] * 5 + ["B"] * 5 + ["C"] * 2)
    people = [f"p{i}" for i in range(12)]
    values = rng.normal(size=(12, 5))
    got = leave_person_out(values, sites, people)
    assert np.isnan(got[10:]).all() and np.isfinite(got[:10]).all()
    some = leave_person_out(values, sites, people, only=["p0"])
    np.testing.assert_array_equal(np.isfinite(some).all(axis=1), np.arange(12) == 0)
    np.testing.assert_allclose(some[0], got[0])
    # A site that nobody shows has no number.
    unseen = combat(values, sites, learn_on=sites != "C")
    assert np.isnan(unseen[10:]).all() and np.isfinite(unseen[:10]).all()


def test_people_scanned_repeatedly_keep_their_own_level(rng):
    """Sites that have people of other levels: what people are is no effect of the site."""
    people = np.repeat([f"p{i}" for i in range(30)], 4)
    level = np.repeat(rng.normal(0, 3, (30, 8)), 4, axis=0)
    # Most scans of a person are at one site, and one at the other.
    sites = np.where(np.arange(120) % 4 == 3, "B", "A")
    sites[60:] = np.where(sites[60:] == "A", "B", "A")
    level[60:] += 2.0
    shift = (sites == "B")[:, None] * np.linspace(1, 2, 8)
    truth = level + 0.3 * rng.normal(size=(120, 8))
    with_people = combat(truth + shift, sites, people=people)
    plain = combat(truth + shift, sites)

    def error(table):
        return np.std((table - truth) - (table - truth).mean(axis=0))

    assert error(with_people) < 0.2 < 0.5 < error(plain)
    # Scans of one person agree, whichever site made them.
    within = np.mean([with_people[people == p].var(axis=0) for p in set(people)])
    assert within == pytest.approx(0.3**2, rel=0.3)
    # And somebody whom nothing was learnt from keeps the own level, too.
    others = combat(truth + shift, sites, people=people, learn_on=people != "p0")
    np.testing.assert_allclose(others[:4], with_people[:4], atol=0.25)
    with pytest.raises(DataError, match="scanned twice"):
        combat(truth, sites, people=[f"q{i}" for i in range(120)])
