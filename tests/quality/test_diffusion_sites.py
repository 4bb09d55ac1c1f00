"""Agreement of sites on diffusion maps, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.quality.diffusion_sites import (
    block_medians,
    coefficient_of_variation,
    white_matter_blocks,
)


@pytest.mark.parametrize("n", [1, 8, 13])
def test_blocks_are_of_equal_size_and_compact(n, rng):
    index = np.indices((30, 20, 16)).reshape(3, 30, 20, 16)
    white = ((index - np.reshape([15, 10, 8], (3, 1, 1, 1))) ** 2).sum(0) < 60
    labels = white_matter_blocks(white, n, voxel_mm=(1, 1, 2))
    assert not labels[~white].any() and np.unique(labels[white]).tolist() == list(range(1, n + 1))
    sizes = np.bincount(labels[white])[1:]
    assert np.ptp(sizes) <= np.ceil(np.log2(max(n, 2)))
    own = [np.argwhere(labels == k).std(axis=0).max() for k in range(1, n + 1)]
    assert max(own) <= np.argwhere(white).std(axis=0).max()
    if n == 8:
        assert max(own) < 0.7 * np.argwhere(white).std(axis=0).max()


def test_too_little_white_matter_is_refused():
    with pytest.raises(DataError, match="Too little"):
        white_matter_blocks(np.eye(3, dtype=bool)[None], 4)


def test_medians_of_blocks_need_half_of_each():
    blocks = np.repeat([0, 1, 2, 3], 5).reshape(4, 5, 1)
    data = np.arange(20.0).reshape(4, 5, 1)
    where = np.ones(blocks.shape, bool)
    where[2, :2], where[3, :3] = False, False
    assert block_medians(data, blocks, where)[:2].tolist() == [7, 13]
    assert np.isnan(block_medians(data, blocks, where)[2])
    # Whole blocks may be larger than what the grid shows of them, or not be there at all.
    sizes = [10, 11, 5, 5]
    found = block_medians(data, blocks, np.ones_like(where), sizes=sizes)
    np.testing.assert_array_equal(found, [7, np.nan, 17, np.nan])


def test_variation_has_its_closed_form():
    # Two scans that differ by d have a variance of d^2 / 2.
    values = np.array([[[0.4, 1.0], [0.5, np.nan]], [[0.6, 2.0], [0.8, 2.2]]])
    expected = [
        np.sqrt((0.1**2 / 2 + 0.2**2 / 2) / 2) / 0.575,
        np.sqrt(0.2**2 / 2) / 2.1,
    ]
    np.testing.assert_allclose(coefficient_of_variation(values), expected)
    assert np.isnan(coefficient_of_variation(values[:1]))[1]
    with pytest.raises(DataError, match="person, scan and region"):
        coefficient_of_variation(values[0])


def test_variation_across_sites_finds_the_spread_that_was_put_in(rng):
    people = rng.normal(0.5, 0.1, (400, 1, 3))  # who they are does not count
    sites = people * (1 + rng.normal(0, 0.06, (400, 8, 3)))
    np.testing.assert_allclose(coefficient_of_variation(sites), 0.06, rtol=0.06)
