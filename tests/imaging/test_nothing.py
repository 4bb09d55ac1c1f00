"""NaN and padding are nothing: no part of what is computed, as they were in what is written."""

from __future__ import annotations

import gzip
import logging

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.mask import brain_mask, is_skull_stripped
from bids_harmony.imaging.native import return_to_native
from bids_harmony.imaging.nothing import Nothing, find_nothing
from bids_harmony.imaging.prepared import prepare
from bids_harmony.imaging.volume import from_image, read_volume, to_native, write_image

AFFINE = np.diag([-3.0, 3.0, 3.0, 1.0])
AFFINE[:3, 3] = [88, -88, -88]
GRID = ReferenceGrid("test", (40, 40, 40), np.diag([4.5, 4.5, 4.5, 1.0]), 4.5)
GRID.affine[:3, 3] = -88
PADDINGS = [np.nan, -1024, -32768, -1e10]


def ball() -> np.ndarray:
    """A brain of 0.9 litres and nothing round it."""
    x = np.indices((60, 60, 60)) - 29.5
    radius = np.sqrt((x[0] / 20) ** 2 + (x[1] / 24) ** 2 + (x[2] / 17) ** 2)
    texture = 500 + 100 * np.sin(x[0] / 3) + 50 * np.cos(x[1] / 2)
    return np.where(radius < 1, texture, 0).astype(np.float32)


def padded(value: float) -> nib.Nifti1Image:
    data = ball()
    return nib.Nifti1Image(np.where(data > 0, data, np.float32(value)), AFFINE)


@pytest.fixture(scope="module")
def plain():
    volume = from_image(nib.Nifti1Image(ball(), AFFINE))
    mask = brain_mask(volume)
    return volume, mask, prepare(volume, mask, np.eye(4), GRID)


@pytest.mark.parametrize("value", PADDINGS)
def test_what_stands_for_nothing_changes_nothing(plain, value, tmp_path):
    volume = from_image(padded(value))
    assert is_skull_stripped(volume)
    mask = brain_mask(volume)
    np.testing.assert_array_equal(mask.data, plain[1].data)
    ready = prepare(volume, mask, np.eye(4), GRID)
    np.testing.assert_array_equal(ready.data, plain[2].data)
    assert ready.scale == plain[2].scale

    out = return_to_native(volume, mask, ready, 1.2 * ready.data).data
    expected = return_to_native(*plain, 1.2 * plain[2].data).data
    np.testing.assert_array_equal(out, expected)
    write_image(to_native(volume, out)[0], tmp_path / "a.nii.gz", like=volume)
    again = nib.load(tmp_path / "a.nii.gz").get_fdata(dtype=np.float32)
    empty = ball() == 0
    np.testing.assert_array_equal(again[empty], np.float32(value))
    assert np.isfinite(again[~empty]).all() and (again[~empty] > 0).all()


@pytest.mark.parametrize("value", PADDINGS)
def test_a_scan_that_is_left_alone_keeps_every_bit(value, tmp_path):
    image = padded(value)
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.data.min() == 0 and np.isfinite(volume.data).all()
    write_image(to_native(volume, volume.data)[0], tmp_path / "b.nii.gz", like=volume)
    assert gzip.decompress((tmp_path / "b.nii.gz").read_bytes()) == image.to_bytes()


def test_padding_by_the_intercept_of_a_header(plain):
    stored = np.where(ball() > 0, ball() + 1024, 0).astype(np.int16)
    content = bytearray(nib.Nifti1Image(stored, AFFINE).to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]))
    header["scl_slope"], header["scl_inter"] = 1, -1024
    content[:348] = header.binaryblock
    volume = from_image(nib.Nifti1Image.from_bytes(bytes(content)))
    assert volume.nothing is not None and volume.nothing.value == -1024
    np.testing.assert_allclose(volume.data, plain[0].data, atol=1)


