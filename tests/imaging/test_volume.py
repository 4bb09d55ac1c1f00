from __future__ import annotations

import gzip
import itertools
import logging
import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import (
    CannotCreateOutput,
    ImageError,
    InputOutputError,
    MissingInput,
)
from bids_harmony.imaging.volume import (
    from_image,
    native_order,
    ras_order,
    read_volume,
    to_native,
    write_array,
    write_image,
)
from tests.small_volumes import rigid

CODES = [
    "".join(letters)
    for order in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*order)
]


def header_fields(image):
    return {name: image.header[name].tobytes() for name in image.header}


@pytest.mark.parametrize("codes", CODES)
def test_every_orientation_reads_as_ras_and_goes_back(codes, oriented, lopsided, tmp_path):
    data, affine = lopsided
    path = tmp_path / "scan.nii.gz"
    nib.save(oriented(codes), path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    changed = volume.data.copy()
    changed[-1, 0, 0] = 7  # the rightmost voxel
    back, _ = to_native(volume, changed)
    write_image(back, tmp_path / "out.nii.gz")
    again = nib.load(tmp_path / "out.nii.gz")
    stored = np.argwhere(np.asarray(again.dataobj) == 7)
    assert len(stored) == 1
    millimetres = nib.affines.apply_affine(again.affine, stored[0])
    np.testing.assert_allclose(
        millimetres, nib.affines.apply_affine(affine, [11, 0, 0]), atol=1e-4
    )
    assert header_fields(again) == header_fields(nib.load(path)) | {
        "scl_slope": np.float32(np.nan).tobytes(),
        "scl_inter": np.float32(np.nan).tobytes(),
        "descrip": bytes(80),
    }


@pytest.mark.parametrize("codes", ["LPS", "RAS", "AIR", "SPL"])
def test_oblique_affine_keeps_every_voxel_in_place(codes, oriented, lopsided):
    data, affine = lopsided
    tilt = rigid((12.0, -20.0, 8.0), (3.0, 40.0, -12.0))
    volume = from_image(oriented(codes, tilt))
    image = volume.source
    for share in (0.0, 0.4, 0.9):
        voxel = (share * np.array(image.shape)).astype(int)
        millimetres = nib.affines.apply_affine(image.affine, voxel)
        here = np.rint(nib.affines.apply_affine(np.linalg.inv(volume.affine), millimetres))
        assert volume.data[tuple(here.astype(int))] == image.get_fdata()[tuple(voxel)]
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.affine, tilt @ affine, atol=1e-4)


def test_sform_wins_over_qform_and_the_disagreement_is_told(oriented, tmp_path, caplog):
    image = oriented("RAS")
    flipped = np.diag([-1.0, 1, 1, 1]) @ image.affine
    image.set_sform(image.affine, 1)
    image.set_qform(flipped, 1)
    nib.save(image, tmp_path / "two_minds.nii")
    with caplog.at_level(logging.WARNING):
        volume = read_volume(tmp_path / "two_minds.nii")
    np.testing.assert_allclose(volume.affine, image.affine, atol=1e-5)
    assert "two_minds.nii: sform (RAS) and qform (LAS) disagree by up to 11.0 mm" in caplog.text
    back, _ = to_native(volume, volume.data)
    np.testing.assert_allclose(back.header.get_qform(), flipped, atol=1e-4)


def test_agreeing_forms_are_silent_and_missing_ones_are_not(oriented, caplog):
    image = oriented("LPS")
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    from_image(image)
    assert not caplog.text
    image.header["sform_code"] = image.header["qform_code"] = 0
    from_image(type(image)(image.dataobj, None, image.header))
    assert "neither sform nor qform" in caplog.text


def test_qform_alone_is_used(oriented, lopsided):
    image = oriented("PIR")
    image.set_qform(image.affine, 1)
    image.set_sform(None, 0)
    np.testing.assert_allclose(from_image(image).affine, lopsided[1], atol=1e-4)


