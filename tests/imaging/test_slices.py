from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.imaging.slices import cut_stack, reassemble


@pytest.mark.parametrize("depth", [1, 2, 3, 11])
def test_cutting_and_reassembling_is_exact(depth, rng):
    volume = (rng.normal(size=(7, 5, depth)) / 3).astype(np.float32)
    again = reassemble(cut_stack(volume))
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, volume)


def test_channels_are_the_neighbours_and_ends_repeat(rng):
    volume = rng.normal(size=(4, 6, 5))
    stack = cut_stack(volume)
    assert stack.shape == (5, 3, 4, 6)
    np.testing.assert_array_equal(stack[2], np.moveaxis(volume[:, :, 1:4], 2, 0))
    np.testing.assert_array_equal(stack[0], np.moveaxis(volume[:, :, [0, 0, 1]], 2, 0))
    np.testing.assert_array_equal(stack[4], np.moveaxis(volume[:, :, [3, 4, 4]], 2, 0))


def test_chosen_slices_are_those_of_the_whole_stack(rng):
    volume = rng.normal(size=(4, 6, 9))
    np.testing.assert_array_equal(cut_stack(volume, [0, 8, 3]), cut_stack(volume)[[0, 8, 3]])
    with pytest.raises(IndexError, match=r"0\.\.8; got 3\.\.9"):
        cut_stack(volume, [3, 9])


def test_mean_averages_the_predictions_of_a_slice():
    predictions = np.zeros((4, 3, 1, 1))
    predictions[:, :, 0, 0] = [[90, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 90]]
    # Slice k: channel 2 of k-1, channel 1 of k, channel 0 of k+1; no repeated neighbours.
    expected = [(1 + 3) / 2, (2 + 4 + 6) / 3, (5 + 7 + 9) / 3, (8 + 10) / 2]
    np.testing.assert_allclose(reassemble(predictions)[0, 0], expected)
