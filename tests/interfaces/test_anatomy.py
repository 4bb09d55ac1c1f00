"""Masks and registrations as files: form of the output, and reuse of masks on other grids."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.interfaces.anatomy import BrainFromImage, ReuseBrain

OBLIQUE = np.array([[0, -3.0, 0.3, 40], [3.0, 0, 0, -50], [0, 0.3, 4.0, -30], [0, 0, 0, 1]])


@pytest.fixture
def stripped(tmp_path):
    """An ellipsoid "brain" of 65 mm x 50 mm x 45 mm half axes on an oblique int16 grid."""
    i, j, k = np.indices((50, 40, 30))
    inside = ((i - 25) * 3 / 65) ** 2 + ((j - 20) * 3 / 50) ** 2 + ((k - 15) * 4 / 45) ** 2 < 1
    image = nib.Nifti1Image((inside * (300 + i)).astype(np.int16), OBLIQUE)
    image.header.set_slope_inter(1, 0)
    nib.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz", inside


def test_mask_has_the_form_of_the_scan(stripped, tmp_path):
    path, inside = stripped
    found = BrainFromImage(in_file=str(path)).run(cwd=str(tmp_path)).outputs
    mask = nib.load(found.mask_file)
    assert found.kind == "skull-stripped"
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_allclose(mask.affine, OBLIQUE, atol=1e-5)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), inside)


@pytest.mark.parametrize("flip", [(0,), (1, 2)])
def test_a_mask_in_another_voxel_order_is_the_same_mask(stripped, tmp_path, flip):
    path, inside = stripped
    lopsided = inside & (np.indices(inside.shape)[0] < 30)
    orientation = np.array([[axis, -1 if axis in flip else 1] for axis in range(3)])
    given = nib.Nifti1Image(lopsided.astype(np.uint8), OBLIQUE).as_reoriented(orientation)
    nib.save(given, tmp_path / "given.nii.gz")
    reuse = ReuseBrain(in_file=str(path), given_mask=str(tmp_path / "given.nii.gz"))
    found = reuse.run(cwd=str(tmp_path)).outputs
    np.testing.assert_array_equal(np.asanyarray(nib.load(found.mask_file).dataobj), lopsided)


def test_a_mask_on_another_grid_is_put_on_the_scans(stripped, tmp_path):
    path, inside = stripped
    fine = np.repeat(np.repeat(np.repeat(inside, 2, 0), 2, 1), 2, 2)
    half = OBLIQUE @ np.diag([0.5, 0.5, 0.5, 1])
    half[:3, 3] = (OBLIQUE @ [-0.25, -0.25, -0.25, 1])[:3]
    nib.save(nib.Nifti1Image(fine.astype(np.uint8), half), tmp_path / "fine.nii.gz")
    reuse = ReuseBrain(in_file=str(path), given_mask=str(tmp_path / "fine.nii.gz"))
    mask = np.asanyarray(nib.load(reuse.run(cwd=str(tmp_path)).outputs.mask_file).dataobj) > 0
    assert np.mean(mask != inside) < 0.02