def with_raw(raw, slope, inter, klass=nib.Nifti1Image, byte_order="<"):
    """An image whose disk holds `raw` with a slope."""
    header = klass.header_class(endianness=byte_order)
    header.set_data_dtype(raw.dtype.newbyteorder(byte_order))
    image = klass(raw.astype(raw.dtype.newbyteorder(byte_order)), np.diag([2.0, 2, 2, 1]), header)
    image.set_sform(image.affine, 2)
    image.set_qform(image.affine, 1)
    image.header.set_slope_inter(slope, inter)
    return klass.from_bytes(image.to_bytes())


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize(("slope", "inter"), [(1.0, 0.0), (0.37, -12.5)])
@pytest.mark.parametrize("klass", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_unchanged_voxels_keep_their_raw_bits(dtype, slope, inter, klass, byte_order, rng):
    kind = np.dtype(dtype)
    if kind.kind == "f":
        raw = rng.normal(300, 90, (5, 6, 4)).astype(kind)
    else:
        raw = rng.integers(0, min(np.iinfo(kind).max, 2**40), (5, 6, 4)).astype(kind)
    image = with_raw(raw, slope, inter, klass, byte_order)
    volume = from_image(image)
    back, n_clipped = to_native(volume, volume.data)
    assert n_clipped == 0
    assert type(back) is klass
    assert (back.dataobj.slope, back.dataobj.inter) == (image.dataobj.slope, image.dataobj.inter)
    assert (
        back.get_data_dtype() == kind.newbyteorder(byte_order)
        and back.header.endianness == byte_order
    )
    np.testing.assert_array_equal(back.dataobj.get_unscaled(), raw)
    assert header_fields(back) == header_fields(image)


def test_whole_file_is_the_same_when_nothing_changed(tmp_path, rng):
    image = with_raw(rng.integers(0, 900, (5, 6, 4)).astype(np.int16), 0.5, 3.0)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    volume = read_volume(tmp_path / "a.nii")
    write_image(to_native(volume, volume.data)[0], tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes() == (tmp_path / "a.nii").read_bytes()


def test_integers_are_rounded_and_clipped_in_units_of_the_slope():
    raw = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    volume = from_image(with_raw(raw, 2.0, 10.0))
    data = volume.data.copy()
    data[0, 0, :4] = [10 + 2 * 100 + 1.5, 10 + 2 * 300, 4.0, 10 + 2 * 7 - 1.1]
    back, n_clipped = to_native(volume, data)
    np.testing.assert_array_equal(back.dataobj.get_unscaled()[0, 0], [101, 255, 0, 6])
    assert n_clipped == 2
    np.testing.assert_array_equal(back.dataobj.get_unscaled()[1], raw[1])


def test_float_output_holds_the_values_themselves(rng):
    volume = from_image(with_raw(rng.integers(0, 99, (4, 4, 4)).astype(np.int16), 0.1, 0.0))
    data = volume.data + np.float32(0.123)
    back, _ = to_native(volume, data, float_output=True)
    assert back.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(back.dataobj), data)
    np.testing.assert_array_equal(back.affine, volume.source.affine)


def test_four_dimensions_with_one_volume_stay_four(lopsided, tmp_path):
    data, affine = lopsided
    nib.save(nib.Nifti1Image(data[..., None], affine), tmp_path / "four.nii.gz")
    volume = read_volume(tmp_path / "four.nii.gz")
    assert volume.data.shape == data.shape
    back, _ = to_native(volume, volume.data)
    assert back.shape == (*data.shape, 1)
    np.testing.assert_array_equal(np.asarray(back.dataobj)[..., 0], data)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (6, 6, 6, 3), (6, 6, 6, 1, 3)])
def test_other_dimensions_are_refused(shape, rng):
    image = nib.Nifti1Image(rng.normal(size=shape).astype(np.float32), np.eye(4))
    with pytest.raises(ImageError, match="x".join(map(str, shape))):
        from_image(image)


def test_infinite_values_are_counted(lopsided):
    data = lopsided[0].astype(np.float32)
    data[0, 0, :3] = [np.nan, np.inf, -np.inf]
    with pytest.raises(ImageError, match=f"2 of {data.size} voxels"):
        from_image(nib.Nifti1Image(data, lopsided[1]))


