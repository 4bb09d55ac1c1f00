"""Which slices are compared, and what of them."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.quality.slices import foreground_slices


def _slices(reference, mask=None, **options):
    options = {"data_range": 1.0, "max_slices": 64} | options
    return foreground_slices(reference, reference + 1, mask=mask, **options)


def test_slices_are_masked_and_cropped():
    reference = np.ones((12, 14, 5), np.float32)
    mask = np.zeros(reference.shape, bool)
    mask[3:7, 2:11, 1:4] = True
    mask[3, 2, 2] = False
    pairs = _slices(reference, mask)
    assert [p.index for p in pairs] == [1, 2, 3]
    assert {p.reference.shape for p in pairs} == {(4, 9)}
    assert (pairs[1].reference == mask[3:7, 2:11, 2]).all()
    assert (pairs[1].image == 2 * mask[3:7, 2:11, 2]).all()


def test_without_a_mask_the_bright_slices_count_in_full():
    reference = np.zeros((10, 10, 4), np.float32)
    reference[..., 1:3] = 0.06
    pairs = _slices(reference)
    assert [p.index for p in pairs] == [1, 2]
    assert pairs[0].image.shape == (10, 10)
    assert _slices(reference, data_range=1.1)


def test_little_foreground_is_better_than_none():
    mask = np.zeros((10, 10, 3), bool)
    mask[0, 0, 1] = mask[9, 9, 1] = True
    assert [p.index for p in _slices(np.ones(mask.shape, np.float32), mask)] == [1]
    with pytest.raises(DataError, match="no foreground"):
        _slices(np.zeros((4, 4, 4), np.float32))


def test_a_subset_is_evenly_spaced():
    pairs = _slices(np.ones((8, 8, 21), np.float32), max_slices=5)
    assert [p.index for p in pairs] == [0, 5, 10, 15, 20]
