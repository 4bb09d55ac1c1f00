"""What an image must be: each fault in words, by its file."""

from __future__ import annotations

import logging
import re

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ImageError
from bids_harmony.io.checks import (
    check_finite,
    check_orientation,
    check_series_shape,
    check_shape,
    check_values,
)
from bids_harmony.io.header import apart_mm, is_sound, itk_affine, orientation_note
from bids_harmony.io.header_check import check_header

AFFINE = np.diag([2.0, 2, 2, 1])


def image(shape=(4, 5, 6), affine=AFFINE, dtype=np.float32):
    return nib.Nifti1Image(np.ones(shape, dtype), affine)


@pytest.mark.parametrize("shape", [(2, 2, 2), (4, 5, 6, 1), (4, 5, 6, 1, 1)])
def test_one_volume(shape):
    check_shape(image(shape), "a.nii")


@pytest.mark.parametrize("shape", [(4, 5), (1, 5, 6), (4, 5, 1), (4, 5, 6, 2), (4, 5, 6, 1, 2)])
def test_no_volume(shape):
    with pytest.raises(ImageError, match="not a single three-dimensional volume") as caught:
        check_shape(image(shape), "a.nii")
    assert caught.value.where == "a.nii"
    assert f"Got: {'x'.join(map(str, shape))}." in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 2, 2, 2), (4, 5, 6, 3, 1)])
def test_a_series(shape):
    check_series_shape(image(shape), "a.nii")


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 1), (4, 1, 6, 3), (4, 5, 6, 3, 2)])
def test_no_series(shape):
    with pytest.raises(ImageError, match=r"not a series of volumes \[a\.nii\]") as caught:
        check_series_shape(image(shape), "a.nii")
    assert f"Got: {'x'.join(map(str, shape))}." in str(caught.value)


@pytest.mark.parametrize("check", [check_shape, check_series_shape])
def test_complex_numbers_and_colours_are_no_intensities(check):
    shape = (4, 5, 6) if check is check_shape else (4, 5, 6, 3)
    for dtype, name in ((np.complex64, "complex64"), ([(c, "u1") for c in "RGB"], "R")):
        with pytest.raises(ImageError, match=rf"no plain numbers \[a\.nii\].*{name}"):
            check(image(shape, dtype=dtype), "a.nii")


def test_a_file_is_named_by_its_header_check(tmp_path):
    nib.save(image((4, 5, 6, 3)), tmp_path / "a.nii")
    with pytest.raises(ImageError) as caught:
        check_header(tmp_path / "a.nii")
    assert caught.value.where == str(tmp_path / "a.nii")
    assert check_header(tmp_path / "a.nii", series=True) == (4, 5, 6, 3)


@pytest.mark.parametrize(
    ("edges", "sound"),
    [
        ((0.05, 1, 1), True), ((0.049, 1, 1), False), ((25, 25, 25), True), ((1, 1, 25.1), False),
        ((1, 1, 0), False), ((1, np.nan, 1), False), ((1, 1, np.inf), False),
    ],
)  # fmt: skip
def test_voxels_of_a_head(edges, sound):
    assert is_sound(np.diag([*edges, 1.0])) is sound


@pytest.mark.parametrize(
    ("place", "value", "sound"),
    [((0, 3), 1e4, True), ((1, 3), -1.0001e4, False), ((0, 1), 4.8, True), ((0, 1), 5.0, False)],
)
def test_shear_and_distance_have_ends(place, value, sound):
    """A shear of 4.9 leaves a fifth of a box."""
    affine = np.eye(4)
    affine[place] = value
    assert is_sound(affine) is sound


def test_how_far_two_affines_put_a_corner_apart():
    other = AFFINE.copy()
    other[0, 3] += 3
    assert apart_mm(AFFINE, other, (4, 5, 6)) == 3
    turned = AFFINE @ np.diag([1, 1, -1, 1])
    assert apart_mm(AFFINE, turned, (4, 5, 6)) == 2 * 2 * 5
    assert apart_mm(AFFINE, turned, (4, 5, 6, 99)) == 20 == apart_mm(turned, AFFINE, (4, 5, 6))


