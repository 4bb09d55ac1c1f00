"""Maps of a diffusion scanner: k-space, noise, true b-values."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from lab.diffusion_fields import b_scale_map, kspace_weights, noise_map
from lab.diffusion_scanner import DiffusionScanner

EDGE = 5.0
GRID = reference_grid(EDGE)
CLEAN = DiffusionScanner("X", "", "", "", 3.0, 8000, 84, ((1000.0, 12), (2000.0, 8)))


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 8, variation=0)


def test_noise_grows_to_the_middle_of_the_brain(person):
    sigma = noise_map(person, replace(CLEAN, noise=0.04, noise_growth=0.5))
    places = np.argwhere(person.mask)
    middle = tuple(((places.min(0) + places.max(0)) / 2).round().astype(int))
    assert np.isclose(sigma[middle], 0.06, rtol=0.01)
    assert np.isclose(sigma.min(), 0.04) and sigma.shape == GRID.shape
    assert (noise_map(person, replace(CLEAN, noise=0.04)) == np.float32(0.04)).all()


def test_partial_fourier_keeps_its_part_of_the_phase_axis():
    weights = kspace_weights((40, 64), (2.0, 2.0), replace(CLEAN, partial_fourier=0.75))
    assert np.isclose(weights.mean(), 0.75, atol=1 / 64) and (weights == weights[:1]).all()
    assert kspace_weights((40, 64), (2.0, 2.0), CLEAN) is None


def test_a_finer_matrix_and_a_window_leave_their_frequencies():
    finer = kspace_weights((60, 60), (2.0, 2.0), replace(CLEAN, acquired_mm=3.0))
    assert finer.mean() == pytest.approx((2 / 3) ** 2, rel=0.1)
    assert finer[0, 0] == 1 and finer[20, 20] == 1 and finer[21, 0] == 0 == finer[0, 21]
    window = kspace_weights((60, 60), (2.0, 2.0), replace(CLEAN, taper=0.5))
    # Whole to half the radius, half at three quarters, the corners gone.
    assert window[15, 0] == 1 and window[0, 30] == pytest.approx(0, abs=1e-6)
    assert window[22, 0] == pytest.approx(0.5 + 0.5 * np.cos(np.pi * (22 / 30 - 0.5) / 0.5))
    assert window[25, 25] == 0


def test_b_grows_with_the_squared_distance_from_the_isocentre(person):
    scale = b_scale_map(person, replace(CLEAN, b_scale=0.98, nonlinearity=0.1))
    away = (np.argwhere(person.mask) - (np.array(GRID.shape) - 1) / 2) * EDGE
    n = int(np.argmax(np.abs(away[:, 1])))
    expected = 0.98 * (1 + 0.1 * np.square(away[n] / 100).sum())
    assert scale[n] == pytest.approx(expected, rel=1e-5) and expected > 1.02
    assert b_scale_map(person, CLEAN) == 1.0
