"""Readers of images, their gradients and their transforms."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.composite_transforms import write_composite
from tests.hostile.parser import Parser

__all__ = ["PARSERS"]


def _image(kind: type, dtype: str, shape: tuple[int, ...], slope: float = 1.0) -> bytes:
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    header = kind.header_class(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(values.dtype)
    image = kind(values, np.diag([2.0, 2, 2, 1]), header)
    image.header.set_slope_inter(slope, 0)
    return image.to_bytes()


def _volumes() -> list[bytes]:
    return [
        _image(nib.Nifti1Image, "<i2", (3, 4, 5)),
        _image(nib.Nifti1Image, ">f4", (3, 4, 5, 1)),
        _image(nib.Nifti2Image, "<u1", (4, 4, 4), 0.5),
    ]


def _all_series() -> list[bytes]:
    return [
        _image(nib.Nifti1Image, "<i2", (3, 4, 5, 3)),
        _image(nib.Nifti2Image, ">f4", (3, 3, 3, 2), 2.0),
    ]


def _read_volume(path: Path) -> object:
    from bids_harmony.imaging.volume import read_volume, to_native

    volume = read_volume(path)
    return to_native(volume, volume.data)


def _open_series(path: Path) -> object:
    from bids_harmony.diffusion.series import open_series

    return list(open_series(path).volumes())


_BVAL = b"0 1000 1000 2000\n"
_BVEC = b"0 1 0 0\n0 0 1 0\n0 0 0 1\n"


def _read_gradients(path: Path) -> object:
    from bids_harmony.diffusion.gradient_files import read_gradients

    return read_gradients(path.with_name("a.bval"), path.with_name("a.bvec"), 4)


def _read_transform(path: Path) -> object:
    from bids_harmony.imaging.transforms import read_transform

    return read_transform(path)


_TRANSFORM = b"""#Insight Transform File V1.0
#Transform 0
Transform: AffineTransform_double_3_3
Parameters: 1 0 0 0 1 0 0 0 1 3 4 5
FixedParameters: 0 0 0
"""


def _read_warp(path: Path) -> object:
    from bids_harmony.imaging.warps import read_warp

    warp = read_warp(path)
    return warp.points(np.array([[0.0, 0, 0], [10, 20, 30]]))


def _warps() -> list[bytes]:
    affine = [1.0, 0, 0, 0, 1, 0, 0, 0, 1, 3, 4, 5]
    moves = np.random.default_rng(0).normal(size=3 * 3 * 4 * 5)
    grid = [3.0, 4, 5, 0, 0, 0, 9, 9, 9, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    parts = [
        ("AffineTransform_float_3_3", affine, [0.0, 0, 0]),
        ("DisplacementFieldTransform_float_3_3", moves, grid),
    ]
    made = io.BytesIO()
    write_composite(made, parts)
    return [made.getvalue()]


def _mats() -> list[bytes]:
    from scipy.io import savemat

    numbers = np.array([1.0, 0, 0, 0, 1, 0, 0, 0, 1, 3, 4, 5])[:, None]
    made = io.BytesIO()
    fields = {"AffineTransform_double_3_3": numbers, "fixed": np.zeros((3, 1))}
    savemat(made, fields, format="4")
    return [made.getvalue()]


PARSERS: dict[str, Parser] = {
    "volume": Parser("a.nii", _read_volume, _volumes),
    "volume-gz": Parser("a.nii.gz", _read_volume, _volumes, pack=lambda c: gzip.compress(c, 1)),
    "volume-damaged-gz": Parser(
        "a.nii.gz", _read_volume, lambda: [gzip.compress(c) for c in _volumes()]
    ),
    "series": Parser("a.nii", _open_series, _all_series),
    "bval": Parser(
        "a.bval",
        _read_gradients,
        lambda: [_BVAL],
        ("nan", "inf", "1e999", "-1"),
        beside=lambda folder, _: (folder / "a.bvec").write_bytes(_BVEC),
    ),
    "bvec": Parser(
        "a.bvec",
        _read_gradients,
        lambda: [_BVEC],
        ("nan", "inf", "1e999", "-1"),
        beside=lambda folder, _: (folder / "a.bval").write_bytes(_BVAL),
    ),
    "warp": Parser("a.h5", _read_warp, _warps),
    "mat-transform": Parser("a.mat", _read_warp, _mats),
    "transform": Parser("a.txt", _read_transform, lambda: [_TRANSFORM], ("nan", "1e999", "--")),
}
