"""Exchange of low frequencies: identity, the mean of a slice, and how much is copied."""

import numpy as np
import pytest

from bids_harmony.imaging.spectrum import CORNER, exchange_low_frequencies, low_frequencies


def swap(data, reference, corner=CORNER):
    return exchange_low_frequencies(data, low_frequencies(reference, corner))


def test_a_scan_with_its_own_frequencies_is_itself(rng):
    data = rng.random((17, 23, 5)).astype(np.float32)
    assert np.abs(swap(data, data) - data).max() < 1e-13


def test_every_slice_takes_the_mean_of_its_reference_and_keeps_its_detail(rng):
    data, reference = rng.random((2, 16, 20, 4))
    result = swap(data, reference)
    assert np.allclose(result.mean((0, 1)), reference.mean((0, 1)))
    # Fine detail, here the highest frequency along both axes, stays the scan's.
    stripes = (-1.0) ** np.add.outer(np.arange(16), np.arange(20))[..., None]
    assert np.abs(swap(data + stripes, reference) - result - stripes).max() < 0.25


def test_a_larger_corner_copies_more(rng):
    data, reference = rng.random((2, 16, 20, 4))
    left = [np.square(swap(data, reference, b) - reference).mean() for b in (1, 3, 8, 20)]
    assert left == sorted(left, reverse=True) and left[-1] < 1e-20
    assert low_frequencies(data).shape == (3, 3, 4)


def test_slices_take_nothing_from_their_neighbours(rng):
    data, reference = rng.random((2, 12, 12, 4))
    other = reference.copy()
    other[..., 2] += 1
    changed = np.abs(swap(data, other) - swap(data, reference)).max((0, 1))
    assert changed == pytest.approx([0, 0, 1, 0])