def test_an_orientation_that_cannot_be_is_refused_and_one_that_may_be_is_silent(caplog):
    sound = image()
    sound.set_sform(AFFINE, 1)
    sound.set_qform(AFFINE, 1)
    with caplog.at_level(logging.DEBUG):
        check_orientation(sound, "a.nii")
    assert not caplog.records
    wrong = image(affine=np.diag([300.0, 2, 2, 1]))
    with pytest.raises(ImageError, match=r"orientation cannot be right \[a\.nii\]") as caught:
        check_orientation(wrong, "a.nii", quiet=True)
    assert "voxels of 0.05 to 25.0 mm" in str(caught.value) and "300." in str(caught.value)
    assert "\n" not in str(caught.value)


def told(scan, caplog, **given):
    with caplog.at_level(logging.WARNING):
        check_orientation(scan, "a.nii", **given)
    return caplog.messages


@pytest.mark.parametrize(("shift", "heard"), [(0.09, False), (0.11, True)])
def test_two_orientations_that_differ_are_told(shift, heard, caplog):
    scan, other = image(), AFFINE.copy()
    other[1, 3] += shift
    scan.set_sform(AFFINE, 1)
    scan.set_qform(other, 1)
    words = "a.nii: sform (RAS) and qform (RAS) disagree by up to 0.1 mm; the sform is used"
    assert told(scan, caplog) == ([words] if heard else [])
    caplog.clear()
    assert told(scan, caplog, quiet=True) == []


def test_an_image_without_orientation_is_a_guess(caplog):
    scan = image()
    scan.header["sform_code"] = scan.header["qform_code"] = 0
    scan = nib.Nifti1Image.from_bytes(nib.Nifti1Image(scan.dataobj, None, scan.header).to_bytes())
    words = "a.nii: neither sform nor qform is set; left and right are a guess (nibabel's: LAS)"
    assert told(scan, caplog) == [words]
    note = orientation_note(scan)
    assert note.startswith(
        "Coordinates of the scan are those of its header as nibabel guesses them, for neither "
        "sform nor qform is set. ITK (ANTs, SimpleITK) reads this header otherwise, up to "
    )
    assert re.search(
        r" mm away: before it applies this transform to the scan, give sform and qform of a copy "
        r"the affine that nibabel reads, with code 1\.$",
        note,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_values_that_are_not_finite_are_counted(dtype):
    data = np.ones((4, 5, 6), dtype)
    check_finite(data, "a.nii")
    data[0, 0, :3] = np.nan, np.inf, -np.inf
    with pytest.raises(ImageError, match=r"not finite \[a\.nii\].*3 of 120 voxels NaN") as caught:
        check_finite(data, "a.nii")
    assert caught.value.where == "a.nii"
    check_finite(np.ones(3, np.int16), "a.nii")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([5, 5, 5], r"no contrast \[a\.nii\].*Got: 5 in every voxel"),
        ([-3, -1, -2], r"no positive intensity \[a\.nii\].*Got: at most -1\."),
        ([-3, 0, -2], r"no positive intensity.*Got: at most 0\."),
        ([1, np.inf, 2], r"not finite \[a\.nii\]"),
    ],
)
def test_images_that_show_nothing(data, words):
    with pytest.raises(ImageError, match=words):
        check_values(np.array(data, np.float32), "a.nii")
    check_values(np.array([-5, 0, 1], np.float32), "a.nii")


def test_a_header_check_leaves_remarks_to_who_reads_the_voxels(tmp_path, caplog):
    scan, other = image(), AFFINE.copy()
    other[1, 3] += 7
    scan.set_sform(AFFINE, 1)
    scan.set_qform(other, 1)
    nib.save(scan, tmp_path / "a.nii")
    with caplog.at_level(logging.DEBUG):
        assert check_header(tmp_path / "a.nii") == (4, 5, 6)
    assert not caplog.records


def test_without_any_orientation_itk_takes_the_patients_axes():
    header = nib.Nifti1Header()
    header.set_data_shape((4, 5, 6))
    header["pixdim"][1:4] = 1, 2, 3
    np.testing.assert_array_equal(itk_affine(header), np.diag([-1.0, -2, 3, 1]))
