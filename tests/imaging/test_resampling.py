from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.resampling import resample_from_grid, resample_to_grid
from tests.small_volumes import rigid


def grid_of(shape, voxel_mm, corner):
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = corner
    return ReferenceGrid("test", shape, affine, voxel_mm)


def millimetres(affine, shape):
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def ramp(points):
    return 500 + points @ [2.0, -3.0, 5.0]


NATIVE = rigid((10, -5, 20), (-20, -22, -15)) @ np.diag([1.0, 1.0, 3.0, 1.0])
WORLD = rigid((4, 3, -6), (2, -1, 3)) @ np.diag([1.1, 0.95, 1.05, 1.0])


def test_the_same_grid_gives_the_same_bits(rng):
    grid = grid_of((6, 7, 8), 2.0, [-3.0, 5, 1])
    data = rng.normal(size=grid.shape).astype(np.float32)
    there = resample_to_grid(data, grid.affine, np.eye(4), grid, order=1)
    np.testing.assert_array_equal(there, data)
    cubic = resample_to_grid(data, grid.affine, np.eye(4), grid)
    np.testing.assert_allclose(cubic, data, atol=1e-5)
    back = resample_from_grid(data, grid, np.eye(4), grid.affine, grid.shape)
    np.testing.assert_array_equal(back, data)


@pytest.mark.parametrize("order", [1, 3])
def test_a_point_keeps_its_value_through_any_world(order):
    grid = grid_of((9, 9, 9), 2.0, [-8.0, -8, -8])
    shape = (44, 48, 16)
    data = ramp(millimetres(NATIVE, shape)).astype(np.float32)
    there = resample_to_grid(data, NATIVE, WORLD, grid, order=order)
    points = millimetres(np.linalg.inv(WORLD) @ grid.affine, grid.shape)
    voxels = (points - NATIVE[:3, 3]) @ np.linalg.inv(NATIVE[:3, :3]).T
    # Away from the faces: beyond them a spline mirrors, and smoothing repeats the last voxel.
    well_inside = ((voxels > 4) & (voxels < np.array(shape) - 5)).all(axis=-1)
    assert well_inside.sum() > 100
    np.testing.assert_allclose(there[well_inside], ramp(points)[well_inside], rtol=2e-3)


def test_and_back_again():
    grid = grid_of((30, 30, 30), 2.0, [-30.0, -30, -30])
    data = ramp(millimetres(grid.affine, grid.shape)).astype(np.float32)
    shape = (20, 22, 8)
    back = resample_from_grid(data, grid, WORLD, NATIVE, shape)
    expected = ramp(millimetres(WORLD @ NATIVE, shape))
    assert (back != 0).mean() > 0.5
    np.testing.assert_allclose(back[back != 0], expected[back != 0], rtol=1e-4)


def test_outside_the_field_of_view_is_zero():
    grid = grid_of((5, 5, 5), 2.0, [100.0, 0, 0])
    data = np.ones((4, 4, 4), np.float32)
    assert not resample_to_grid(data, np.eye(4), np.eye(4), grid).any()


def test_fine_voxels_are_smoothed_before_they_are_left_out():
    # A checkerboard of 1 mm cannot be shown at 4 mm: it must come out grey, not black or white.
    checker = np.indices((32, 32, 32)).sum(axis=0) % 2 * 1000.0
    grid = grid_of((5, 5, 5), 4.0, [8.0, 8, 8])
    np.testing.assert_allclose(resample_to_grid(checker, np.eye(4), np.eye(4), grid), 500, atol=30)


def test_voxels_like_the_grid_are_not_smoothed():
    point = np.zeros((9, 9, 9), np.float32)
    point[4, 4, 4] = 1
    grid = grid_of((9, 9, 9), 1.0, [0.0, 0, 0])
    assert resample_to_grid(point, np.eye(4), np.eye(4), grid).max() == pytest.approx(1, abs=1e-5)


def test_what_is_finer_than_the_grid_is_averaged_along_its_own_axis():
    """Stripes of one voxel along the scan's first axis, 0.5 mm, which runs up the head."""
    affine = np.array([[0.0, 2, 0, 0], [0, 0, 2, 0], [0.5, 0, 0, 0], [0, 0, 0, 1]])
    grid = grid_of((12, 12, 12), 2.0, [8.0, 8, 8])
    shape = (96, 20, 20)
    stripes = np.zeros(shape, np.float32)
    stripes[::2] = 100
    assert np.abs(resample_to_grid(stripes, affine, np.eye(4), grid) - 50).max() < 3
    # Along the others voxels are as large as the grid's: nothing is blurred.
    stripes = np.zeros(shape, np.float32)
    stripes[:, ::2] = 100
    kept = resample_to_grid(stripes, affine, np.eye(4), grid)
    assert np.allclose(kept[::2], 100, atol=0.1) and np.allclose(kept[1::2], 0, atol=0.1)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_wanted_voxels_are_those_of_the_whole_grid_bit_for_bit(rng, monkeypatch, order, threads):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr("bids_harmony.imaging.resampling.AT_ONCE", 100)
    grid = grid_of((20, 24, 18), 2.0, [-20.0, -24, -16])
    data = rng.normal(size=(22, 30, 12)).astype(np.float32)
    whole = resample_to_grid(data, NATIVE, WORLD, grid, order=order)
    within = rng.random(grid.shape) < 0.4
    part = resample_to_grid(data, NATIVE, WORLD, grid, order=order, within=within)
    np.testing.assert_array_equal(part, np.where(within, whole, 0))
    assert np.count_nonzero(part) > 300
    none = resample_to_grid(data, NATIVE, WORLD, grid, order=order, within=np.zeros_like(within))
    assert not none.any()
