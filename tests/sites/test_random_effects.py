"""The difference of two sites: as mixed models have it, shrunk by its evidence."""

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.sites.random_effects import mean_per_person, site_difference

#: Next to no prior: what least squares says.
FLAT = {"between_sites_sd": 100.0, "residual_sd": 0.02, "prior_people": 1e-9}
USUAL = {"between_sites_sd": 0.08, "residual_sd": 0.025, "prior_people": 4.0}


def people(rng, count, mean, sd=0.02):
    return mean + sd * rng.standard_normal(count)


def test_without_a_prior_it_is_the_difference_of_means_and_its_standard_error(rng):
    source, target = people(rng, 6, 0.0), people(rng, 9, 0.3)
    found = site_difference(source, target, **FLAT)
    assert found.mean == pytest.approx(target.mean() - source.mean(), abs=1e-6)
    pooled = (source.var() * 6 + target.var() * 9) / 13
    assert found.residual_sd == pytest.approx(np.sqrt(pooled), rel=1e-6)
    assert found.standard_error == pytest.approx(np.sqrt(pooled * (1 / 6 + 1 / 9)), rel=1e-4)


def test_shrinkage_is_that_of_two_normals():
    # One person each; the residual's variance is the prior's: (2 T^2) / (2 T^2 + 2 S^2).
    found = site_difference([0.0], [0.1], **USUAL)
    assert found.mean == pytest.approx(0.1 * 0.08**2 / (0.08**2 + 0.025**2), rel=1e-9)
    assert found.posterior_sd**2 == pytest.approx(1 / (1 / (2 * 0.08**2) + 1 / (2 * 0.025**2)))


def test_more_people_shrink_less_and_people_who_vary_more(rng):
    def kept(count, sd=0.02):
        source, target = people(rng, count, 0.0, sd), people(rng, count, 0.2, sd)
        found = site_difference(source, target, **USUAL)
        return found.mean / found.raw

    assert kept(1) < kept(2) < kept(20)
    assert 0.99 < kept(20) < 1
    assert kept(20, sd=0.3) < kept(20)


def test_a_covariate_is_no_difference_of_sites(rng):
    # Sites are alike; one has older people, whose contrast is lower. Ages overlap.
    young, old = rng.uniform(20, 60, 30), rng.uniform(40, 80, 30)
    slope = -0.003
    source = slope * young + 0.005 * rng.standard_normal(30)
    target = slope * old + 0.005 * rng.standard_normal(30)
    blind = site_difference(source, target, **USUAL)
    mean, spread = np.concatenate([young, old]).mean(), np.concatenate([young, old]).std()
    seeing = site_difference(
        source, target, **USUAL, slope_sd=[0.05],
        source_covariates=(young - mean)[:, None] / spread,
        target_covariates=(old - mean)[:, None] / spread,
    )  # fmt: skip
    assert blind.mean < -0.04
    assert abs(seeing.mean) < 0.01


def test_where_a_covariate_is_the_site_the_difference_is_open(rng):
    source, target = people(rng, 20, 0.0), people(rng, 20, 0.1)
    apart = {"source_covariates": -np.ones((20, 1)), "target_covariates": np.ones((20, 1))}
    alone = site_difference(source, target, **USUAL)
    mixed = site_difference(source, target, **USUAL, **apart, slope_sd=[0.05])
    # Prior variances of the difference and of two slopes share it.
    share = 2 * 0.08**2 / (2 * 0.08**2 + 4 * 0.05**2)
    assert mixed.mean == pytest.approx(alone.mean * share, rel=0.02)
    assert mixed.posterior_sd > 5 * alone.posterior_sd
    # Nor does it take a degree of freedom from what people vary by.
    assert mixed.residual_sd == pytest.approx(alone.residual_sd, rel=1e-9)
    nothing_known = site_difference(source, target, **FLAT, **apart, slope_sd=[100.0])
    assert nothing_known.standard_error > 50
    said_by_prior = site_difference(source, target, **USUAL, **apart, slope_sd=[1e6])
    assert said_by_prior.standard_error == np.inf


def test_the_posterior_is_the_best_linear_unbiased_prediction(rng):
    """Henderson's, by the covariance of the measures; the mean of all by generalized least squares
    (Robinson, Statist. Sci. 6:15, 1991)."""
    own, other = rng.standard_normal((7, 2)), rng.standard_normal((4, 2)) + 0.7
    slope_sd = 0.03, 0.2
    source, target = people(rng, 7, 0.0), people(rng, 4, 0.1)
    found = site_difference(
        source, target, between_sites_sd=0.05, residual_sd=0.03, prior_people=1e12,
        source_covariates=own, target_covariates=other, slope_sd=slope_sd,
    )  # fmt: skip
    y, there = np.concatenate([source, target]), np.arange(11) >= 7
    x = np.concatenate([own, other]) * slope_sd
    # The mean of all takes up the origin of covariates.
    x -= x.mean(axis=0)
    inverse = np.linalg.inv(0.03**2 * np.eye(11) + 2 * 0.05**2 * np.outer(there, there) + x @ x.T)
    mean = inverse.sum(axis=0) @ y / inverse.sum()
    assert found.mean == pytest.approx(2 * 0.05**2 * there @ inverse @ (y - mean), rel=1e-9)
    assert found.residual_sd == pytest.approx(0.03, rel=1e-9)


