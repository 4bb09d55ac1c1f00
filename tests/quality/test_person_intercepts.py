"""Random intercepts of people: balanced designs have their answer in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.quality.person_intercepts import fit_with_people


def balanced(rng, people=12, scans=5, between=2.0):
    owners = np.repeat([f"p{i}" for i in range(people)], scans)
    values = between * np.repeat(rng.normal(size=people), scans) + rng.normal(size=people * scans)
    return owners, 1000 * values[:, None]


def test_variances_are_those_of_the_analysis_of_variance(rng):
    owners, values = balanced(rng)
    design = np.ones((60, 1))
    slopes, intercepts, spread = fit_with_people(design, values, owners, np.ones(60, bool))
    table = values.reshape(12, 5)
    within = table.var(axis=1, ddof=1).mean()
    between = max(table.mean(axis=1).var(ddof=1) - within / 5, 0)
    assert slopes[0, 0] == pytest.approx(values.mean(), rel=1e-6)
    assert spread[0] == pytest.approx(np.sqrt(within), rel=1e-3)
    share = between / within
    expected = 5 * share / (1 + 5 * share) * (table.mean(axis=1) - values.mean())
    np.testing.assert_allclose(intercepts[::5, 0], expected, rtol=5e-3, atol=1)


def test_people_who_do_not_differ_have_no_level_of_their_own(rng):
    owners = np.repeat([f"p{i}" for i in range(20)], 3)
    values = rng.normal(size=(20, 3))
    values -= values.mean(axis=1, keepdims=True)
    _, intercepts, _ = fit_with_people(
        np.ones((60, 1)), values.reshape(60, 1), owners, np.ones(60, bool)
    )
    assert not intercepts.any()


def test_missing_values_and_people_that_nothing_is_learnt_from(rng):
    owners, values = balanced(rng)
    values[7] = np.nan
    learnt = owners != "p11"
    slopes, intercepts, _ = fit_with_people(np.ones((60, 1)), values, owners, learnt)
    assert np.isfinite(intercepts).all() and np.isfinite(slopes).all()
    left = np.nanmean(values[owners == "p11"]) - slopes[0, 0]
    assert 0.7 < intercepts[-1, 0] / left < 1
    with pytest.raises(DataError, match="scanned twice"):
        fit_with_people(np.ones((3, 1)), np.ones((3, 1)), np.array(list("abc")), np.ones(3, bool))


def test_elsewhere_it_is_what_statsmodels_finds(rng):
    mixed = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    owners = np.array([f"p{i}" for i in rng.integers(0, 15, 80)])
    levels = dict(zip(sorted(set(owners)), rng.normal(0, 1.5, 15), strict=False))
    design = np.column_stack([np.eye(3)[rng.integers(0, 3, 80)], rng.normal(size=80)])
    values = design @ [1.0, 2.0, 4.0, -0.5] + rng.normal(size=80)
    values += np.array([levels[owner] for owner in owners])
    expected = mixed.MixedLM(values, design, groups=owners).fit(reml=True)
    slopes, intercepts, spread = fit_with_people(
        design, values[:, None], owners, np.ones(80, bool)
    )
    np.testing.assert_allclose(slopes[:, 0], expected.fe_params, rtol=1e-3)
    assert spread[0] == pytest.approx(np.sqrt(expected.scale), rel=1e-3)
    own = [expected.random_effects[owner].iloc[0] for owner in owners]
    np.testing.assert_allclose(intercepts[:, 0], own, atol=2e-3)
