"""Nothing that is not finite leaves a step, and nothing overflows in silence."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.series import open_series, write_series
from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.intensity import to_half
from bids_harmony.imaging.volume import (
    from_image,
    read_volume,
    to_native,
    write_array,
    write_image,
)
from bids_harmony.io.stored_voxels import stored_voxels


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite_are_never_written(bad, tmp_path, rng):
    data = rng.normal(size=(4, 4, 4)).astype(np.float32)
    volume = from_image(nib.Nifti1Image(data, np.eye(4)))
    data[1, 2, 3] = bad
    for write in (
        lambda path: write_image(nib.Nifti1Image(data, np.eye(4)), path),
        lambda path: write_array(data, np.eye(4), path),
        lambda path: write_image(to_native(volume, data)[0], path),
        lambda path: write_image(to_native(volume, data, float_output=True)[0], path),
    ):
        with pytest.raises(ImageError, match="1 of 64 voxels NaN or infinite"):
            write(tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_series_that_are_not_finite_are_never_written(tmp_path, rng):
    data = rng.uniform(1, 9, (3, 3, 3, 4)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    series = open_series(tmp_path / "a.nii.gz")
    raw = series.raw.copy()
    raw[0, 0, 0, 2] = np.nan
    with pytest.raises(ImageError, match="volume 2 of"):
        write_series(series, raw, tmp_path / "b.nii.gz")
    assert not (tmp_path / "b.nii.gz").exists()


def test_what_a_type_cannot_hold_is_told(tmp_path):
    signal = np.array([1.0, 1e300])
    with pytest.raises(ImageError, match="stored as float32"):
        stored_voxels(signal, np.dtype(np.float32), 1.0, 0.0)
    with pytest.raises(ImageError, match="not finite"):
        stored_voxels(np.array([1.0, np.nan]), np.dtype(np.int16), 1.0, 0.0)
    stored, clipped = stored_voxels(signal, np.dtype(np.int16), 1.0, 0.0)
    assert stored.tolist() == [1, 32767] and clipped == 1
    with pytest.raises(ImageError, match="not finite"):
        write_array(np.full((2, 2, 2), 1e39), np.eye(4), tmp_path / "a.nii")


def test_half_precision_ends_where_it_ends():
    half = to_half(np.array([0.1, 7e4, -1e9, 65504.0], np.float32))
    assert half.dtype == np.float16 and np.isfinite(half).all()
    np.testing.assert_array_equal(half[1:], np.float16([65504, -65504, 65504]))


def test_half_weights_keep_what_does_not_fit(tmp_path):
    import torch

    from bids_harmony.model.checkpoint import load_model, save_model
    from bids_harmony.model.network import IHFNetwork
    from bids_harmony.model.presets import AANConfig, NetworkConfig

    aan = AANConfig(grid=1, head_channels=2, embedding=2, projection=(2, 2), map_channels=2)
    config = NetworkConfig(squeeze=(1,), splits=(2,), hidden=(2,), pad=0, aan=aan)
    network = IHFNetwork(config, 3)
    with torch.no_grad():
        network.projection[0].bias.fill_(1e6)
    save_model(tmp_path, network, {"name": "none", "sha256": "0"}, half=True)
    again, _ = load_model(tmp_path)
    assert again.projection[0].bias.tolist() == [1e6, 1e6]


@pytest.mark.parametrize("edges", [(0.3, 0.3, 0.3), (0.5, 0.5, 6.0), (6.0, 6.0, 6.0)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_voxels_of_any_size_come_back_as_they_were(edges, kind, name, order, tmp_path, rng):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(order))
    raw = rng.integers(0, 900, (5, 6, 7)).astype(np.int16)
    image = kind(raw, np.diag([*edges, 1.0]), header)
    image.header.set_slope_inter(0.5, 2.0)
    write_image(kind.from_bytes(image.to_bytes()), tmp_path / name)
    volume = read_volume(tmp_path / name)
    assert volume.voxel_mm == pytest.approx(edges)
    changed = volume.data + np.float32(0.5)
    back, clipped = to_native(volume, changed)
    write_image(back, tmp_path / f"back_{name}")
    again = nib.load(tmp_path / f"back_{name}")
    assert clipped == 0
    assert type(again) is kind and again.header.endianness == order
    assert (again.dataobj.slope, again.dataobj.inter) == (0.5, 2.0)
    np.testing.assert_array_equal(again.dataobj.get_unscaled(), raw + 1)
