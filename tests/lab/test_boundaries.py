"""Displacement of boundaries whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from bids_harmony.exceptions import DataError
from lab.boundaries import boundary_displacement_mm, tissue_boundaries


def _ball(radius_mm, shift_mm=0.0, voxel_mm=2.0, n=28):
    """Fractions of a ball whose edge is one voxel wide."""
    index = (np.indices((n, n, n)) - (n - 1) / 2) * voxel_mm
    index[0] -= shift_mm
    return np.clip(0.5 + (radius_mm - np.sqrt((index**2).sum(axis=0))) / (2 * voxel_mm), 0, 1)


def test_equal_maps_have_not_moved():
    got = boundary_displacement_mm(_ball(18), _ball(18), 2.0)
    assert got.mean_mm == 0
    assert got.p95_mm == 0


@pytest.mark.parametrize("growth", [0.2, 1.0, 3.0])
def test_a_growing_ball_moves_by_its_radius_also_within_a_voxel(growth):
    got = boundary_displacement_mm(_ball(18), _ball(18 + growth), 2.0)
    assert got.mean_mm == pytest.approx(growth, abs=0.06)
    assert got.p95_mm == pytest.approx(growth, abs=0.15)


def test_a_shifted_ball_moves_by_half_its_shift_on_average():
    # The mean of |cos| over a sphere is 1/2, its 95th percentile 0.95.
    got = boundary_displacement_mm(_ball(20), _ball(20, shift_mm=1.0), 2.0)
    assert got.mean_mm == pytest.approx(0.5, abs=0.04)
    assert got.p95_mm == pytest.approx(0.95, abs=0.08)


def test_voxel_sizes_per_axis():
    first, second = np.zeros((20, 10, 10)), np.zeros((20, 10, 10))
    first[:8], second[:11] = 1, 1  # slabs: three voxels along the first axis
    got = boundary_displacement_mm(first, second, (0.5, 3.0, 3.0))
    assert got.p95_mm == pytest.approx(1.5)


def test_agrees_with_distance_transforms_of_label_maps():
    first, second = _ball(18) > 0.5, _ball(14, shift_mm=1.5) > 0.5
    # Both surfaces lie half a voxel outside of their outermost voxels.
    edges = [ball & ~binary_erosion(ball) for ball in (first, second)]
    here, there = (distance_transform_edt(~a, 2.0)[b] for a, b in (edges, edges[::-1]))
    got = boundary_displacement_mm(first, second, 2.0)
    assert got.mean_mm == pytest.approx((here.mean() + there.mean()) / 2, abs=0.25)


def test_a_part_that_vanished_counts_with_its_full_distance():
    ball, island = _ball(12), np.zeros((28, 28, 28))
    island[2:5, 2:5, 2:5] = 1.0
    gap = np.sqrt(3) * 10.5 * 2 - 12  # from the centre of the island to the ball
    both = np.maximum(ball, island)
    # Only the island's points are far, but all of them are.
    got = boundary_displacement_mm(both, ball, 2.0)
    alone = boundary_displacement_mm(island, ball, 2.0)
    assert alone.mean_mm > gap - 4
    assert got.p95_mm == 0 or got.p95_mm > gap - 4
    assert 0.2 < got.mean_mm < gap / 4


def test_what_vanished_beside_an_edge_counts_with_its_full_distance():
    column, both = np.zeros((34, 26, 12)), np.zeros((34, 26, 12))
    column[2:12, 2:12] = both[2:12, 2:12] = 1.0
    both[22:25, 12:15] = 1.0
    got = boundary_displacement_mm(both, column, 1.0)
    # Points of the small column, 10 to 13 mm away, are a ninth of all.
    assert 10 < got.p95_mm < 13


def test_boundaries_of_tissues():
    gm, wm, csf = np.full((3, 2, 2, 2), [[[[0.3]]], [[[0.6]]], [[[0.1]]]])
    maps = tissue_boundaries(np.stack([gm, wm, csf]))
    assert list(maps) == ["wm", "pial"]
    np.testing.assert_allclose(maps["wm"], 0.6)
    np.testing.assert_allclose(maps["pial"], 0.9)


def test_bad_input_is_named():
    with pytest.raises(DataError, match="one grid"):
        boundary_displacement_mm(np.ones((3, 3, 3)), np.ones((3, 3, 4)), 1.0)
    with pytest.raises(DataError, match="no boundary"):
        boundary_displacement_mm(np.ones((3, 3, 3)), np.zeros((3, 3, 3)), 1.0)
