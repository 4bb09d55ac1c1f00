"""Intensities in a file's data type, up to the last number that it holds."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.io.stored_voxels import stored_voxels


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int8])
def test_whole_numbers_end_where_their_type_ends(dtype):
    limits = np.iinfo(dtype)
    signal = np.array([-1e30, -1e3, 0, 1e30])
    stored, clipped = stored_voxels(signal, np.dtype(dtype), 1.0, 0.0)
    low = limits.min if limits.min > -1000 else -1000
    assert stored.tolist() == [limits.min, low, 0, limits.max]
    assert clipped == (2 if limits.min == -(2**63) else 3)
    edge, clipped = stored_voxels(np.array([-128.0, 127.0]), np.dtype(np.int8), 1.0, 0.0)
    assert edge.tolist() == [-128, 127] and clipped == 0
