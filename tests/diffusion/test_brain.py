"""The brain in a mean b=0 image."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.brain import brain_of_b0, is_slab
from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.volume import from_image

AFFINE = np.diag([4.0, 4.0, 5.0, 1.0])


def ball(shape, radii_mm, centre) -> np.ndarray:
    at = (np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))) * np.reshape(
        [4.0, 4.0, 5.0], (3, 1, 1, 1)
    )
    return (np.square(at / np.reshape(radii_mm, (3, 1, 1, 1)))).sum(axis=0) < 1


@pytest.fixture
def head(rng):
    """A brain with a bright ventricle, dim skin apart from it, and noise everywhere."""
    shape = (56, 60, 40)
    centre = (28, 30, 20)
    brain = ball(shape, (55, 80, 60), centre)
    skin = ball(shape, (95, 108, 90), centre) & ~ball(shape, (89, 102, 84), centre)
    signal = 400.0 * brain + 600.0 * ball(shape, (8, 20, 10), centre) + 60.0 * skin
    return (signal + np.abs(rng.normal(0, 15, shape))).astype(np.float32), brain


def volume(data):
    return from_image(nib.Nifti1Image(data, AFFINE))


def test_the_brain_is_found_in_a_head(head):
    data, brain = head
    found = brain_of_b0(volume(data))
    assert found.kind == "median-otsu"
    overlap = 2 * np.sum(found.data & brain) / (found.data.sum() + brain.sum())
    assert overlap > 0.9


def test_a_second_bright_piece_is_no_brain(head):
    data, _ = head
    data[2:6, 2:6, 2:38] = 500
    assert not brain_of_b0(volume(data)).data[2:6, 2:6, 2:38].any()


def test_a_brain_alone_is_its_own_mask(head):
    data, brain = head
    found = brain_of_b0(volume(np.where(brain, data, 0)))
    assert found.kind == "skull-stripped"
    assert np.array_equal(found.data, brain)


def test_too_little_is_no_brain(head):
    data, _ = head
    data = np.full_like(data, 10)
    data[20:24, 20:24, 20:24] = 900
    data[0, 0, 0] = 11
    with pytest.raises(ImageError, match="no brain was found in the mean b=0"):
        brain_of_b0(volume(data))


def test_a_slab_that_is_full_of_brain_is_enough(head):
    data, brain = head
    slab = from_image(nib.Nifti1Image(np.ascontiguousarray(data[14:42, 10:50, 19:21]), AFFINE))
    found = brain_of_b0(slab)
    assert np.count_nonzero(found.data) * 0.08 < 200
    data[24:32, 26:34] = 5
    holed = from_image(nib.Nifti1Image(np.ascontiguousarray(data[14:42, 10:50, 19:21]), AFFINE))
    assert brain_of_b0(holed).data[11:17, 17:23].all()
    assert np.mean(found.data == brain[14:42, 10:50, 19:21]) > 0.9


@pytest.mark.parametrize(("slices", "slab"), [(2, True), (7, True), (8, False), (40, False)])
def test_a_few_slices_are_a_slab(head, slices, slab):
    data, _ = head
    assert is_slab(volume(np.ascontiguousarray(data[:, :, :slices]))) is slab