@pytest.mark.parametrize("value", [0, 7])
def test_constant_images_are_refused(value):
    with pytest.raises(ImageError, match=f"{value} in every voxel"):
        from_image(nib.Nifti1Image(np.full((4, 4, 4), value, np.int16), np.eye(4)))


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 1, 0, 1]),
        np.diag([1e-3, 1e-3, 1e-3, 1]),
        np.diag([1000.0, 1000, 1000, 1]),
        np.array([[1, 1, 0, 0], [0, 0.01, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.array([[1, 0, 0, 1e7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.array([[np.nan, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ],
    ids=["singular", "metres", "microns", "sheared", "far", "nan"],
)
def test_impossible_orientations_are_refused(affine, rng):
    image = nib.Nifti1Image(rng.integers(0, 9, (4, 5, 6)).astype(np.int16), np.eye(4))
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        image.header[name] = affine[row]
    image.header["sform_code"] = 1
    image = nib.Nifti1Image(image.dataobj, None, image.header)
    with pytest.raises(ImageError, match="orientation"):
        from_image(image)


@pytest.mark.parametrize("kept", [20, 300, 0.5, 0.99])
def test_truncated_gzip_is_an_io_error(kept, lopsided, tmp_path, rng):
    noise = rng.integers(0, 30000, (20, 20, 20)).astype(np.int16)
    path = tmp_path / "cut.nii.gz"
    nib.save(nib.Nifti1Image(noise, lopsided[1]), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(InputOutputError, match="truncated"):
        read_volume(path)


def test_damaged_gzip_is_an_io_error(lopsided, tmp_path, rng):
    path = tmp_path / "flipped.nii.gz"
    nib.save(nib.Nifti1Image(rng.integers(0, 30000, (20, 20, 20), np.int16), lopsided[1]), path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(InputOutputError, match="damaged"):
        read_volume(path)


def test_truncated_plain_file_is_an_io_error(oriented, tmp_path):
    path = tmp_path / "cut.nii"
    path.write_bytes(oriented("RAS").to_bytes()[:900])
    with pytest.raises(InputOutputError, match="truncated"):
        read_volume(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.txt"])
def test_what_is_no_nifti_is_an_image_error(name, tmp_path):
    (tmp_path / name).write_text("Dear reader, this is a letter. " * 40)
    with pytest.raises(ImageError, match="not a NIfTI"):
        read_volume(tmp_path / name)


def test_other_image_formats_are_refused(tmp_path, rng):
    nib.save(nib.MGHImage(rng.normal(size=(4, 4, 4)).astype("f4"), np.eye(4)), tmp_path / "a.mgz")
    with pytest.raises(ImageError, match="not a NIfTI"):
        read_volume(tmp_path / "a.mgz")


def test_annexed_files_name_the_command(tmp_path):
    link = tmp_path / "sub-01_T1w.nii.gz"
    link.symlink_to("../.git/annex/objects/aa/bb/MD5E-s1.nii.gz")
    with pytest.raises(MissingInput, match=f"datalad get {link}"):
        read_volume(link)
    pointer = tmp_path / "sub-02_T1w.nii.gz"
    pointer.write_text("/annex/objects/MD5E-s7654--0123.nii.gz\n")
    with pytest.raises(MissingInput, match=f"datalad get {pointer}"):
        read_volume(pointer)


def test_missing_empty_and_folder(tmp_path):
    with pytest.raises(MissingInput, match="no such file"):
        read_volume(tmp_path / "none.nii.gz")
    with pytest.raises(MissingInput, match="folder"):
        read_volume(tmp_path)
    (tmp_path / "empty.nii.gz").touch()
    with pytest.raises(InputOutputError, match="empty"):
        read_volume(tmp_path / "empty.nii.gz")


def test_unreadable_file_is_an_io_error(oriented, tmp_path, monkeypatch):
    path = tmp_path / "locked.nii.gz"
    nib.save(oriented("RAS"), path)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    # Root may read any file, so chmod would not do.
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputOutputError, match="permissions"):
        read_volume(path)


def test_writing_is_whole_or_nothing_and_repeatable(oriented, tmp_path):
    image = oriented("LPS")
    write_image(image, tmp_path / "a.nii.gz")
    write_image(image, tmp_path / "other_name.nii.gz")
    first = (tmp_path / "a.nii.gz").read_bytes()
    assert first == (tmp_path / "other_name.nii.gz").read_bytes()
    assert gzip.decompress(first) == image.to_bytes()
    with pytest.raises(CannotCreateOutput):
        write_image(image, tmp_path / "nowhere" / "a.nii.gz")
    (tmp_path / "folder.nii.gz").mkdir()
    with pytest.raises(CannotCreateOutput):
        write_image(image, tmp_path / "folder.nii.gz")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a.nii.gz",
        "folder.nii.gz",
        "other_name.nii.gz",
    ]


def test_loaded_images_are_written_with_their_own_slope(tmp_path, rng):
    image = with_raw(rng.integers(0, 900, (5, 6, 4)).astype(np.int16), 0.25, -3.0)
    write_image(image, tmp_path / "a.nii.gz")
    again = nib.load(tmp_path / "a.nii.gz")
    assert (again.dataobj.slope, again.dataobj.inter) == (0.25, -3.0)
    np.testing.assert_array_equal(again.dataobj.get_unscaled(), image.dataobj.get_unscaled())


def test_arrays_keep_their_grid(lopsided, tmp_path):
    data, affine = lopsided
    write_array(data > 500, affine, tmp_path / "mask.nii.gz")
    again = nib.load(tmp_path / "mask.nii.gz")
    assert again.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(again.dataobj), data > 500)
    np.testing.assert_allclose(again.affine, affine)


def test_data_of_another_shape_or_not_finite_are_refused(oriented):
    volume = from_image(oriented("RAS"))
    with pytest.raises(ValueError, match="shape"):
        to_native(volume, volume.data[1:])
    with pytest.raises(ValueError, match="finite"):
        to_native(volume, np.full_like(volume.data, np.nan))
    assert replace(volume, data=volume.data).voxel_mm == pytest.approx((1, 1, 3))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "AIR", "SPL"])
def test_orders_are_told_there_and_back(codes, oriented, lopsided):
    """What belongs to a scan's file, here its own voxels, stands where the scan's stand."""
    volume = from_image(oriented(codes))
    stored = np.asarray(volume.source.dataobj)
    np.testing.assert_array_equal(ras_order(volume, stored), lopsided[0])
    np.testing.assert_array_equal(ras_order(volume, stored[..., None]), lopsided[0])
    np.testing.assert_array_equal(native_order(volume, lopsided[0]), stored)
    assert ras_order(volume, stored).flags.c_contiguous


@pytest.mark.parametrize(("given", "code"), [({}, 1), ({"code": 4}, 4)])
def test_arrays_say_in_which_space_they_are(given, code, lopsided, tmp_path):
    data, affine = lopsided
    write_array(data, affine, tmp_path / "a.nii", **given)
    header = nib.load(tmp_path / "a.nii").header
    assert (header["sform_code"], header["qform_code"]) == (code, code)
    np.testing.assert_allclose(header.get_qform(), affine, atol=1e-5)
    np.testing.assert_allclose(header.get_sform(), affine)
    assert header.get_xyzt_units() == ("mm", "sec")
    assert np.isnan(header["scl_slope"]) or header["scl_slope"] == 1


def test_what_is_read_knows_its_file(oriented, tmp_path):
    image = oriented("RAS")
    nib.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").path == tmp_path / "a.nii"
    assert from_image(image, str(tmp_path / "b.nii")).path == tmp_path / "b.nii"
    volume = from_image(image)
    assert volume.path is None and volume.nothing is None
    with pytest.raises(ImageError, match=r"b\.nii"):
        from_image(nib.Nifti1Image(np.ones((3, 3)), np.eye(4)), tmp_path / "b.nii")
    with pytest.raises(ImageError, match="image in memory"):
        from_image(nib.Nifti1Image(np.ones((3, 3)), np.eye(4)))


def test_names_of_persons_stay_only_where_asked(oriented, tmp_path):
    image = oriented("RAS")
    image.header["db_name"] = b"Jane Doe"
    nib.save(image, tmp_path / "a.nii")
    read, kept = (
        read_volume(tmp_path / "a.nii", keep_header=keep).source.header["db_name"].item()
        for keep in (False, True)
    )
    assert read == b"" and kept == b"Jane Doe"
