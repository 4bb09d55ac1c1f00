"""The fall of the signal with b is measured as it was put in."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.diffusion.attenuation import free_water_diffusivity, steepness
from bids_harmony.diffusion.magnitudes import Noise
from tests.diffusion.simple_series import WATER, make_gradients, make_series


def test_the_bend_of_the_signal_is_measured_where_there_are_two_shells():
    gradients = make_gradients(shells=(1000.0, 2000.0, 3000.0))
    series, mask = make_series(gradients)
    b0 = series.signal(np.s_[..., 0])[mask]
    found = steepness(series, gradients, mask, b0, Noise(0.0))
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
    (only,) = steepness(series, gradients, mask, series.signal(np.s_[..., 0])[mask], Noise(0.0))
    assert (only == 1).all()


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
    found = free_water_diffusivity(made, gradients, every, b0[every], Noise(0.0))
    assert np.isfinite(found) == pure
    if pure:
        assert found == pytest.approx(WATER, rel=1e-3)
