"""Noise of a scan by deep white matter: its size, and what must not count."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from bids_harmony.imaging.noise import deep_noise
from bids_harmony.imaging.reference import reference_grid, reference_tissues

GRID = reference_grid(4.0)
WHITE = reference_tissues(GRID)[1]


@pytest.fixture
def flat(rng):
    """Uniform tissue with noise of 0.05."""
    return (0.8 + 0.05 * rng.standard_normal(GRID.shape)).astype(np.float32)


def test_noise_is_what_was_added(flat, rng):
    mask = np.ones(GRID.shape, bool)
    found = [
        deep_noise((0.8 + 0.05 * rng.standard_normal(GRID.shape)).astype(np.float32), mask, 4.0)
        for _ in range(20)
    ]
    assert np.mean(found) == pytest.approx(0.05, rel=0.015)
    assert deep_noise(3 * flat, mask, 4.0) == pytest.approx(3 * deep_noise(flat, mask, 4.0))
    assert deep_noise(np.full_like(flat, 0.8), mask, 4.0) == pytest.approx(0, abs=1e-6)


def test_only_deep_white_matter_counts(flat):
    mask, deep = np.ones(GRID.shape, bool), WHITE > 0.9
    board = np.indices(GRID.shape).sum(axis=0) % 2
    # The neighbours of deep white matter are read, too.
    loud = np.where(binary_dilation(deep), flat, flat + board).astype(np.float32)
    assert deep_noise(loud, mask, 4.0) == deep_noise(flat, mask, 4.0)
    assert deep_noise(np.where(deep, loud + board, loud), mask, 4.0) > 0.4


def test_slices_apart_and_the_edge_of_the_brain_are_no_noise(flat):
    """A step from slice to slice is a thick slice's; zeros outside the mask are no signal."""
    steps = flat + np.arange(GRID.shape[2], dtype=np.float32) % 2
    mask = np.ones(GRID.shape, bool)
    assert deep_noise(steps, mask, 4.0) == pytest.approx(0.05, rel=0.05)
    # Three columns of each four, and only the middle one has all its neighbours.
    few = mask & (np.arange(GRID.shape[0]) % 4 != 3)[:, None, None]
    assert deep_noise(flat * few, few, 4.0) == pytest.approx(0.05, rel=0.1)


def test_a_scan_without_deep_white_matter_is_measured_where_it_is(flat):
    mask = np.zeros(GRID.shape, bool)
    mask[5:12, 5:12, 20:30] = True
    mask &= WHITE <= 0.9
    assert deep_noise(np.where(mask, flat, 0).astype(np.float32), mask, 4.0) == pytest.approx(
        0.05, rel=0.15
    )
    assert deep_noise(flat, np.zeros(GRID.shape, bool), 4.0) == 0
