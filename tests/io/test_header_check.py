"""What a header and a file's length tell, without the voxels: the same as whoever reads all."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.series import open_series
from bids_harmony.exceptions import BidsHarmonyError, ImageError, InputOutputError, MissingInput
from bids_harmony.imaging.volume import read_volume
from bids_harmony.io.header_check import check_header


def write(path, shape=(40, 40, 40), affine=None, kind=nib.Nifti1Image, dtype=np.int16):
    data = np.random.default_rng(0).integers(0, 900, shape).astype(dtype)
    image = kind(data, np.diag([4.0, 4, 4, 1]) if affine is None else affine)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(("shape", "series"), [((40, 40, 40), False), ((20, 20, 20, 8), True)])
def test_sound_images(tmp_path, kind, name, shape, series):
    assert check_header(write(tmp_path / name, shape, kind=kind), series=series) == shape


def test_extensions_are_not_read(tmp_path):
    image = nib.load(write(tmp_path / "a.nii.gz"))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 40_000))
    nib.save(image, tmp_path / "b.nii.gz")
    assert check_header(tmp_path / "b.nii.gz") == (40, 40, 40)


def test_voxels_are_not_read(tmp_path):
    path = write(tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert check_header(path) == (40, 40, 40)
    with pytest.raises(InputOutputError):
        read_volume(path)


def test_gzip_in_several_members_and_zeros_behind_are_sound(tmp_path):
    content = gzip.decompress(write(tmp_path / "a.nii.gz").read_bytes())
    parts = [gzip.compress(content[:50_000]), gzip.compress(content[50_000:]), bytes(512)]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(parts))
    assert check_header(tmp_path / "b.nii.gz") == (40, 40, 40)


def _cut(path, share=0.7):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


BAD = {
    "cut gzip": lambda d: _cut(write(d / "a.nii.gz")),
    "cut in the header": lambda d: _cut(write(d / "a.nii.gz"), 0.001),
    "cut": lambda d: _cut(write(d / "a.nii")),
    "small and cut": lambda d: _cut(write(d / "a.nii", (5, 5, 5))),
    "empty": lambda d: ((d / "a.nii").write_bytes(b"") and None) or d / "a.nii",
    "text": lambda d: (d / "a.nii.gz").write_text("hello " * 9000) and d / "a.nii.gz",
    "not there": lambda d: d / "a.nii.gz",
    "a folder": lambda d: d,
    "four dimensions": lambda d: write(d / "a.nii.gz", (20, 20, 20, 3)),
    "two dimensions": lambda d: write(d / "a.nii.gz", (200, 200)),
    "voxels of a metre": lambda d: write(d / "a.nii.gz", affine=np.diag([1e3, 1e3, 1e3, 1.0])),
    "complex": lambda d: write(d / "a.nii.gz", dtype=np.complex64),
}


@pytest.mark.parametrize("what", BAD)
def test_refused_as_by_the_reader(tmp_path, what):
    path = BAD[what](tmp_path)
    told = []
    for read in (check_header, read_volume):
        with pytest.raises(BidsHarmonyError) as caught:
            read(path)
        told.append((type(caught.value), caught.value.what))
    assert told[0] == told[1]
    assert issubclass(told[0][0], ImageError | InputOutputError | MissingInput)


def test_one_volume_is_no_series(tmp_path):
    path = write(tmp_path / "a.nii.gz")
    for read in (lambda p: check_header(p, series=True), open_series):
        with pytest.raises(ImageError, match="not a series"):
            read(path)