def test_padding_round_a_head_is_found_in_any_corner():
    rng = np.random.default_rng(0)
    data = rng.gamma(2, 100, (40, 40, 40))
    data[-1] = -1024
    found = find_nothing(data)
    assert found is not None and found.value == -1024
    assert found.record() == {"Value": -1024.0, "Voxels": 1600}
    data[0, :2] = np.nan
    assert np.count_nonzero(find_nothing(data).where) == 1680
    data[-1] = 1
    found = find_nothing(data)
    assert found.value is None and found.record() == {"Value": "NaN", "Voxels": 80}
    assert Nothing(data < 0, -0.5).record() == {"Value": -0.5, "Voxels": 0}


@pytest.mark.parametrize(
    "kind", ["noise", "undershoot", "standardized", "standardized brain", "offset", "small"]
)
def test_negative_values_that_are_signal_are_no_padding(kind):
    rng = np.random.default_rng(0)
    data = rng.gamma(2, 100, (40, 40, 40))
    brain = ball()[10:50, 10:50, 10:50]
    data = {
        "noise": np.rint(data - 3),
        "undershoot": np.where(data < 2, -rng.gamma(2, 40, data.shape), data),
        "standardized": (data - data.mean()) / data.std(),
        "standardized brain": (brain - 400) / 50,
        "offset": np.rint(data) - 1024,
        "small": np.where(data < 20, -1, data),
    }[kind]
    assert find_nothing(data) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: (data - 500) / 80, "z-scores"),
        (lambda data: data - 600, "add back"),
        (lambda data: np.where(data > 0, data - 450, 0), "negative intensities"),
    ],
)
def test_a_brain_below_zero_is_refused_in_words(plain, change, told):
    volume = from_image(nib.Nifti1Image(change(ball()).astype(np.float32), AFFINE))
    with pytest.raises(ImageError, match=told):
        prepare(volume, plain[1], np.eye(4), GRID)


def test_a_few_values_below_zero_are_told(plain, caplog):
    data = ball()
    data[28:32, :, 25:30] *= -0.1
    volume = from_image(nib.Nifti1Image(data, AFFINE))
    with caplog.at_level(logging.WARNING):
        prepare(volume, plain[1], np.eye(4), GRID)
    assert "of the brain is below 0" in caplog.text and len(caplog.records) == 1


def test_holes_in_a_brain_are_filled_for_the_network_and_stay_in_the_scan(plain):
    data = ball()
    data[30, 30, 30] = data[20:22, 25, 25] = np.nan
    volume = from_image(nib.Nifti1Image(data, AFFINE))
    ready = prepare(volume, plain[1], np.eye(4), GRID)
    assert np.abs(ready.data - plain[2].data).max() < 0.35 * plain[2].data.max()
    assert ready.data[plain[2].data > 0.6].min() > 0.4
    out = return_to_native(volume, plain[1], ready, 1.1 * ready.data).data
    stored = np.asarray(to_native(volume, out)[0].dataobj)
    np.testing.assert_array_equal(np.isnan(stored), np.isnan(data))


def test_infinite_values_are_refused_with_a_way_out(tmp_path):
    data = ball()
    data[30, 30, 30] = np.inf
    with pytest.raises(ImageError, match="fslmaths"):
        from_image(nib.Nifti1Image(data, AFFINE))


def test_minus_infinity_is_no_padding():
    with pytest.raises(ImageError, match="infinite"):
        from_image(padded(-np.inf))


def test_an_image_below_zero_throughout_is_refused():
    with pytest.raises(ImageError, match="no positive intensity"):
        from_image(nib.Nifti1Image(ball() - 1024, AFFINE))


def test_nan_elsewhere_than_in_the_scan_is_never_written(plain, tmp_path):
    volume = from_image(padded(np.nan))
    image = to_native(volume, volume.data)[0]
    voxels = np.asarray(image.dataobj).copy()
    voxels[30, 30, 30] = np.nan
    with pytest.raises(ImageError, match="not finite"):
        write_image(nib.Nifti1Image(voxels, AFFINE), tmp_path / "a.nii.gz", like=volume)


def test_an_image_of_nan_alone_has_no_contrast():
    with pytest.raises(ImageError, match="no contrast"):
        from_image(nib.Nifti1Image(np.full((4, 4, 4), np.nan, np.float32), np.eye(4)))
