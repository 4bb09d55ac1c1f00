"""Where volumes are cut, and how they are turned."""

from __future__ import annotations

import numpy as np

from bids_harmony.reports.planes import PLANES, cut, in_ras, voxel_sizes

SHAPE = (30, 36, 28)


def test_planes_are_cut_where_the_brain_is_largest():
    at = np.indices(SHAPE) - np.reshape([15, 18, 14], (3, 1, 1, 1))
    mask = ((at / np.reshape([12, 15, 11], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
    picture = cut(mask, mask, np.ones(3))
    for axis in range(3):
        areas = mask.sum(axis=tuple(a for a in range(3) if a != axis))
        assert areas[picture.centre[axis]] == areas.max()
    axial = picture.plane(np.broadcast_to(np.arange(SHAPE[1])[None, :, None], SHAPE), PLANES[0])
    assert (np.diff(axial, axis=0) == 1).all(), "front must be up"


def test_in_ras_and_voxel_sizes_follow_the_affine():
    affine = np.array([[0, 0, -3.0, 0], [1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    data = np.arange(24).reshape(2, 3, 4)  # axes: A, S, L
    np.testing.assert_array_equal(in_ras(data, affine), data.transpose(2, 0, 1)[::-1])
    np.testing.assert_allclose(voxel_sizes(affine), [3, 1, 2])


def test_a_slice_keeps_its_colours_and_its_size():
    volume = np.zeros((4, 5, 6, 3))
    volume[..., 1] = 1
    whole = np.ones((4, 5, 6), bool)
    cell = cut(whole, whole, np.array([1.0, 2.0, 3.0])).cell(volume, PLANES[1], {})
    assert cell.image.shape == (6, 4, 3) and (cell.image == [0, 1, 0]).all()
    assert cell.size == (4.0, 18.0) and cell.pixel == (1.0, 3.0)
