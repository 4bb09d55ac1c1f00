"""Blur of edges: measured along each axis, and added."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.sharpness import blur_edges, edge_blur
from bids_harmony.phantom.anatomy import make_anatomy

VOXEL_MM = 2.0


@pytest.fixture(scope="module")
def head():
    """A person in units of tissues: CSF 0, grey matter 1, white matter 2."""
    person = make_anatomy(reference_grid(VOXEL_MM), 300)
    grey, white, _ = person.fractions[:3]
    return (grey + 2 * white).astype(np.float32), person.mask, 2.0


def test_a_blurred_head_shows_more_blur_along_that_axis_alone(head):
    tissue, mask, white = head
    plain = edge_blur(tissue, mask, white, VOXEL_MM)
    for axis in range(3):
        added = np.zeros(3)
        added[axis] = 2.0
        blurred = blur_edges(tissue, mask, added, VOXEL_MM)
        more = edge_blur(blurred, mask, white, VOXEL_MM) - plain
        # Cortex is no straight edge: it shows more than was added.
        assert 1.2 < more[axis] < 4.5
        assert np.abs(np.delete(more, axis)).max() < 0.35 * more[axis]


def test_noise_and_contrast_hardly_count(head):
    tissue, mask, white = head
    plain = edge_blur(tissue, mask, white, VOXEL_MM)
    noise = np.random.default_rng(0).normal(0, 0.12, tissue.shape).astype(np.float32)
    noisy = edge_blur(np.where(mask, tissue + noise, 0), mask, white, VOXEL_MM)
    assert noisy == pytest.approx(plain, abs=0.25)
    # Without taking noise off, a noisy scan would pass for a sharp one.
    sharper = edge_blur(np.where(mask, tissue + 3 * noise, 0), mask, white, VOXEL_MM)
    assert sharper == pytest.approx(plain, abs=1.0)


def test_too_few_voxels_say_nothing(head):
    tissue, mask, white = head
    few = np.zeros_like(mask)
    few[40:44, 50:54, 40:44] = True
    assert np.isnan(edge_blur(tissue, mask & few, white, VOXEL_MM)).all()


@pytest.mark.parametrize("voxel_mm", [1.0, 2.0])
def test_blur_adds_its_variance_to_a_point(voxel_mm):
    data = np.ones((41, 41, 41), np.float32)
    data[20, 20, 20] = 2
    made = blur_edges(data, np.ones(data.shape, bool), np.array([1.5, 4.0, 0.0]), voxel_mm) - 1
    place = voxel_mm * (np.arange(41) - 20)
    for axis, expected in enumerate((1.5, 4.0, 0.0)):
        line = made.sum(axis=tuple(i for i in range(3) if i != axis))
        assert line.sum() == pytest.approx(1, abs=0.01)
        assert (line * place**2).sum() == pytest.approx(expected, abs=0.1)


def test_nothing_outside_the_brain_is_mixed_in_or_left():
    mask = np.zeros((20, 20, 20), bool)
    mask[5:15, 5:15, 5:15] = True
    data = np.where(mask, np.float32(0.8), np.float32(9))
    made = blur_edges(data, mask, np.full(3, 4.0), 2.0)
    assert made[mask] == pytest.approx(0.8, abs=0.02)
    assert not made[~mask].any()
    assert blur_edges(data, mask, np.zeros(3), 2.0) is data


def test_a_gaussian_in_frequencies_is_the_usual_one():
    rng = np.random.default_rng(1)
    data = rng.random((30, 30, 30)).astype(np.float32)
    made = blur_edges(data, np.ones(data.shape, bool), np.array([0, 16.0, 0]), 2.0)
    usual = gaussian_filter1d(data, 2.0, axis=1, mode="reflect", truncate=8)
    assert made == pytest.approx(usual, abs=1e-4)
