"""Series come back as they were written, and what cannot be a series is refused."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import mean_b0, open_series, write_series
from bids_harmony.exceptions import BidsHarmonyError, ImageError, InputOutputError, MissingInput

AFFINE = np.diag([-2.0, 2.0, 2.5, 1.0])


def written(path, data, *, slope=None, kind=nib.Nifti1Image):
    image = kind(data, AFFINE)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    nib.save(image, path)
    return path


@pytest.fixture
def data():
    return np.random.default_rng(1).integers(0, 900, (5, 6, 4, 7)).astype(np.int16)


@pytest.mark.parametrize("name", ["dwi.nii", "dwi.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_untouched_voxels_are_written_as_the_same_bytes(tmp_path, data, name, kind):
    series = open_series(written(tmp_path / name, data, slope=(0.5, 3), kind=kind))
    write_series(series, series.raw, tmp_path / f"again_{name}")

    def unpacked(path):
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content

    assert unpacked(tmp_path / f"again_{name}") == unpacked(tmp_path / name)


def test_a_big_endian_series_keeps_its_byte_order(tmp_path, data):
    image = nib.Nifti1Image(data.astype(">i2"), AFFINE, nib.Nifti1Header(endianness=">"))
    nib.save(image, tmp_path / "dwi.nii")
    series = open_series(tmp_path / "dwi.nii")
    write_series(series, series.raw, tmp_path / "again.nii")
    assert (tmp_path / "again.nii").read_bytes() == (tmp_path / "dwi.nii").read_bytes()


def test_signals_are_scaled_as_the_header_says(tmp_path, data):
    series = open_series(written(tmp_path / "dwi.nii.gz", data, slope=(0.5, 3)))
    expected = nib.load(tmp_path / "dwi.nii.gz").get_fdata(dtype=np.float32)
    assert np.array_equal(series.signal(np.s_[..., 2]), expected[..., 2])
    assert np.array_equal(np.stack(list(series.volumes()), axis=3), expected)
    assert series.shape == data.shape


def test_a_fifth_dimension_of_length_one_is_passed_over(tmp_path, data):
    series = open_series(written(tmp_path / "dwi.nii", data[..., None]))
    assert series.shape == data.shape
    write_series(series, series.raw, tmp_path / "again.nii")
    assert (tmp_path / "again.nii").read_bytes() == (tmp_path / "dwi.nii").read_bytes()


def test_the_mean_is_over_volumes_without_weighting(tmp_path, data):
    series = open_series(written(tmp_path / "dwi.nii.gz", data))
    bvals = np.array([0, 1000, 5, 1000, 1000, 1000, 0.0])
    mean = mean_b0(series, Gradients(bvals, np.zeros((7, 3))))
    assert np.allclose(mean.get_fdata(), data[..., [0, 2, 6]].mean(axis=3), rtol=1e-6)
    assert np.array_equal(mean.affine, AFFINE)
    assert mean.get_data_dtype() == np.float32


def test_new_voxels_of_another_kind_are_refused(tmp_path, data):
    series = open_series(written(tmp_path / "dwi.nii.gz", data))
    with pytest.raises(ValueError, match="float32"):
        write_series(series, series.raw.astype(np.float32), tmp_path / "new.nii.gz")
    with pytest.raises(ValueError, match="voxels must be"):
        write_series(series, series.raw[..., 1:], tmp_path / "new.nii.gz")
    assert not (tmp_path / "new.nii.gz").exists()


def test_what_is_no_series_is_refused(tmp_path, data):
    holes = data.astype(np.float32)
    holes[1, 1, 1, 3] = np.inf
    cases = {
        "three.nii": (data[..., 0], "not a series", ImageError),
        "one.nii": (data[..., :1], "not a series", ImageError),
        "inf.nii": (holes, "infinite", ImageError),
        "flat.nii": (np.full_like(data, 7), "no contrast", ImageError),
    }
    for name, (content, message, kind) in cases.items():
        with pytest.raises(kind, match=message) as caught:
            open_series(written(tmp_path / name, content))
        assert name in str(caught.value)
    whole = written(tmp_path / "cut.nii.gz", data).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[:-40])
    with pytest.raises(InputOutputError, match="truncated"):
        open_series(tmp_path / "cut.nii.gz")
    with pytest.raises(MissingInput):
        open_series(tmp_path / "none.nii.gz")
    assert issubclass(MissingInput, BidsHarmonyError)


@pytest.mark.parametrize("nothing", [np.nan, -1024, -32768])
def test_nothing_is_no_signal_and_comes_back_as_it_was(tmp_path, data, nothing):
    holes = data.astype(np.float32) + 1
    holes[1, :, 1, 2:5] = nothing
    series = open_series(written(tmp_path / "dwi.nii", holes))
    expected = np.where(holes == nothing if nothing == nothing else np.isnan(holes), 0, holes)
    assert np.array_equal(series.signal(...), expected)
    assert np.array_equal(np.stack(list(series.volumes()), axis=3), expected)
    # The mean is over the volumes in which something was measured.
    gradients = Gradients(np.array([0, 1000, 0, 1000, 1000, 1000, 0.0]), np.zeros((7, 3)))
    mean = mean_b0(series, gradients).get_fdata()
    assert np.allclose(mean[1, :, 1], holes[1, :, 1][:, [0, 6]].mean(axis=-1), rtol=1e-5)
    write_series(series, series.raw, tmp_path / "again.nii")
    assert (tmp_path / "again.nii").read_bytes() == (tmp_path / "dwi.nii").read_bytes()


@pytest.mark.parametrize("slope", [(2.0, -5.0), (-2.0, -5.0)])
def test_padding_is_found_behind_any_slope(tmp_path, data, slope):
    stored = np.where(data > 0, data, 1) * np.sign(slope[0]).astype(np.int16) * np.int16(10)
    stored[0] = -32768 if slope[0] > 0 else 32767
    series = open_series(written(tmp_path / "dwi.nii", stored.astype(np.int16), slope=slope))
    assert series.padding == stored[0, 0, 0, 0]
    assert not series.signal(np.s_[0]).any() and series.signal(np.s_[1:]).min() > 0


def test_a_zero_in_one_b0_volume_of_a_bright_voxel_does_not_count(tmp_path, data):
    lost = data + np.int16(100)
    lost[2, 2, 2, 0] = lost[3, 3, 3] = 0
    lost[4, 4, 3, [0, 2]] = [0, 3]  # dark: a zero as good as any
    series = open_series(written(tmp_path / "dwi.nii", lost))
    gradients = Gradients(np.array([0, 1000, 0, 1000, 1000, 1000, 1000.0]), np.zeros((7, 3)))
    mean = mean_b0(series, gradients).get_fdata()
    assert mean[2, 2, 2] == lost[2, 2, 2, 2] and mean[3, 3, 3] == 0 and mean[4, 4, 3] == 1.5
