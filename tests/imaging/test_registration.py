from __future__ import annotations

import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.registration import register_rigid, register_to_reference
from bids_harmony.imaging.volume import Volume, from_image
from tests.small_volumes import rigid

WORLD = rigid((10, -6, 8), (12, -15, 20)) @ np.diag([1.12, 0.95, 1.06, 1.0])


def moved_to(volume: Volume, world: np.ndarray) -> Volume:
    """The same voxels in a space that `world` maps back to where they were."""
    return replace(volume, affine=np.linalg.inv(world) @ volume.affine)


def error_mm(found, true, volume, mask):
    points = np.argwhere(mask)[::97] @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    apart = points @ (found - true)[:3, :3].T + (found - true)[:3, 3]
    return np.linalg.norm(apart, axis=1).mean()


@pytest.fixture(scope="module")
def moved(brain_at_2mm):
    volume, mask = brain_at_2mm
    return moved_to(volume, WORLD), BrainMask(mask, "given")


@pytest.fixture(scope="module")
def found(moved):
    return register_to_reference(*moved, modality="T1w", sloppy=True)


def test_known_affine_is_recovered(found, moved):
    volume, mask = moved
    assert found.kind == "affine" and found.similarity > 0.97
    assert error_mm(found.world, WORLD, volume, mask.data) < 1.0


def test_same_bits_again(found, moved):
    again = register_to_reference(*moved, modality="T1w", sloppy=True)
    assert again.world.tobytes() == found.world.tobytes()
    assert os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] == "1"


def test_left_stays_left_for_another_contrast(brain_at_2mm):
    volume, mask = brain_at_2mm
    inverted = np.where(mask, 1100 - volume.data, 0).astype(np.float32)
    scan = moved_to(replace(volume, data=inverted), rigid((4, 3, 5), (5, 8, -6)))
    found = register_to_reference(scan, BrainMask(mask, "given"), modality="T2w", sloppy=True)
    lesion = ndimage.center_of_mass((inverted == 1000) & mask)
    where = found.world @ scan.affine @ [*lesion, 1]
    np.testing.assert_allclose(where[:3], [-30, -10, 30], atol=3)


def test_what_is_no_brain_is_refused(brain_at_2mm):
    volume, mask = brain_at_2mm
    rod = np.zeros_like(mask)
    rod[40:44, 40:44, 10:80] = True
    with pytest.raises(ImageError, match=r"too small .*9 ml"):
        register_to_reference(volume, BrainMask(rod, "given"), modality="T1w", sloppy=True)


def test_a_small_brain_is_called_small(brain_at_2mm):
    scale = 0.55
    volume, mask = brain_at_2mm
    affine = volume.affine @ np.diag([scale, scale, scale, 1])
    other = from_image(nib.Nifti1Image(volume.data, affine))
    with pytest.raises(ImageError, match=r"brain is too small .*ml and more inside") as caught:
        register_to_reference(other, BrainMask(mask, "given"), modality="T1w", sloppy=True)
    millilitres = np.count_nonzero(mask) * 8e-3 * scale**3
    assert f"{millilitres:.0f} ml" in str(caught.value)


def test_rigid_between_contrasts_with_thick_slices(brain_at_2mm):
    volume, mask = brain_at_2mm
    world = rigid((3, -2, 4), (4, -6, 5))
    thick = np.where(mask, 1100 - volume.data, 0)[:, :, ::2].astype(np.float32)
    affine = volume.affine @ np.diag([1, 1, 2, 1.0])
    scan = moved_to(Volume(thick, affine, volume.source, None), world)
    found = register_rigid(scan, None, volume, BrainMask(mask, "given"), sloppy=True)
    assert found.kind == "rigid"
    np.testing.assert_allclose(found.world[:3, :3] @ found.world[:3, :3].T, np.eye(3), atol=1e-5)
    assert np.linalg.det(found.world) == pytest.approx(1, abs=1e-5)
    assert error_mm(found.world, world, scan, mask[:, :, ::2]) < 1.0


@pytest.fixture(scope="module")
def head(brain_at_2mm):
    """The brain in a skull and a scalp, with a neck, moved."""
    volume, mask = brain_at_2mm
    room = ((10, 10), (10, 10), (24, 12))
    wide = np.pad(mask, room)
    distance = ndimage.distance_transform_edt(~wide, sampling=2.0)
    data = np.where(wide, np.pad(volume.data, room), np.where(distance < 5, 60.0, 500.0))
    x, y, _ = (np.indices(wide.shape) - np.reshape(wide.shape, (3, 1, 1, 1)) / 2) * 2.0
    neck = (x**2 + (y + 20) ** 2 < 50**2) & (np.indices(wide.shape)[2] < 40)
    data = np.where((distance < 10) | (neck & ~wide), data, 0).astype(np.float32)
    affine = volume.affine.copy()
    affine[:3, 3] -= volume.affine[:3, :3] @ [10, 10, 24]
    world = rigid((6, -4, 5), (8, 20, -25))
    return moved_to(Volume(data, affine, volume.source, None), world), wide, world


def test_a_head_without_a_mask_finds_the_templates_brain(head):
    scan, brain, world = head
    found = register_to_reference(scan, None, modality="T1w", sloppy=True)
    assert found.kind == "affine"
    assert error_mm(found.world, world, scan, brain) < 3.0
    # Normalized mutual information is 1 for images that say nothing of each other.
    assert 1.1 < found.similarity <= 2


def test_masks_of_both_scans_are_compared_after_a_rigid_registration(brain_at_2mm):
    volume, mask = brain_at_2mm
    world = rigid((3, -2, 4), (4, -6, 5))
    scan, own = moved_to(volume, world), BrainMask(mask, "given")
    found = register_rigid(scan, own, volume, own, sloppy=True)
    assert error_mm(found.world, world, scan, mask) < 0.5
    assert 0.97 < found.similarity <= 1
    half = mask.copy()
    half[: half.shape[0] // 2] = False
    less = register_rigid(scan, BrainMask(half, "given"), volume, own, sloppy=True)
    np.testing.assert_array_equal(less.world, found.world)
    share = half.sum() / mask.sum()
    assert less.similarity == pytest.approx(2 * share / (1 + share), abs=0.02)


def test_a_person_who_was_moved_far_is_found_from_the_centres(brain_at_2mm):
    volume, mask = brain_at_2mm
    world = rigid((2, 3, -2), (90, -70, 80))
    scan = moved_to(volume, world)
    found = register_rigid(scan, None, volume, None, sloppy=True)
    assert error_mm(found.world, world, scan, mask) < 1.0
    assert 1.2 < found.similarity <= 2


def test_a_scaling_that_no_head_has_is_refused(brain_at_2mm):
    """Of a brain twice as long along each axis."""
    volume, mask = brain_at_2mm
    scan = replace(volume, affine=np.diag([2.0, 2.0, 2.0, 1]) @ volume.affine)
    with pytest.raises(
        ImageError, match=r"T2w scan could not be registered to MNI152NLin2009aSym"
    ):
        register_to_reference(scan, BrainMask(mask, "given"), modality="T2w", sloppy=True)
