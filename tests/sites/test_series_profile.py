"""What sites differ by counts only beyond what people differ by."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.diffusion.calibration import SeriesMeasures
from bids_harmony.diffusion.magnitudes import Noise
from bids_harmony.exceptions import DataError
from bids_harmony.sites.series_profile import (
    MOST_SHARPENED,
    SeriesProfile,
    blur_between,
    order_scales,
)
from bids_harmony.sites.sharpness_difference import MOST_BLUR


def levels(middle, spread, count=5, seed=0):
    # Of exactly this mean and standard deviation.
    drawn = np.random.default_rng(seed).standard_normal((count, 3))
    if count > 1:
        drawn = (drawn - drawn.mean(0)) / drawn.std(0, ddof=1)
    return np.asarray(middle) + spread * drawn


def test_large_differences_count_nearly_in_full_and_small_ones_not_at_all():
    source, target = levels([0, 0, 0], 0.01), levels([0.2, 0.015, -0.1], 0.01, seed=1)
    scales = order_scales(source, target)
    assert scales[0] == pytest.approx(np.exp(0.2), rel=0.002)
    assert scales[1] == 1
    assert scales[2] == pytest.approx(np.exp(-0.1), rel=0.005)


def test_more_people_make_smaller_differences_count():
    few = order_scales(levels([0] * 3, 0.05), levels([0.08] * 3, 0.05, seed=1))
    many = order_scales(levels([0] * 3, 0.05, 80), levels([0.08] * 3, 0.05, 80, seed=1))
    assert (few == 1).all()
    assert (many > np.exp(0.06)).all() and (many < np.exp(0.08)).all()


def test_one_scan_shows_no_difference_of_sites():
    assert (order_scales(levels([0] * 3, 0.01, 1), levels([1] * 3, 0.01)) == 1).all()


def test_hidden_orders_are_left_alone():
    hidden = levels([0, 0, 0], 0.01)
    hidden[2, 2] = np.nan
    scales = order_scales(hidden, levels([0.2] * 3, 0.01, seed=1))
    assert scales[2] == 1 and scales[0] > 1.2


def scan(water, noise, shells=(1000.0,)):
    return SeriesMeasures(noise, water, {b: (0.1, float("nan")) for b in shells},
                    {b: tuple(np.linspace(0, b, 101)) for b in shells})  # fmt: skip


def test_a_site_is_the_median_of_its_scans():
    look = SeriesProfile("GE", (
        ("a", scan(3.0e-3, 0.01)), ("b", scan(float("nan"), 0.03)), ("c", scan(3.2e-3, 0.02)),
        ("d", scan(3.1e-3, 0.5, (700.0, 1000.0))),
    ))  # fmt: skip
    assert look.water == pytest.approx(3.1e-3) and look.noise == pytest.approx(0.025)
    assert look.shells == (700.0, 1000.0) and look.labels == ("a", "b", "c", "d")
    assert look.levels(1000.0).shape == (4, 2) and look.levels(700.0).shape == (1, 2)
    assert look.quantiles(700.0)[-1] == 700


def test_a_look_survives_its_file_and_a_damaged_file_is_told(tmp_path):
    look = SeriesProfile("site <ä>", (("a", scan(float("nan"), 0.01)),))
    look.write(tmp_path / "look.json")
    again = SeriesProfile.read(tmp_path / "look.json")
    assert again.digest == look.digest and again.site == look.site
    changed = SeriesProfile("site <ä>", (("a", scan(3e-3, 0.01)),))
    assert changed.digest != look.digest
    for text in ("{", '{"site": "a"}', '{"site": "a", "scans": [["x", {"noise": 1}]]}', "[]"):
        (tmp_path / "look.json").write_text(text)
        with pytest.raises(DataError, match="cannot be read"):
            SeriesProfile.read(tmp_path / "look.json")


def smooth(site, *blurs):
    looks = [replace(scan(3e-3, 0.01), blur=blur) for blur in blurs]
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


def test_the_floor_has_the_channels_of_the_site_and_stays_where_noise_was_taken_away():
    def of(noise, water_noise, channels):
        look = replace(scan(3e-3, noise), water_noise=water_noise, channels=channels)
        return SeriesProfile("A", tuple((str(n), look) for n in range(2)))

    assert of(0.05, 0.055, 4.0).floor(0.06) == Noise(0.06, 4.0)
    assert of(0.01, 0.06, 9.0).floor(0.01) == Noise(pytest.approx(0.05), 9.0)
    assert of(0.05, float("nan"), float("nan")).floor(0.06) == Noise(0.06)
    assert of(0.05, 0.055, 4.0).floor(float("nan")) == Noise(0.0)
