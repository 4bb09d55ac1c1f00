from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.native import intensity_map, return_to_native
from bids_harmony.imaging.prepared import prepare
from bids_harmony.imaging.volume import from_image
from tests.small_volumes import rigid

WORLD = rigid((6, -4, 9), (3, -2, 4)) @ np.diag([1.05, 0.97, 1.02, 1.0])
EDGE_MM = 40.0
"""Radius of the ball that stands for a brain."""


def grid_round_the_ball() -> ReferenceGrid:
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -54
    return ReferenceGrid("test", (56, 56, 56), affine, 2.0)


@pytest.fixture(scope="module")
def scan():
    """A textured ball (brain), a dark gap, a bright shell, zeros in one corner; 1.5x1.5x3 mm."""
    rng = np.random.default_rng(5)
    affine = rigid((-5, 8, 3), (0, 0, 0)) @ np.diag([1.5, 1.5, 3.0, 1.0])
    shape = (76, 76, 38)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    points = voxels @ affine[:3, :3].T + affine[:3, 3]
    radius = np.linalg.norm(points, axis=-1)
    texture = ndimage.gaussian_filter(rng.normal(size=shape), (2, 2, 1))
    texture = 600 + 200 * texture / texture.std()
    data = np.where(radius < EDGE_MM, texture.clip(50, 1200), 20 + 10 * rng.random(shape))
    data = np.where((radius > 46) & (radius < 54), 1500 + 100 * rng.random(shape), data)
    data[:12, :12, :12] = 0
    volume = from_image(nib.Nifti1Image(data.astype(np.int16), affine))
    ball = radius < EDGE_MM  # the affine of this phantom is RAS+ already
    assert volume.data.shape == shape
    return volume, BrainMask(ball, "deepbet"), radius


@pytest.fixture(scope="module")
def ready(scan):
    volume, mask, _ = scan
    return prepare(volume, mask, WORLD, grid_round_the_ball())


def test_prepared_is_brain_alone_in_units_of_its_scale(scan, ready):
    volume, mask, _ = scan
    assert ready.data.dtype == np.float32
    assert not ready.data[~ready.mask].any() and (ready.data >= 0).all()
    assert ready.scale == pytest.approx(np.percentile(volume.data[mask.data], 99.5))
    assert ready.data.max() > 1  # not clipped
    assert ready.data[ready.mask].mean() * ready.scale == pytest.approx(600, rel=0.03)
    size = np.count_nonzero(mask.data) * abs(np.linalg.det(volume.affine @ WORLD))
    assert np.count_nonzero(ready.mask) * 8 == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize("kind", ["deepbet", "skull-stripped"])
def test_no_change_is_the_scan_bit_for_bit(kind, scan, ready):
    volume, mask, _ = scan
    result = return_to_native(volume, replace(mask, kind=kind), ready, ready.data.copy())
    assert result.data.tobytes() == volume.data.tobytes()
    assert not result.change.any()


def test_a_gain_reaches_every_voxel_up_to_the_edge_and_the_head(scan, ready):
    volume, mask, _ = scan
    result = return_to_native(volume, mask, ready, 1.5 * ready.data)
    smooth = ndimage.gaussian_filter(volume.data, 0)
    ratio = result.data[mask.data].mean() / smooth[mask.data].mean()
    assert ratio == pytest.approx(1.5, rel=0.01)
    shell = volume.data > 1400
    assert np.median(result.data[shell] / volume.data[shell]) == pytest.approx(1.5, rel=0.05)
    assert not result.data[volume.data == 0].any()
    np.testing.assert_array_equal(result.change, result.data - volume.data)


def test_a_constant_change_arrives_undiminished_at_the_edge(scan, ready):
    volume, mask, radius = scan
    result = return_to_native(volume, mask, ready, ready.data + np.float32(0.1) * ready.mask)
    rim = mask.data & (radius > EDGE_MM - 2)
    np.testing.assert_allclose(result.change[mask.data], 0.1 * ready.scale, rtol=1e-3)
    assert rim.sum() > 1000


