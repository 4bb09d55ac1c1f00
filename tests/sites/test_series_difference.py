"""What sites differ by counts only beyond what people differ by."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.diffusion.calibration import SeriesMeasures
from bids_harmony.sites.mean_site import mean_series_profile
from bids_harmony.sites.series_difference import (
    MOST_SHARPENED,
    b_scale,
    blur_between,
    order_scales,
    shrunk_shift,
)
from bids_harmony.sites.series_profile import SeriesProfile
from bids_harmony.sites.sharpness_difference import MOST_BLUR


def levels(middle, spread, count=5, seed=0):
    # Of exactly this mean and standard deviation.
    drawn = np.random.default_rng(seed).standard_normal((count, 3))
    if count > 1:
        drawn = (drawn - drawn.mean(0)) / drawn.std(0, ddof=1)
    drawn = np.asarray(middle) + spread * drawn
    return SeriesProfile("site", tuple(
        (str(n), SeriesMeasures(0.01, 3e-3, {1000.0: tuple(own)}, {}))
        for n, own in enumerate(drawn)
    ))  # fmt: skip


def test_large_differences_count_nearly_in_full_and_small_ones_not_at_all():
    source, target = levels([0, 0, 0], 0.01), levels([0.2, 0.015, -0.1], 0.01, seed=1)
    scales = order_scales(source, target, 1000.0)
    assert scales[0] == pytest.approx(np.exp(0.2), rel=0.002)
    assert scales[1] == 1
    assert scales[2] == pytest.approx(np.exp(-0.1), rel=0.005)


def test_more_people_make_smaller_differences_count():
    few = order_scales(levels([0] * 3, 0.05), levels([0.08] * 3, 0.05, seed=1), 1000.0)
    many = order_scales(levels([0] * 3, 0.05, 80), levels([0.08] * 3, 0.05, 80, seed=1), 1000.0)
    assert (few == 1).all()
    assert (many > np.exp(0.06)).all() and (many < np.exp(0.08)).all()


def test_one_scan_shows_no_difference_of_sites():
    alone = levels([0] * 3, 0.01, 1)
    assert (order_scales(alone, levels([1] * 3, 0.01), 1000.0) == 1).all()
    assert (order_scales(levels([1] * 3, 0.01), alone, 1000.0) == 1).all()


def test_hidden_orders_are_left_alone():
    source, target = levels([0, 0, 0], 0.01), levels([0.2] * 3, 0.01, seed=1)
    label, measures = source.scans[2]
    hidden = replace(measures, levels={1000.0: (*measures.levels[1000.0][:2], float("nan"))})
    scans = (*source.scans[:2], (label, hidden), *source.scans[3:])
    scales = order_scales(replace(source, scans=scans), target, 1000.0)
    assert scales[2] == 1 and scales[0] > 1.2
    # One site of a mean that hides an order does not hide it for the others.
    mean = mean_series_profile([
        replace(target, site="T"), replace(source, site="H", scans=scans),
        replace(source, site="S"),
    ])  # fmt: skip
    scales = order_scales(replace(source, site="S"), mean, 1000.0)
    assert scales == pytest.approx(np.exp([0.2 / 3, 0.2 / 3, 0.1]), rel=0.01)


def smooth(site, *blurs):
    looks = [SeriesMeasures(0.01, 3e-3, {1000.0: (0.1,)}, {}, blur=blur) for blur in blurs]
    return SeriesProfile(site, tuple((str(n), look) for n, look in enumerate(looks)))


def test_the_sharper_site_is_blurred_as_far_as_people_and_contrast_are_not_the_cause():
    sharp = smooth("A", (5.4, 5.4, 5.4), (5.5, 5.5, 5.5), (5.6, 5.6, 5.6))
    other = smooth("B", (7.0, 9.4, 6.3), (7.1, 9.5, 6.4), (7.2, 9.6, 6.5))
    found = blur_between(sharp, other)
    # By 1 - (2 x 0.216 / 1.6)^2, and so on; more than is ever added.
    assert found == pytest.approx([1.483, MOST_BLUR, 0.693], abs=0.002)
    # The other way round scans are to be sharpened.
    assert blur_between(other, sharp) == pytest.approx(
        [-1.483, -MOST_SHARPENED, -0.693], abs=0.002
    )
    like = smooth("D", (5.8, 5.8, 5.8), (5.9, 5.9, 5.9), (6.0, 6.0, 6.0))
    assert (blur_between(sharp, like) == 0).all()
    people = smooth("C", (5.1, 5.1, 5.1), (7.1, 7.1, 7.1), (9.1, 9.1, 9.1))
    assert (blur_between(sharp, people) == 0).all()


def test_a_blur_that_too_few_scans_show_is_not_added():
    nan = float("nan")
    sharp = smooth("A", (5.0, 5.0, 5.0), (5.0, 5.0, 5.0))
    other = smooth("B", (6.5, 6.5, nan), (6.5, nan, nan), (6.5, nan, nan))
    assert (blur_between(sharp, other) > 0).tolist() == [True, False, False]
    assert (blur_between(SeriesProfile("A", sharp.scans[:1]), other) == 0).all()


def wet(site, *waters):
    looks = [SeriesMeasures(0.01, water, {1000.0: (0.0,)}, {}) for water in waters]
    return SeriesProfile(site, tuple((str(n), look) for n, look in enumerate(looks)))


def test_what_goes_to_the_mean_adds_up_to_nothing():
    """No site is favoured: the logarithms of what all sites are scaled by cancel."""
    sites = [
        wet("A", 3.000e-3, 3.002e-3, 3.004e-3), wet("B", 3.100e-3, 3.102e-3, 3.104e-3),
        wet("C", *(3.3e-3 + 2e-6 * n for n in range(9))),
    ]  # fmt: skip
    mean = mean_series_profile(sites)
    scales = np.log([b_scale(own, mean) for own in sites])
    assert scales.sum() == pytest.approx(0, abs=2e-3) and np.abs(scales).min() > 0.01
    logs = [np.mean(np.log([m.water for _, m in own.scans])) for own in sites]
    assert scales == pytest.approx(logs - np.mean(logs), abs=2e-3)
    blurs = [smooth("A", *[(5.0,) * 3] * 3), smooth("B", *[(6.6,) * 3] * 3)]
    both = mean_series_profile(blurs)
    found = [blur_between(own, both) for own in blurs]
    assert found[0] == pytest.approx(-found[1]) and found[0] == pytest.approx([0.75] * 3)


def test_a_site_is_compared_with_the_others_and_a_stranger_with_all():
    others = [np.array([[1.0], [1.2]]), np.array([[2.0], [2.2], [2.4]])]
    own = np.array([[0.0], [0.2]])
    member = shrunk_shift(own, others, 0.0, is_member=True)
    assert member == pytest.approx([2 / 3 * ((1.1 + 2.2) / 2 - 0.1)])
    assert shrunk_shift(own, others, 0.0) == pytest.approx([(1.1 + 2.2) / 2 - 0.1])
    # 2 x 0.02 + 2 x 0.02 + 0.08 over 7 - 3 scans; sites share what they are known by.
    error = 0.12 / 4 * (1 / 2 + (1 / 2 + 1 / 3) / 4)
    assert shrunk_shift(own, others, 2.0) == pytest.approx([1.55 * (1 - 4 * error / 1.55**2)])
    common = shrunk_shift(own, others, 2.0, 0.2)
    error += 0.2**2 * (1 + 1 / 2) / 2
    assert common == pytest.approx([1.55 * (1 - 4 * error / 1.55**2)])


def test_a_site_that_does_not_show_water_is_neither_changed_nor_counted():
    nan = float("nan")
    sites = [wet("A", 3.0e-3, 3.01e-3), wet("B", 3.2e-3, 3.21e-3), wet("C", nan, nan)]
    mean = mean_series_profile(sites)
    assert b_scale(sites[2], mean) == 1
    assert b_scale(sites[0], mean) == pytest.approx(
        b_scale(sites[0], mean_series_profile(sites[:2])), rel=1e-12
    )
