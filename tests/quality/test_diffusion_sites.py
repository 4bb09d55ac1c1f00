"""Agreement of sites on diffusion maps, against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress

from bids_harmony.exceptions import DataError
from bids_harmony.quality.diffusion_sites import (
    age_effect_kept,
    block_medians,
    coefficient_of_variation,
    truth_row,
    white_matter_blocks,
)


@pytest.mark.parametrize("n", [1, 8, 13])
def test_blocks_are_of_equal_size_and_compact(n, rng):
    index = np.indices((30, 20, 16)).reshape(3, 30, 20, 16)
    white = ((index - np.reshape([15, 10, 8], (3, 1, 1, 1))) ** 2).sum(0) < 60
    labels = white_matter_blocks(white, n, voxel_mm=(1, 1, 2))
    assert not labels[~white].any() and np.unique(labels[white]).tolist() == list(range(1, n + 1))
    sizes = np.bincount(labels[white])[1:]
    assert np.ptp(sizes) <= np.ceil(np.log2(max(n, 2)))
    own = [np.argwhere(labels == k).std(axis=0).max() for k in range(1, n + 1)]
    assert max(own) <= np.argwhere(white).std(axis=0).max()
    if n == 8:
        assert max(own) < 0.7 * np.argwhere(white).std(axis=0).max()


def test_too_little_white_matter_is_refused():
    with pytest.raises(DataError, match="Too little"):
        white_matter_blocks(np.eye(3, dtype=bool)[None], 4)


def test_medians_of_blocks_need_half_of_each():
    blocks = np.repeat([0, 1, 2, 3], 5).reshape(4, 5, 1)
    data = np.arange(20.0).reshape(4, 5, 1)
    where = np.ones(blocks.shape, bool)
    where[2, :2], where[3, :3] = False, False
    assert block_medians(data, blocks, where)[:2].tolist() == [7, 13]
    assert np.isnan(block_medians(data, blocks, where)[2])
    # Whole blocks may be larger than what the grid shows of them, or not be there at all.
    sizes = [10, 11, 5, 5]
    found = block_medians(data, blocks, np.ones_like(where), sizes=sizes)
    np.testing.assert_array_equal(found, [7, np.nan, 17, np.nan])


def test_variation_has_its_closed_form():
    # Two scans that differ by d have a variance of d^2 / 2.
    values = np.array([[[0.4, 1.0], [0.5, np.nan]], [[0.6, 2.0], [0.8, 2.2]]])
    expected = [
        np.sqrt((0.1**2 / 2 + 0.2**2 / 2) / 2) / 0.575,
        np.sqrt(0.2**2 / 2) / 2.1,
    ]
    np.testing.assert_allclose(coefficient_of_variation(values), expected)
    assert np.isnan(coefficient_of_variation(values[:1]))[1]
    with pytest.raises(DataError, match="person, scan and region"):
        coefficient_of_variation(values[0])


def test_variation_across_sites_finds_the_spread_that_was_put_in(rng):
    people = rng.normal(0.5, 0.1, (400, 1, 3))  # who they are does not count
    sites = people * (1 + rng.normal(0, 0.06, (400, 8, 3)))
    np.testing.assert_allclose(coefficient_of_variation(sites), 0.06, rtol=0.06)


def test_error_against_the_truth():
    truth = {"fa": np.full((3, 3, 3), 0.5), "md": np.ones((3, 3, 3))}
    where = np.zeros((3, 3, 3), bool)
    where[0, 0] = [True, True, False]
    fa = truth["fa"].copy()
    fa[0, 0] = [0.6, 0.8, 9]
    row = truth_row({"fa": fa, "odi": fa}, truth, where)
    assert row.keys() == {"fa_rmse", "fa_bias"}
    assert row["fa_rmse"] == pytest.approx(np.sqrt((0.1**2 + 0.3**2) / 2))
    assert row["fa_bias"] == pytest.approx(0.2)


@pytest.fixture
def aged(rng):
    age = rng.uniform(20, 80, 40)
    noise = rng.normal(0, 0.02, 40)
    before = 0.6 - 0.002 * age + noise
    after = 0.5 - 0.0016 * age + 0.8 * noise + rng.normal(0, 0.01, 40)
    return age, before, after


def test_ratio_of_slopes_and_fiellers_limits(aged):
    age, before, after = aged
    kept = age_effect_kept(age, before, after)
    assert kept.slope_before == pytest.approx(linregress(age, before).slope)
    assert kept.ratio == pytest.approx(linregress(age, after).slope / kept.slope_before)
    assert kept.low < kept.ratio < kept.high < 2
    # At its ends the difference has a slope that is just significant.
    for end in (kept.low, kept.high):
        assert linregress(age, after - end * before).pvalue == pytest.approx(0.05, abs=1e-6)


def test_an_effect_that_is_scaled_is_known_exactly(aged):
    age, before, _ = aged
    kept = age_effect_kept(age, before, 0.7 * before + 3)
    assert [kept.low, kept.ratio, kept.high] == pytest.approx([0.7] * 3, abs=1e-5)


def test_without_an_effect_before_nothing_is_known(aged, rng):
    age, _, after = aged
    kept = age_effect_kept(age, rng.normal(0, 1, len(age)), after)
    assert (kept.low, kept.high) == (-np.inf, np.inf)


def test_sites_do_not_make_an_effect_of_age(aged):
    age, before, after = aged
    old = age > np.median(age)
    names = np.where(old, "GE", "COI")
    shifted = before + 0.3 * old
    plain = age_effect_kept(age, shifted, after)
    assert plain.slope_before > 0
    within = age_effect_kept(age, shifted, after, sites=list(names))
    alone = age_effect_kept(age, before, after, sites=list(names))
    assert within.slope_before == pytest.approx(alone.slope_before)
    # The interval is that of a regression with a mean for each site.
    columns = np.column_stack([age, old, ~old])
    rest = after - within.high * shifted
    fit, residual, *_ = np.linalg.lstsq(columns, rest, rcond=None)
    error = np.sqrt(residual[0] / 37 * np.linalg.inv(columns.T @ columns)[0, 0])
    assert abs(fit[0] / error) == pytest.approx(2.0261925, abs=1e-4)  # t of 37 at 0.975


def test_ages_that_make_no_slope_are_refused(aged):
    age, before, after = aged
    with pytest.raises(DataError, match="slope"):
        age_effect_kept(np.full(40, 50), before, after)
    with pytest.raises(DataError, match="within sites"):
        age_effect_kept(age[:4], before[:4], after[:4], sites=list("abcd"))
