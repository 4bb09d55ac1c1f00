from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.mask import (
    BrainMask,
    brain_mask,
    is_skull_stripped,
    read_brain,
    template_mask,
    transfer_mask,
)
from bids_harmony.imaging.reference import reference_grid, reference_mask
from bids_harmony.imaging.volume import Volume, from_image, read_volume
from tests.small_volumes import rigid

STRIPPED = ("sub-ge01", "sub-philips04", "sub-cs07", "sub-cs19")


def head_round(mask: np.ndarray, affine: np.ndarray, rng) -> Volume:
    """A brain in a skull and a scalp, at 2 mm."""
    distance = ndimage.distance_transform_edt(~np.pad(mask, 8), sampling=2.0)
    data = np.where(distance == 0, 800, np.where(distance < 6, 100, 600))
    data = np.where(distance < 14, data + rng.normal(0, 20, data.shape), 0)
    return from_image(nib.Nifti1Image(data.astype(np.int16), affine))


def test_a_brain_alone_is_recognized_and_its_foreground_is_the_mask(brain_at_2mm):
    volume, mask = brain_at_2mm
    found = brain_mask(volume)
    assert found.kind == "skull-stripped"
    assert (found.data != mask).mean() < 0.001
    assert is_skull_stripped(replace(volume, data=volume.data - np.float32(1024)))


def test_holes_in_the_foreground_are_filled(brain_at_2mm):
    volume, mask = brain_at_2mm
    data = volume.data.copy()
    centre = tuple(int(n) for n in ndimage.center_of_mass(mask))
    data[centre[0] - 2 : centre[0] + 2, centre[1], centre[2]] = 0
    assert brain_mask(replace(volume, data=data)).data[centre]


