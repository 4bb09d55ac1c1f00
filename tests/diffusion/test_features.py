"""A series on the reference grid: which images, in which unit, and where nothing was measured."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.calibration import measure_series
from bids_harmony.diffusion.features import (
    B0_KEY,
    PreparedSeries,
    b0_volume,
    prepare_series,
    shell_key,
)
from bids_harmony.diffusion.series import Series, mean_b0
from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.prepared import prepare
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.resampling import resample_to_grid
from bids_harmony.imaging.volume import from_image
from tests.diffusion.simple_series import make_gradients, make_series

GRADIENTS = make_gradients(12, b0=3)
GRID = reference_grid(6.0)


@pytest.fixture(scope="module")
def scan():
    """The block of water and tissue stored as LPS, in the middle of the template."""
    series, mask = make_series(GRADIENTS, seed=3, noise=0.02)
    affine = np.diag([5.0, 5.0, 7.0, 1.0])
    affine[:3, 3] = [-50, -65, -30]
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt("LPS")
    )
    image = nib.Nifti1Image(series.raw, affine).as_reoriented(turn)
    return Series(np.asarray(image.dataobj), 1.0, 0.0, image, "dwi.nii"), BrainMask(mask, "given")


def on_disk(mask):
    """The mask in the voxel order of the file."""
    return mask.data[::-1, ::-1]


def test_images_are_the_mean_b0_and_the_first_volume_of_each_shell(scan):
    series, mask = scan
    made = prepare_series(series, GRADIENTS, mask, np.eye(4), GRID, "volume")
    assert list(made.features) == [B0_KEY, "dwi-b1000", "dwi-b2000"]
    alone = prepare(from_image(mean_b0(series, GRADIENTS)), mask, np.eye(4), GRID)
    assert made.scale == alone.scale
    np.testing.assert_array_equal(made.mask, alone.mask)
    np.testing.assert_array_equal(made.features[B0_KEY], alone.data)
    for shell in GRADIENTS.shells:
        image = made.features[shell_key(shell.nominal)]
        assert image.dtype == np.float32 and not image[~made.mask].any()
        first = series.raw[..., shell.volumes[0]][::-1, ::-1].astype(np.float32)
        expected = resample_to_grid(
            first, from_image(mean_b0(series, GRADIENTS)).affine, np.eye(4), GRID
        )
        expected = np.maximum(expected, 0)[made.mask] / made.scale
        np.testing.assert_allclose(image[made.mask], expected, atol=1e-6)
        assert expected.mean() > 0.05


def test_measures_are_those_of_the_voxels_of_the_file(scan):
    series, mask = scan
    made = prepare_series(series, GRADIENTS, mask, np.eye(4), GRID)
    assert list(made.features) == [B0_KEY]
    own = measure_series(series, GRADIENTS, on_disk(mask), made.scale)
    assert made.measures.to_json() == own.to_json()


@pytest.mark.parametrize("mode", ["rish", "volume"])
def test_what_is_prepared_survives_its_file(mode, scan, tmp_path):
    made = prepare_series(*scan[:1], GRADIENTS, scan[1], np.eye(4), GRID, mode)
    made.save(tmp_path / "a.npz")
    again = PreparedSeries.load(tmp_path / "a.npz")
    assert again.scale == made.scale and again.mask.dtype == bool
    np.testing.assert_array_equal(again.mask, made.mask)
    assert again.features.keys() == made.features.keys()
    for key, image in made.features.items():
        assert again.features[key].dtype == np.float32
        np.testing.assert_allclose(again.features[key], image, rtol=1e-3, atol=1e-6)
    assert again.measures.to_json() == made.measures.to_json()


def test_keys_name_whole_numbers():
    assert (shell_key(1000.0), shell_key(2499.6), B0_KEY) == ("dwi-b1000", "dwi-b2500", "dwi-b0")


def test_nothing_is_where_no_b0_volume_was_measured(scan):
    series, _ = scan
    raw = series.raw.astype(np.float32)
    b0 = np.flatnonzero(GRADIENTS.b0)
    raw[4, 5, 6, b0] = np.nan
    raw[7, 8, 9, b0[:2]] = np.nan
    raw[1, 2, 3, ~GRADIENTS.b0] = np.nan
    volume = b0_volume(replace(series, raw=raw), GRADIENTS)
    assert np.argwhere(volume.nothing.where).tolist() == [[20 - 1 - 4, 20 - 1 - 5, 6]]
    assert volume.nothing.value is None and volume.data[15, 14, 6] == 0
    whole = b0_volume(series, GRADIENTS)
    assert whole.nothing is None and str(whole.path) == "dwi.nii"
    padded = series.raw.copy()
    padded[4, 5, 6, b0] = -1024
    filled = b0_volume(replace(series, raw=padded, padding=-1024.0), GRADIENTS)
    assert filled.nothing.where.sum() == 1 and filled.nothing.value == -1024


def test_a_brain_below_zero_is_refused_by_its_file(scan):
    series, mask = scan
    some = series.raw.copy()
    some[on_disk(mask) & (np.arange(20) < 8)[:, None, None]] *= -1
    with pytest.raises(ImageError, match=r"negative intensities in the brain \[dwi\.nii\]"):
        prepare_series(replace(series, raw=some), GRADIENTS, mask, np.eye(4), GRID)