def test_nothing_steps_at_the_border(scan, ready):
    volume, mask, radius = scan
    result = return_to_native(volume, mask, ready, ready.data + np.float32(0.1) * ready.mask)
    just_outside = (radius > EDGE_MM) & (radius < EDGE_MM + 0.7)
    farther = (radius > EDGE_MM + 5) & (radius < 46)
    added = 0.1 * ready.scale
    assert np.median(result.change[just_outside]) > 0.6 * added
    # The gap has 20 to 30 units; the map through the origin lifts it by far less than the brain.
    assert np.median(result.change[farther]) < 0.5 * added


def test_skull_stripped_background_stays_as_it_is(scan, ready):
    volume, mask, _ = scan
    stripped = replace(volume, data=np.where(mask.data, volume.data, np.float32(0)))
    own = replace(mask, kind="skull-stripped")
    result = return_to_native(stripped, own, ready, ready.data * 2 + np.float32(0.2) * ready.mask)
    assert not result.data[~mask.data].any()
    assert (result.data[mask.data] > stripped.data[mask.data]).all()


def test_skull_strip_leaves_the_brain_alone(scan, ready):
    volume, mask, _ = scan
    whole = return_to_native(volume, mask, ready, 1.2 * ready.data)
    alone = return_to_native(volume, mask, ready, 1.2 * ready.data, skull_strip=True)
    assert not alone.data[~mask.data].any()
    np.testing.assert_array_equal(alone.data[mask.data], whole.data[mask.data])
    same = return_to_native(volume, mask, ready, ready.data, skull_strip=True)
    np.testing.assert_array_equal(same.data, np.where(mask.data, volume.data, 0))


def test_nothing_becomes_negative_that_was_not(scan, ready):
    volume, mask, _ = scan
    below = volume.data.copy()
    below[40:44, 40:44, 20] = -30
    result = return_to_native(replace(volume, data=below), mask, ready, 0 * ready.data)
    assert (result.data[below >= 0] >= 0).all()
    assert (result.data[below < 0] >= below[below < 0]).all()


def test_wrong_shape_and_values_are_refused(scan, ready):
    volume, mask, _ = scan
    with pytest.raises(ValueError, match="shape of the reference grid"):
        return_to_native(volume, mask, ready, ready.data[1:])
    with pytest.raises(ValueError, match="finite"):
        return_to_native(volume, mask, ready, ready.data * np.nan)


def test_map_is_monotone_and_finds_the_curve(rng):
    before = rng.gamma(4, 100, 20000)
    knots = intensity_map(before, 2000 * (before / 2000) ** 0.8 + rng.normal(0, 5, before.size))
    assert (np.diff(knots[0]) > 0).all() and (np.diff(knots[1]) >= 0).all()
    assert np.interp(400, *knots) == pytest.approx(2000 * 0.2**0.8, rel=0.02)
    assert np.interp(0, *knots) == 0


def test_map_of_inverted_contrast_is_flat_not_falling(rng):
    before = rng.uniform(100, 1000, 5000)
    knots = intensity_map(before, 1100 - before)
    assert (np.diff(knots[1]) >= 0).all()
    # Beyond the brain's brightest the slope is at least a quarter: fat stays brighter.
    assert knots[1, -1] > knots[1, -2]


def test_map_of_a_constant_brain_is_a_gain():
    knots = intensity_map(np.full(500, 200.0), np.full(500, 300.0))
    assert np.interp(100, *knots) == pytest.approx(150)


def test_the_border_is_as_wide_along_thick_voxels(scan, ready):
    """Voxels are 1.5 x 1.5 x 3 mm: from 4 mm on the head has its map, nothing of the brain."""
    volume, mask, _ = scan
    result = return_to_native(volume, mask, ready, ready.data + np.float32(0.1) * ready.mask)
    mapped = np.interp(volume.data, *result.map_knots)
    far = ndimage.distance_transform_edt(~mask.data, sampling=volume.voxel_mm)
    known = (volume.data > 0) & (volume.data < result.map_knots[0, -1])
    border, beyond = ((far > low) & (far < high) & known for low, high in ((0.5, 3.1), (4, 5.5)))
    np.testing.assert_allclose(result.data[beyond], mapped[beyond], rtol=1e-4)
    assert np.abs(result.data - mapped)[border].min() > 1 and beyond.sum() > 1000