def test_heads_are_not_brains(brain_at_2mm, rng):
    volume, mask = brain_at_2mm
    head = head_round(mask, volume.affine, rng)
    assert not is_skull_stripped(head)
    defaced = head.data.copy()
    defaced[:, defaced.shape[1] // 2 :, : defaced.shape[2] // 3] = 0
    assert not is_skull_stripped(replace(head, data=defaced))
    slab = replace(head, data=np.ascontiguousarray(head.data[:, :, 50:70]))
    assert not is_skull_stripped(slab)


def test_noise_in_the_background_is_not_a_stripped_image(brain_at_2mm, rng):
    volume, _ = brain_at_2mm
    noise = np.abs(rng.normal(0, 5, volume.data.shape)).astype(np.float32)
    assert not is_skull_stripped(replace(volume, data=volume.data + noise))


@pytest.mark.parametrize("found", ["nothing", "a crumb"])
def test_no_brain_is_an_error(found, rng, monkeypatch):
    class Extractor:
        def run(self, image):
            # deepbet's own check, and a mask of a few voxels.
            assert found != "nothing", "Not enough foreground to calculate bounding box"
            crumb = np.zeros(image.shape, np.uint8)
            crumb[:2, :2, :2] = 1
            return image, nib.Nifti1Image(crumb, image.affine), 0.0

    monkeypatch.setattr("bids_harmony.imaging.mask.extractor", lambda no_gpu: Extractor())
    data = rng.normal(100, 5, (20, 20, 20)).astype(np.float32)
    volume = from_image(nib.Nifti1Image(data, np.eye(4)))
    with pytest.raises(ImageError, match="no brain was found"):
        brain_mask(volume)


def test_a_mask_follows_the_head_to_another_scan(brain_at_2mm):
    volume, mask = brain_at_2mm
    world = rigid((5, 3, -8), (10, -4, 6))
    other = replace(volume, affine=np.linalg.inv(world) @ volume.affine)
    carried = transfer_mask(BrainMask(mask, "deepbet"), volume.affine, other, world)
    assert carried.kind == "T1w"
    np.testing.assert_array_equal(carried.data, mask)
    away = replace(volume, affine=rigid((0, 0, 0), (900, 0, 0)) @ volume.affine)
    with pytest.raises(ImageError, match="outside the scan"):
        transfer_mask(BrainMask(mask, "deepbet"), volume.affine, away, np.eye(4))


def test_beyond_the_other_scans_field_of_view_the_template_fills_in(brain_at_2mm):
    volume, mask = brain_at_2mm
    slab, height = slice(25, 60), np.array([0, 0, 25])
    slab_affine = volume.affine.copy()
    slab_affine[:3, 3] += volume.affine[:3, :3] @ height
    other = BrainMask(mask[:, :, slab], "deepbet")
    cut = transfer_mask(other, slab_affine, volume, np.eye(4)).data
    whole = transfer_mask(other, slab_affine, volume, np.eye(4), to_reference=np.eye(4)).data
    assert not cut[:, :, :24].any() and not cut[:, :, 61:].any()
    np.testing.assert_array_equal(whole[:, :, slab], mask[:, :, slab])
    assert 2 * (whole & mask).sum() / (whole.sum() + mask.sum()) > 0.98


def test_the_template_lends_its_mask(brain_at_2mm):
    volume, mask = brain_at_2mm
    lent = template_mask(volume, np.eye(4))
    assert lent.kind == "template"
    assert 2 * (lent.data & mask).sum() / (lent.data.sum() + mask.sum()) > 0.98
    assert reference_mask(reference_grid(1.0)).sum() / 8 == pytest.approx(
        lent.data.sum(), rel=0.02
    )


def test_real_scans_are_told_apart(shared_data):
    scans = sorted(shared_data.glob("multivendor/*/anat/*.nii.gz"))
    scans += sorted(shared_data.glob("ms_3t_mni/sub-cs19/anat/*_T[12]w.nii.gz"))
    scans += sorted(shared_data.glob("ms_longitudinal/sub-ms01/ses-1/anat/*T1w.nii.gz"))
    assert len(scans) > 12
    told = {path.name: is_skull_stripped(read_volume(path)) for path in scans}
    assert told == {path.name: path.name.startswith(STRIPPED) for path in scans}


def test_a_real_head_gets_a_brain_of_the_right_size(shared_data):
    scan = shared_data / "multivendor/sub-philips03/anat/sub-philips03_T1w.nii.gz"
    volume = read_volume(scan)
    mask = brain_mask(volume)
    assert mask.kind == "deepbet"
    assert mask.data.sum() * abs(np.linalg.det(volume.affine)) / 1e3 == pytest.approx(
        1635, rel=0.05
    )


@pytest.mark.parametrize("modality", ["T2w", "FLAIR"])
def test_a_real_head_of_another_contrast_gets_the_brain_that_its_t1w_has(shared_data, modality):
    scan = shared_data / "ms_longitudinal/sub-ms01/ses-1/anat/sub-ms01_ses-1_FLAIR.nii.gz"
    volume = read_volume(str(scan).replace("FLAIR", modality))
    mask = brain_mask(volume)
    assert mask.kind == "deepbet"
    # 1356 ml, by deepbet of the T1w.
    assert mask.data.sum() * abs(np.linalg.det(volume.affine)) / 1e3 == pytest.approx(
        1356, rel=0.03
    )


VOXEL_MM = np.array([3.0, 4.0, 5.0])


def shapes(*parts, size=(80, 60, 48)):
    """Ellipsoids (radii, centre; mm from the middle of the image) of one intensity each."""
    data = np.zeros(size, np.float32)
    at = (np.indices(size) - (np.reshape(size, (3, 1, 1, 1)) - 1) / 2) * VOXEL_MM[
        :, None, None, None
    ]
    for number, (radii, centre) in enumerate(parts):
        away = (at - np.reshape(centre, (3, 1, 1, 1))) / np.reshape(radii, (3, 1, 1, 1))
        data[np.square(away).sum(axis=0) < 1] = 100 + number
    return from_image(nib.Nifti1Image(data, np.diag([*VOXEL_MM, 1])))


MIDDLE = (0, 0, 0)


@pytest.mark.parametrize(
    ("parts", "alone"),
    [
        ([((60, 80, 55), MIDDLE)], True),
        # 90 and 120 ml.
        ([((28, 28, 27.4), MIDDLE)], False),
        ([((31, 31, 30), MIDDLE)], True),
        # 2.06 and 2.39 litres, neither too thick.
        ([((55, 105, 85), MIDDLE)], True),
        ([((57, 112, 89), MIDDLE)], False),
        # Too thick: the radius of the largest ball inside.
        ([((56, 90, 56), MIDDLE)], True),
        ([((63, 66, 66), MIDDLE)], False),
        # Cut by a face: a little, and by more than a seventh of its section.
        ([((55, 80, 50), (70, 0, 0))], False),
        ([((55, 80, 50), (0, 60, 0))], False),
        ([((55, 80, 50), (0, 0, -85))], False),
        # A second piece of 1 % and of 4 %.
        ([((55, 55, 50), MIDDLE), ((12, 12, 11), (90, 90, 80))], True),
        ([((55, 55, 50), MIDDLE), ((20, 18, 18), (90, 90, 80))], False),
    ],
)
def test_a_brain_alone_has_its_size_thickness_and_one_piece(parts, alone):
    assert is_skull_stripped(shapes(*parts)) is alone


def test_the_background_is_the_commonest_value_of_the_corners():
    volume = shapes(((55, 80, 50), MIDDLE))
    data = np.where(volume.data == 0, np.float32(7), volume.data)
    data[0, 0, 0] = data[-1, 0, 0] = data[-1, -1, -1] = 3
    # Three odd corners are pieces of next to no size.
    found = brain_mask(replace(volume, data=data))
    assert found.kind == "skull-stripped"
    np.testing.assert_array_equal(found.data, volume.data > 0)


def test_a_mask_from_disk_is_what_is_above_one_half(tmp_path):
    data = np.zeros((4, 5, 6), np.float32)
    data[1, 2, 3], data[2, 2, 2], data[3, 3, 3] = 1, 0.5, 0.6
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])), tmp_path / "mask.nii.gz")
    found, made = (read_brain(tmp_path / "mask.nii.gz", *kind) for kind in ((), ("deepbet",)))
    np.testing.assert_array_equal(found.data, data > 0.5)
    assert (found.kind, made.kind) == ("given", "deepbet")
