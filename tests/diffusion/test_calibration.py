"""Noise and gradient strength are found in the series itself, as they were put in."""

import json

import numpy as np
import pytest

from bids_harmony.diffusion.calibration import (
    QUANTILES,
    SeriesMeasures,
    measure_series,
    noise_sd,
    shell_order,
)
from bids_harmony.diffusion.gradients import Shell
from tests.diffusion.simple_series import WATER, make_gradients, make_series

SCALE = 2000.0


def look(gradients=None, **scanner):
    gradients = gradients or make_gradients()
    series, mask = make_series(gradients, **scanner)
    return measure_series(series, gradients, mask, SCALE)


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_noise_is_found_in_repeated_volumes(noise):
    assert look(noise=noise).noise == pytest.approx(noise, rel=0.04)
    # A drift of the whole brain is no noise.
    assert look(noise=noise, drift=-0.1).noise == pytest.approx(noise, rel=0.08)


def test_noise_is_found_in_the_directions_when_nothing_was_repeated():
    found = look(make_gradients(count=30, b0=1), noise=0.03).noise
    assert found == pytest.approx(0.03, rel=0.15)


def test_a_single_volume_tells_no_noise():
    assert np.isnan(noise_sd(np.ones((10, 1), np.float32)))


@pytest.mark.parametrize("b_scale", [0.95, 1.0, 1.06])
def test_free_water_tells_the_strength_of_the_gradients(b_scale):
    assert look(noise=0.03, b_scale=b_scale).water == pytest.approx(WATER * b_scale, rel=0.01)


@pytest.mark.parametrize("channels", [1, 4])
def test_water_tells_the_channels_of_the_noise_and_its_own_speed_beside_them(channels):
    found = look(make_gradients(30), noise=0.05, channels=channels, b_scale=1.04)
    assert found.channels == pytest.approx(channels, rel=0.06)
    assert found.water_noise == pytest.approx(0.05, rel=0.05)
    # With the floor of one channel it would seem slower by a tenth.
    assert found.water == pytest.approx(WATER * 1.04, rel=0.015)


def test_the_speed_of_water_is_freed_of_the_noise_that_is_there():
    gradients = make_gradients(30)
    series, mask = make_series(gradients, noise=0.03)
    noisy, _ = make_series(gradients, noise=0.1)
    series.raw[8:12] = noisy.raw[8:12]
    found = measure_series(series, gradients, mask, SCALE)
    assert found.noise < 0.04
    assert found.water_noise == pytest.approx(0.1, rel=0.05)
    assert found.water == pytest.approx(WATER, rel=0.03)


def test_where_water_has_not_lost_its_signal_the_floor_is_not_known():
    for gradients in (make_gradients(shells=(1000.0, 1500.0)), make_gradients(5)):
        found = look(gradients, noise=0.05)
        assert np.isnan(found.channels) and np.isnan(found.water_noise)
        assert np.isfinite(found.water)
    gradients = make_gradients()
    series, mask = make_series(gradients, noise=0.05)
    mask[8:12] = False
    assert np.isnan(measure_series(series, gradients, mask, SCALE).channels)


def test_the_floor_is_no_level():
    gradients = make_gradients(30)
    clean, floored = look(gradients), look(gradients, noise=0.05, channels=4)
    for b in (1000.0, 2000.0):
        assert floored.levels[b][0] == pytest.approx(clean.levels[b][0], abs=0.02)


def test_what_harmonics_leave_is_the_noise_relative_to_white_matter():
    clean, found = (look(make_gradients(30), noise=noise, gain=3000.0) for noise in (0, 0.04))
    # Harmonics up to order 4 do not explain all of a single fibre.
    own = np.sqrt(found.scatter**2 - clean.scatter**2)
    assert own == pytest.approx(0.04, rel=0.1)
    assert found.white == pytest.approx(3000 / SCALE, rel=0.02)
    assert found.noise_of(SCALE) == pytest.approx(0.04 * 3000, rel=0.05)


def test_without_water_or_a_fitting_shell_nothing_is_said():
    gradients = make_gradients(shells=(2000.0,))
    assert np.isnan(look(gradients).water)
    gradients = make_gradients()
    series, mask = make_series(gradients)
    mask[8:12] = False
    assert np.isnan(measure_series(series, gradients, mask, SCALE).water)


def test_levels_do_not_depend_on_gradients_and_little_on_noise():
    clean, strong, noisy = look(), look(b_scale=1.05), look(noise=0.04)
    for b in (1000.0, 2000.0):
        assert np.allclose(clean.levels[b][:2], strong.levels[b][:2], atol=0.01)
        assert np.allclose(clean.levels[b][:2], noisy.levels[b][:2], atol=0.06)
    other = look(person=1.1)
    assert other.levels[1000.0][0] < clean.levels[1000.0][0] - 0.02


def test_an_order_that_is_mostly_noise_has_no_level():
    gradients = make_gradients(count=30)
    assert np.isnan(look(gradients, noise=0.1).levels[1000.0][2])
    assert np.isfinite(look(gradients).levels[2000.0]).all()


def test_quantiles_are_those_of_the_attenuation():
    gradients = make_gradients()
    series, mask = make_series(gradients)
    found = measure_series(series, gradients, mask, SCALE).quantiles[1000.0]
    weighted = series.signal(np.s_[..., gradients.bvals == 1000])[mask]
    ratio = weighted / series.signal(np.s_[..., gradients.b0])[mask].mean(1)[:, None]
    assert np.allclose(found, np.percentile(ratio, QUANTILES), atol=0.02)


def test_looks_survive_their_text():
    made = look(noise=0.1)
    again = SeriesMeasures.from_json(made.to_json())
    assert again.to_json() == made.to_json()
    # Kept before the blur was measured.
    later = ("blur", "channels", "water_noise", "scatter", "white")
    older = {k: v for k, v in json.loads(made.to_json()).items() if k not in later}
    read = SeriesMeasures.from_json(json.dumps(older))
    assert np.isnan(read.blur).all() and read.white == 1
    assert np.isnan([read.channels, read.water_noise, read.scatter]).all()
    assert again.quantiles == made.quantiles


@pytest.mark.parametrize(("count", "order"), [(6, 0), (9, 2), (17, 2), (18, 4), (90, 4)])
def test_few_directions_carry_low_orders(count, order):
    assert shell_order(Shell(1000.0, np.arange(count), 0.0)) == order


def test_a_gain_of_a_whole_volume_is_no_noise(rng):
    level = np.array([1.0, 0.7, 1.4, 1.1])
    bright = 1000 + rng.normal(0, 20, (40_000, 4))
    assert noise_sd((bright * level).astype(np.float32)) == pytest.approx(
        20 * level.mean(), rel=0.02
    )


def test_dark_voxels_do_not_tell_the_noise(rng):
    bright = 1000 + rng.normal(0, 20, (20_000, 3))
    dark = np.abs(rng.normal(0, 200, (15_000, 3)))
    both = np.concatenate([bright, dark]).astype(np.float32)
    assert noise_sd(both) == pytest.approx(20, rel=0.03)
