"""Which voxels and signals a model is fitted to, and masks on the grid of a series."""

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import Series
from bids_harmony.diffusion.voxels import (
    fittable_voxels,
    measured_signals,
    read_labels,
    read_mask,
)
from bids_harmony.exceptions import DataError, ImageError, MissingInput

#: Two volumes without weighting, the second and the last.
GRADIENTS = Gradients(np.array([1000, 0, 1000, 1000, 0.0]), np.eye(5, 3))
SHAPE = (3, 4, 2)
AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


@pytest.fixture
def series():
    raw = np.ones((*SHAPE, 5), np.int16)
    return Series(raw, 1.0, 0.0, nib.Nifti1Image(raw, AFFINE), "dwi.nii")


def written(path, data, affine=AFFINE):
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def test_a_mask_is_what_is_above_one_half(series, tmp_path):
    data = np.zeros(SHAPE, np.float32)
    data[0, 0], data[1, 1], data[2, 3] = 0.5, 0.51, 3
    for stored in (data, data[..., None]):
        mask = read_mask(written(tmp_path / "mask.nii.gz", stored), series)
        np.testing.assert_array_equal(mask, data > 0.5)
        assert mask.dtype == bool


def test_labels_are_whole_numbers(series, tmp_path):
    data = np.zeros(SHAPE, np.float32)
    data[0, 0], data[1, 1], data[2, 3] = 0.9, 2.1, 3
    labels = read_labels(written(tmp_path / "dseg.nii", data), series)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, np.rint(data))


def test_rounding_of_an_affine_is_no_other_grid(series, tmp_path):
    near, far = AFFINE.copy(), AFFINE.copy()
    near[0, 3], far[0, 3] = 0.005, 0.05
    data = np.ones(SHAPE, np.uint8)
    assert read_mask(written(tmp_path / "a.nii", data, near), series).all()
    with pytest.raises(DataError, match="not on the grid"):
        read_mask(written(tmp_path / "a.nii", data, far), series)


@pytest.mark.parametrize("read", [read_mask, read_labels])
def test_what_lies_elsewhere_is_refused_with_both_grids(read, series, tmp_path):
    path = written(tmp_path / "a.nii", np.ones((4, 3, 2), np.uint8))
    with pytest.raises(DataError) as caught:
        read(path, series)
    said = str(caught.value)
    assert caught.value.where == str(path)
    assert "Expected: 3x4x2 voxels from (0.00, 0.00, 0.00) mm" in said
    assert "Got: 4x3x2 voxels from (0.00, 0.00, 0.00) mm" in said
    with pytest.raises(ImageError, match=r"three-dimensional volume.*a\.nii"):
        read(written(path, np.ones((*SHAPE, 2), np.uint8)), series)
    with pytest.raises(MissingInput):
        read(tmp_path / "none.nii", series)


def test_a_voxel_can_be_fitted_where_its_b0_is_bright_on_average():
    data = np.ones((*SHAPE, 5), np.float32)
    mask = np.ones(SHAPE, bool)
    mask[2] = False
    data[0, 0, 0, [1, 4]] = 0
    data[0, 1, 0, [1, 4]] = 5, -6
    data[0, 2, 0, [1, 4]] = 6, -5
    data[0, 3, 0, [1, 4]] = np.nan, 1
    data[1, 0, 0, [1, 4]] = np.nan
    data[1, 1, 0, 0] = np.nan
    usable = fittable_voxels(data, mask, GRADIENTS)
    expected = mask.copy()
    expected[0, 0, 0] = expected[0, 1, 0] = expected[1, 0, 0] = False
    np.testing.assert_array_equal(usable, expected)
    np.testing.assert_array_equal(fittable_voxels(data, mask.astype(np.uint8), GRADIENTS), usable)


@pytest.mark.parametrize(
    ("data", "mask", "told"),
    [
        ((3, 4, 2, 4), SHAPE, r"one volume for each gradient.*X x Y x Z x 5.*Got: 3x4x2x4"),
        ((3, 4, 2), SHAPE, r"one volume for each gradient.*Got: 3x4x2\."),
        ((3, 4, 2, 5), (3, 4, 1), r"not on the grid.*Expected: 3x4x2\. Got: 3x4x1\."),
    ],
)
def test_what_does_not_go_together_is_refused(data, mask, told):
    with pytest.raises(DataError, match=told):
        fittable_voxels(np.ones(data, np.float32), np.ones(mask, bool), GRADIENTS)


def test_no_voxel_to_fit_says_why():
    dark, mask = np.zeros((*SHAPE, 5), np.float32), np.ones(SHAPE, bool)
    with pytest.raises(ImageError, match="24 voxels inside the mask, none with signal"):
        fittable_voxels(dark, mask, GRADIENTS)
    with pytest.raises(ImageError, match="an empty mask"):
        fittable_voxels(dark, ~mask, GRADIENTS)


def test_signals_were_measured_where_they_are_more_than_nothing_beside_b0():
    signals = np.array(
        [
            [1, 1, 1, 1, 1],
            [0, 1e4, -1, np.nan, 1e4],
            # A hundred-thousandth of the mean b=0, 5000: less is nothing.
            [0.06, 5000, 0.04, np.inf, 5000],
            # The mean is of those b=0 that were measured.
            [0.06, 0, 0.04, 1, 5000],
            [0.04, -5000, 0.06, 1, 5000],
            [1, 0, 1, 0, np.nan],
        ],
        np.float64,
    )
    expected = [
        [1, 1, 1, 1, 1],
        [0, 1, 0, 0, 1],
        [1, 1, 0, 0, 1],
        [1, 0, 0, 1, 1],
        [0, 0, 1, 1, 1],
        [1, 0, 1, 0, 0],
    ]
    np.testing.assert_array_equal(measured_signals(signals, GRADIENTS), np.array(expected, bool))
