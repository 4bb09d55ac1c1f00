from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.imaging.linear import deterministic_ants
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import read_transform, write_transform
from bids_harmony.imaging.resampling import resample_to_grid
from bids_harmony.imaging.volume import write_array
from tests.small_volumes import rigid

WORLD = rigid((5, -8, 12), (6, -4, 9)) @ np.diag([1.1, 0.9, 1.05, 1.0])


def test_round_trip_is_exact_to_rounding(tmp_path):
    write_transform(WORLD, tmp_path / "xfm.txt")
    np.testing.assert_allclose(read_transform(tmp_path / "xfm.txt"), WORLD, atol=1e-12)
    text = (tmp_path / "xfm.txt").read_bytes()
    write_transform(WORLD, tmp_path / "xfm.txt")
    assert (tmp_path / "xfm.txt").read_bytes() == text


def test_ants_resamples_with_the_file_as_we_do_with_the_matrix(brain_at_2mm, tmp_path):
    volume, _ = brain_at_2mm
    grid = reference_grid(3.0)
    write_transform(WORLD, tmp_path / "xfm.txt")
    write_array(volume.data, volume.affine, tmp_path / "moving.nii")
    write_array(np.zeros(grid.shape), grid.affine, tmp_path / "fixed.nii")
    ants = deterministic_ants()
    theirs = ants.apply_transforms(
        fixed=ants.image_read(str(tmp_path / "fixed.nii")),
        moving=ants.image_read(str(tmp_path / "moving.nii")),
        transformlist=[str(tmp_path / "xfm.txt")],
        interpolator="linear",
    ).numpy()
    ours = resample_to_grid(volume.data, volume.affine, WORLD, grid, order=1)
    # Ours smooths the 2 mm voxels a little for the 3 mm grid; a flip would be far apart.
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
    assert np.corrcoef(ours.ravel(), theirs[::-1].ravel())[0, 1] < 0.97


def test_a_centre_of_rotation_is_taken_into_account(tmp_path):
    (tmp_path / "xfm.txt").write_text(
        "#Insight Transform File V1.0\n#Transform 0\n"
        "Transform: MatrixOffsetTransformBase_double_3_3\n"
        "Parameters: 0 -1 0 1 0 0 0 0 1 0 0 0\nFixedParameters: 10 20 0\n"
    )
    world = read_transform(tmp_path / "xfm.txt")
    np.testing.assert_allclose(world @ [-10, -20, 0, 1], [-10, -20, 0, 1], atol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "#Insight Transform File V1.0\nTransform: BSplineTransform_double_3_3\nParameters: 1 2\n",
        "Transform: AffineTransform_double_3_3\nParameters: 1 0 0 0 1 0\nFixedParameters: 0 0 0\n",
        "Transform: AffineTransform_double_3_3\nTransform: AffineTransform_double_3_3\n",
    ],
)
def test_other_transforms_are_refused(text, tmp_path):
    (tmp_path / "xfm.txt").write_text(text)
    with pytest.raises(DataError, match="linear transform"):
        read_transform(tmp_path / "xfm.txt")


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(MissingInput):
        read_transform(tmp_path / "xfm.txt")
    (tmp_path / "xfm.mat").write_bytes(b"\xff\xfe\x00AffineTransform")
    with pytest.raises(DataError, match="text"):
        read_transform(tmp_path / "xfm.mat")
