"""What is refused, and in which words."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony import SiteProfile, harmonize
from bids_harmony.api.inputs import given_image, given_mask
from bids_harmony.exceptions import ImageError, MissingInput, UsageError
from bids_harmony.imaging.mask import brain_mask
from tests.api.conftest import GRID, MM

SHAPE = "x".join(map(str, GRID.shape))


@pytest.fixture
def scan(on_grid):
    return on_grid.scan(5, "GE")


def test_masks_that_cannot_be_used(scan, coi, ge):
    for mask, told in (
        (np.zeros(GRID.shape), r"the brain mask is empty \[mask of image\]"),
        (np.full(GRID.shape, np.nan), "the brain mask is empty"),
        (np.ones((5, 6, 7)), rf"another grid than the scan.*{SHAPE}.*5x6x7.*resample_from_to"),
        (np.ones(GRID.shape), r"not where the reference's is.*Got: 0\.\d\d"),
    ):
        with pytest.raises(ImageError, match=told):
            harmonize(scan, coi, mask, source=ge)
    for values in ("brain", 1j):
        with pytest.raises(ImageError, match=r"no plain numbers \[mask of image\]"):
            harmonize(scan, coi, np.full(GRID.shape, values), source=ge)
    with pytest.raises(UsageError, match=r"not a brain mask.*int"):
        harmonize(scan, coi, 3, source=ge)


def test_a_mask_of_another_affine_or_shape_is_refused_as_image_and_as_file(native, tmp_path):
    image = native.image(2)
    given = given_image(image, "T1w", MM, label="image")
    inside = (np.asarray(image.dataobj) > 0).astype(np.uint8)
    moved = np.array(image.affine)
    moved[0, 3] += 1
    with pytest.raises(ImageError, match="and another affine"):
        given_mask(nib.Nifti1Image(inside, moved), given)
    small = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(inside[1:], image.affine), small)
    with pytest.raises(ImageError, match=r"another grid.*mask\.nii\.gz"):
        given_mask(small, given)
    nib.save(nib.Nifti1Image(0 * inside, image.affine), small)
    with pytest.raises(ImageError, match=r"the brain mask is empty \[.*mask\.nii\.gz\]"):
        given_mask(str(small), given)


def test_a_mask_lies_on_the_scan_whatever_their_orientation(native):
    """COI stores LAS, GE RAS: the brain of the file is that of the volume in RAS."""
    for number in (0, 2):
        image = native.image(number)
        given = given_image(image, "T1w", MM, label="image")
        inside = np.asarray(image.dataobj) > 0
        found = brain_mask(given.volume).data
        for mask in (inside, nib.Nifti1Image(inside[..., None].astype(np.uint8), image.affine)):
            taken = given_mask(mask, given)
            assert taken.kind == "given" and not (taken.data & ~found).any()
            assert taken.data.sum() > 0.9 * found.sum()


def test_images_that_cannot_be_used(scan, coi, ge):
    nan, inf = (np.where(scan > 0, value, scan).astype(np.float32) for value in (np.nan, np.inf))
    for image, told in (
        (nan, r"values that are not finite \[image\]"),
        (inf, "values that are not finite"),
        (np.zeros(GRID.shape), r"no contrast.*0 in every voxel"),
        (-scan, r"no positive intensity"),
        (scan[0], r"three-dimensional array.*34x30 of float32"),
        (scan[..., None], "three-dimensional array"),
        (scan.astype(complex), "three-dimensional array.*complex"),
    ):
        with pytest.raises(ImageError, match=told):
            harmonize(image, coi, source=ge)
    for image in (3, None, [scan, scan]):
        with pytest.raises(UsageError, match="This is not an image"):
            harmonize(image, coi, source=ge)


def test_an_image_of_nothing_but_nan(scan, coi, ge):
    image = nib.Nifti1Image(np.full_like(scan, np.nan), GRID.affine)
    with pytest.raises(ImageError, match="no contrast"):
        harmonize(image, coi, source=ge)


def test_files_that_cannot_be_used(coi, ge, tmp_path, scan):
    missing = tmp_path / "sub-01_T1w.nii.gz"
    with pytest.raises(MissingInput, match=r"no such file \[.*sub-01_T1w\.nii\.gz\]"):
        harmonize(missing, coi, source=ge)
    named = tmp_path / "sub-01_T2w.nii.gz"
    nib.save(nib.Nifti1Image(scan, GRID.affine), named)
    for image in (named, nib.load(named)):
        with pytest.raises(UsageError, match=r'taken for T1w.*says T2w.*modality="T2w"'):
            harmonize(image, coi, source=ge)
    text = tmp_path / "scan.nii"
    text.write_text("no image")
    with pytest.raises(ImageError, match="not a NIfTI image"):
        harmonize(text, coi, source=ge)


def test_arrays_and_affines(scan, coi, ge):
    x, y, depth = GRID.shape
    for image, options, told in (
        (scan[1:], {}, rf"slices on the reference grid.*\({x}, {y}, n\) with n up to {depth}"),
        (scan[..., :4], {}, rf"at which heights.*4 indices from 0 to {depth - 1}"),
        (scan[..., :4], {"heights": [1, 2, 3]}, "do not fit the slices"),
        (scan[..., :4], {"heights": [1, 2, 3, 3]}, "4 different indices"),
        (scan[..., :4], {"heights": [1, 2, 3, depth]}, "do not fit"),
        (scan, {"affine": np.eye(3)}, r"not an affine.*\(4, 4\).*\(3, 3\)"),
        (scan, {"affine": "LPS"}, "not an affine"),
        (nib.Nifti1Image(scan, GRID.affine), {"affine": np.eye(4)}, "are for arrays"),
        (scan, {"affine": GRID.affine, "heights": [1]}, "heights are for slices"),
    ):
        with pytest.raises(UsageError, match=told):
            harmonize(image, coi, source=ge, **options)


def test_slices_elsewhere_are_refused(scan, coi, ge):
    with pytest.raises(ImageError, match=r"not where the reference's is.*registered"):
        harmonize(np.roll(scan, 12, axis=0), coi, source=ge)


def test_affines_that_are_none(scan, coi, ge):
    for affine, told in (
        (np.eye(3), r"Got: ndarray of shape \(3, 3\)"),
        (np.zeros((4, 4)), "axes that coincide"),
        (np.full((4, 4), np.nan), "not finite"),
    ):
        with pytest.raises(UsageError, match=rf"not an affine \[image\].*{told}"):
            harmonize(scan, coi, source=ge, affine=affine)


def test_slices_need_to_know_their_site(scan, coi):
    with pytest.raises(
        ImageError, match=rf"whole scans.*{GRID.shape[2]} slices.*Got: 4.*as `source`"
    ):
        harmonize(scan[..., 10:14], coi, heights=range(10, 14))


def test_other_kinds_of_nibabel_images(scan):
    from bids_harmony.api.inputs import given_image

    whole = np.rint(scan).astype(np.int16)
    as_nifti = given_image(nib.Nifti1Image(whole, GRID.affine), "T1w", MM, label="a")
    for kind in (nib.Nifti2Image, nib.Nifti1Pair, nib.MGHImage):
        given = given_image(kind(whole, GRID.affine), "T1w", MM, label="a")
        assert np.array_equal(given.volume.data, as_nifti.volume.data)
        assert np.allclose(given.volume.affine, as_nifti.volume.affine)
        assert isinstance(given.volume.source, nib.Nifti1Image)


def test_profiles_of_files_have_their_names(native):
    given = [given_image(path, "T1w", MM, label="x").label for path in native.paths]
    assert given == ["sub-0_T1w", "sub-1_T1w", "sub-2_T1w"]
    assert native.harmonizer.profiles_["COI"].images == ("sub-0_T1w", "sub-1_T1w")


def test_a_count_that_does_not_fit(scan):
    for options, told in (
        ({"masks": [None, None]}, "masks"),
        ({"affines": [None] * 3}, "affines"),
        ({"people": ["a", "b"]}, "people"),
        ({"covariates": {"age": [1, 2]}}, "age"),
    ):
        with pytest.raises(UsageError, match=told):
            SiteProfile.from_images([scan], voxel_mm=MM, **options)
