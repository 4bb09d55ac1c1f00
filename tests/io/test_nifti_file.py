"""How much a file announces, and what of that fits into memory."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ImageError, InputOutputError
from bids_harmony.io.nifti_file import (
    announced_bytes,
    check_size,
    nifti_kind,
    parse_nifti,
    read_content,
    unpack,
)

WHERE = Path("a.nii")


def content(kind=nib.Nifti1Image, shape=(4, 5, 6), dtype=np.int16):
    return kind(np.arange(np.prod(shape), dtype=dtype).reshape(shape), np.eye(4)).to_bytes()


@pytest.mark.parametrize(("kind", "start"), [(nib.Nifti1Image, 352), (nib.Nifti2Image, 544)])
@pytest.mark.parametrize(("dtype", "width"), [(np.uint8, 1), (np.int16, 2), (np.float64, 8)])
def test_a_header_announces_its_voxels(kind, start, dtype, width):
    whole = content(kind, dtype=dtype)
    assert announced_bytes(whole, WHERE) == len(whole) == start + 120 * width
    # The header is enough to know.
    assert announced_bytes(whole[: start - 4], WHERE) == len(whole)
    assert nifti_kind(whole, WHERE) is kind


def test_a_length_below_nothing_announces_no_voxels():
    header = bytearray(content())
    header[42:44] = (-4).to_bytes(2, "little", signed=True)
    assert announced_bytes(bytes(header), WHERE) == 352


@pytest.mark.parametrize(
    ("shape", "width", "fits"),
    [
        # Twice as stored and twice as float32: 2 x 4 + 8 bytes a voxel, 1 MiB in all.
        ((64, 32, 32), 4, True), ((65, 32, 32), 4, False),
        # Of a series one volume is made float32: 2 x 2 x 16 + 8 = 72 bytes for each place.
        ((32, 32, 14, 16), 2, True), ((32, 32, 15, 16), 2, False),
        ((0, 2**40, 1), 4, True), ((-1, -(2**40), 3), 4, True),
    ],
)  # fmt: skip
def test_an_image_must_fit_into_memory(shape, width, fits, monkeypatch):
    monkeypatch.setattr("bids_harmony.io.nifti_file.available_memory_mb", lambda: 1)
    if fits:
        check_size(shape, width, "a.nii")
        return
    with pytest.raises(ImageError, match=r"larger than the memory of this job \[a\.nii\]") as told:
        check_size(shape, width, "a.nii")
    size = "x".join(map(str, shape))
    assert f"Expected: a need of at most 1.0 MiB. Got: {size} voxels of {width} bytes" in str(
        told.value
    )
    assert "which need 1." in str(told.value)


def test_gzip_is_unpacked_up_to_a_limit_and_to_its_very_end():
    one, two = gzip.compress(b"a" * 1000), gzip.compress(b"b" * 500)
    whole = b"a" * 1000 + b"b" * 500
    assert unpack(one + two + bytes(9), 1500) == whole
    # One more byte tells that there is more.
    assert unpack(one + two, 1499) == whole and len(unpack(one + two, 1200)) == 1201
    assert len(unpack(one, 10)) == 11
    with pytest.raises(EOFError):
        unpack(one[:-4], 1000)
    assert unpack(one[:-4], 999, whole=False) == b"a" * 1000
    damaged = bytearray(one)
    damaged[-5] ^= 1
    with pytest.raises(zlib.error):
        unpack(bytes(damaged), 1000)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_is_read_whole_and_never_more_than_it_announces(name, tmp_path):
    path, whole = tmp_path / name, content()
    pack = gzip.compress if name.endswith("gz") else bytes
    path.write_bytes(pack(whole))
    assert read_content(path) == whole
    image = parse_nifti(read_content(path), path)
    assert np.array_equal(np.asarray(image.dataobj).ravel(order="C"), np.arange(120))
    if name.endswith("gz"):
        path.write_bytes(pack(whole + bytes(2**21)))
        with pytest.raises(ImageError, match="unpacks to more than it announces") as told:
            read_content(path)
        assert told.value.where == str(path)
    path.write_bytes(b"")
    with pytest.raises(InputOutputError, match=r"the file is empty.*Got: 0 bytes"):
        read_content(path)


def test_a_file_that_ends_too_early_says_how_early():
    whole = content()
    with pytest.raises(InputOutputError, match=r"truncated or damaged \[a\.nii\].*591 of 592 byt"):
        parse_nifti(whole[:-1], WHERE)
    with pytest.raises(ImageError, match=r"not a NIfTI image \[a\.nii\].*b'hello wo'"):
        nifti_kind(b"hello world, this is no image" * 30, WHERE)