def test_the_origin_of_a_covariate_does_not_matter(rng):
    """Dates of birth in seconds are as good as ages."""
    source, target = people(rng, 6, 0.0), people(rng, 6, 0.1)
    own, other = rng.standard_normal((6, 1)), rng.standard_normal((6, 1)) + 1

    def found(origin):
        return site_difference(
            source, target, **USUAL, slope_sd=[0.05],
            source_covariates=own + origin, target_covariates=other + origin,
        )  # fmt: skip

    assert found(1e9).mean == pytest.approx(found(0).mean, rel=1e-5)
    assert found(1e9).posterior_sd == pytest.approx(found(0).posterior_sd, rel=1e-5)


def test_bayes_factor_is_that_of_the_marginal_likelihoods():
    # One person each: the difference is N(0, 2 S^2) or N(0, 2 S^2 + 2 T^2).
    def log_normal(x, variance):
        return -0.5 * (np.log(2 * np.pi * variance) + x * x / variance)

    for difference in (0.0, 0.05, 0.2):
        found = site_difference([0.0], [difference], **USUAL)
        noise = 2 * 0.025**2
        odds = log_normal(difference, noise + 2 * 0.08**2) - log_normal(difference, noise)
        assert found.log_odds_different == pytest.approx(odds, rel=1e-6)


def test_scans_of_one_person_are_one_witness():
    values = [[0.0], [0.2], [0.4], [1.0]]
    means, names, repeat = mean_per_person(values, ["b", "a", "a", "b"])
    assert names == ("a", "b")
    assert np.allclose(means, [[0.3], [0.5]])
    assert repeat[0] == pytest.approx((2 * 0.1**2 + 2 * 0.5**2) / 2)
    assert np.isnan(mean_per_person(values, list("abcd"))[2][0])


def test_a_site_without_people_and_covariates_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="people of both"):
        site_difference([], [0.1], **USUAL)
    with pytest.raises(DataError, match="Covariates"):
        site_difference([0.0], [0.1], **USUAL, slope_sd=[0.1])


def mean_of_sites(rng, counts):
    """A source, and people of sites with these numbers of people; the sites' means by name."""
    source = people(rng, 8, 0.1)
    parts = [people(rng, n, 0.2 * i) for i, n in enumerate(counts)]
    groups = [f"s{i}" for i, own in enumerate(parts) for _ in own]
    return source, parts, groups


def test_in_a_mean_of_sites_each_site_counts_once(rng):
    source, parts, groups = mean_of_sites(rng, (1, 4, 20))
    found = site_difference(source, np.concatenate(parts), **FLAT, target_groups=groups)
    assert found.raw == pytest.approx(np.mean([own.mean() for own in parts]) - source.mean())
    assert found.mean == pytest.approx(found.raw, abs=1e-6)
    # What sites differ in is no spread of people, and one person alone tells nothing of it.
    squares = sum(own.var() * own.size for own in (source, *parts))
    spread = np.sqrt(squares / (8 + 25 - 4))
    assert found.residual_sd == pytest.approx(spread, rel=1e-6)
    worth = 1 / 8 + sum(1 / own.size for own in parts) / 9
    assert found.standard_error == pytest.approx(spread * np.sqrt(worth), rel=1e-4)


def test_the_order_of_people_and_names_of_sites_do_not_matter(rng):
    source, parts, groups = mean_of_sites(rng, (2, 3, 5))
    target = np.concatenate(parts)
    order = rng.permutation(len(groups))
    mixed = [{"s0": "z", "s1": "a", "s2": "m"}[groups[i]] for i in order]
    first = site_difference(source, target, **USUAL, target_groups=groups)
    again = site_difference(source, target[order], **USUAL, target_groups=mixed)
    assert again.mean == pytest.approx(first.mean, rel=1e-9)
    assert again.posterior_sd == pytest.approx(first.posterior_sd, rel=1e-9)


def test_a_mean_of_many_sites_is_nearer_to_a_site_than_another_site_is():
    # Before any person is seen: sites vary by T about their mean, and the mean of two by less.
    one = site_difference([0.0], [0.1], **USUAL)
    two = site_difference([0.0], [0.1, 0.1], **USUAL, target_groups=["a", "b"])
    variance = 1.5 * 0.025**2
    assert two.mean == pytest.approx(0.1 * 1.5 * 0.08**2 / (1.5 * 0.08**2 + variance), rel=1e-9)
    assert one.mean == pytest.approx(two.mean, rel=1e-9)
    assert two.posterior_sd < one.posterior_sd
