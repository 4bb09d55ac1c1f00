"""Noise and gradient strength are found in the series itself, as they were put in."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.diffusion.calibration import (
    QUANTILES,
    SeriesMeasures,
    free_water_diffusivity,
    measure_series,
    noise_sd,
    shell_order,
    steepness,
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
    assert look(noise=noise).noise == pytest.approx(noise * 1000 / SCALE, rel=0.04)
    # A drift of the whole brain is no noise.
    assert look(noise=noise, drift=-0.1).noise == pytest.approx(noise * 1000 / SCALE, rel=0.08)


def test_noise_is_found_in_the_directions_when_nothing_was_repeated():
    found = look(make_gradients(count=30, b0=1), noise=0.03).noise
    assert found == pytest.approx(0.03 * 1000 / SCALE, rel=0.15)


def test_a_single_volume_tells_no_noise():
    assert np.isnan(noise_sd(np.ones((10, 1), np.float32)))


@pytest.mark.parametrize("b_scale", [0.95, 1.0, 1.06])
def test_free_water_tells_the_strength_of_the_gradients(b_scale):
    assert look(noise=0.03, b_scale=b_scale).water == pytest.approx(WATER * b_scale, rel=0.01)


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
    older = {k: v for k, v in json.loads(made.to_json()).items() if k != "blur"}
    assert np.isnan(SeriesMeasures.from_json(json.dumps(older)).blur).all()
    assert again.quantiles == made.quantiles


def test_the_bend_of_the_signal_is_measured_where_there_are_two_shells():
    gradients = make_gradients(shells=(1000.0, 2000.0, 3000.0))
    series, mask = make_series(gradients)
    b0 = series.signal(np.s_[..., 0])[mask]
    found = steepness(series, gradients, mask, b0, 0.0)
    parts = np.nonzero(mask)[0]
    grey, white = parts >= 12, parts < 8
    # A single exponential is as steep at every b; a mean over directions of white matter is not.
    assert all(np.allclose(own[grey], 1, atol=0.02) for own in found)
    first, second, third = (float(np.median(own[white])) for own in found)
    assert 1 > first > second > third > 0.4
    # ln S at b = 1000 of a scanner whose gradients are 1 % stronger falls by so much more.
    stronger, _ = make_series(gradients, b_scale=1.01, gain=30000.0)
    exact, _ = make_series(gradients, gain=30000.0)
    logs = [
        np.log(s.signal(np.s_[..., gradients.bvals == 1000])[mask][white].mean(1))
        - np.log(s.signal(np.s_[..., 0])[mask][white])
        for s in (stronger, exact)
    ]
    share = np.median((logs[0] / logs[1] - 1) / 0.01)
    assert first == pytest.approx(share, abs=0.06)


def test_one_shell_tells_no_bend():
    gradients = make_gradients(shells=(1000.0,))
    series, mask = make_series(gradients)
    (only,) = steepness(series, gradients, mask, series.signal(np.s_[..., 0])[mask], 0.0)
    assert (only == 1).all()


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


@pytest.mark.parametrize(("corner", "pure"), [(False, True), (True, False)])
def test_water_is_pure_where_all_26_neighbours_are_water(corner, pure):
    """A grid of tissue voxels of which each block of water touches one at a corner, or none."""
    gradients = make_gradients(shells=(1000.0,))
    series, mask = make_series(gradients)
    b = gradients.bvals
    raw = np.rint(30_000 * np.broadcast_to(np.exp(-b * WATER), (*mask.shape, len(b))))
    tissue = np.zeros(mask.shape, bool)
    if corner:
        # One voxel in eight: every other voxel has one among its neighbours.
        tissue[::2, ::2, ::2] = True
    else:
        tissue[0] = True
    raw[tissue] = np.rint(30_000 * np.exp(-b * 0.7e-3))
    made = replace(series, raw=raw.astype(np.int16))
    b0 = made.signal(np.s_[..., 0])
    every = np.ones_like(mask)
    found = free_water_diffusivity(made, gradients, every, b0[every], 0.0)
    assert np.isfinite(found) == pure
    if pure:
        assert found == pytest.approx(WATER, rel=1e-3)
