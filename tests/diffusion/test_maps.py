"""Maps as images, and directions in the scanner's frame."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.maps import MAPS, SHOWN, map_image, maps_of, world_directions
from bids_harmony.diffusion.series import open_series
from lab.diffusion_cohort import fsl_directions


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR", "LPI"])
def test_directions_come_back_from_the_frame_of_bvec_files(codes, rng):
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * np.sign(np.linalg.det(turn)) * [2, 2, 3]  # oblique
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine)
    stored = image.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
        )
    ).affine
    world = rng.normal(size=(7, 3))
    world /= np.linalg.norm(world, axis=1, keepdims=True)
    np.testing.assert_allclose(world_directions(fsl_directions(world, stored), stored), world)


def test_a_map_keeps_the_grid_and_drops_what_was_about_the_signal(tmp_path):
    image = nib.Nifti1Image(np.arange(240, dtype=np.int16).reshape(4, 5, 3, 4), np.eye(4) * 2)
    image.affine[3, 3] = 1
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((2, 2, 2, 8.5))
    image.header["cal_max"], image.header["descrip"] = 900, b"TE=80"
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "dwi.nii")
    series = open_series(tmp_path / "dwi.nii")
    v1 = np.full((4, 5, 3, 3), 0.25, np.float64)
    made = map_image(series, v1)
    made = type(made).from_bytes(made.to_bytes())
    assert made.get_data_dtype() == np.float32 and made.header.get_zooms() == (2, 2, 2, 1)
    assert made.header["cal_max"] == 0 and not made.header["descrip"].tobytes().strip(b"\0")
    np.testing.assert_array_equal(made.get_fdata(), v1)
    np.testing.assert_array_equal(made.affine, series.affine)
    with pytest.raises(ValueError, match="shape"):
        map_image(series, v1[:3])


def test_every_map_belongs_to_a_model():
    assert maps_of("tensor") == ("fa", "md", "ad", "rd", "v1")
    assert maps_of("noddi") == ("ndi", "odi", "fwf")
    assert maps_of("force")[:3] == ("nd", "dispersion", "csffraction")
    assert maps_of("force")[3:] == ("ndiqr", "dispersioniqr", "csffractioniqr")
    assert set(MAPS) == {name for m in ("tensor", "noddi", "force") for name in maps_of(m)}
    assert set(SHOWN) <= set(MAPS)
