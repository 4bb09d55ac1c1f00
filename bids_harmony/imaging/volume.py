"""Volumes: one reader with every check, and the way back to the form the scan came in.

Reading reorders voxels to RAS+ by flips and permutations alone; nothing is interpolated. Writing
undoes that, keeps the header, and keeps the raw bits of every voxel that was not changed.
"""

from __future__ import annotations

import gzip
import io
import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations
from nibabel.arrayproxy import is_proxy

from bids_harmony.imaging.nothing import Nothing, find_nothing
from bids_harmony.io.atomic import write_atomically
from bids_harmony.io.checks import (
    check_finite,
    check_orientation,
    check_shape,
    check_values,
)
from bids_harmony.io.nifti_file import parse_nifti, read_content
from bids_harmony.io.stored_voxels import raw_voxels, stored_voxels, with_raw_voxels

__all__ = [
    "Volume",
    "from_image",
    "native_order",
    "ras_order",
    "read_volume",
    "to_native",
    "write_array",
    "write_image",
]

GZIP_LEVEL = 3
"""1 costs 10 % more space, 6 three times the time."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan in RAS+ voxel order.

    Attributes
    ----------
    data : ndarray (X, Y, Z) float32
        Intensities after the header's slope and intercept.
    affine : ndarray (4, 4)
        Voxel indices to RAS+ mm.
    source : nibabel.Nifti1Image or nibabel.Nifti2Image
        The image as it is on disk (its bytes are held in memory): native voxel order, data type
        and header.
    path : Path or None
        Where it was read.
    nothing : Nothing or None
        Voxels that are NaN or padding in the file, and 0 in `data`; in RAS+ order. What is
        written from this volume has there what the file has.
    label : str
        What messages call a scan that has no path.
    """

    data: np.ndarray
    affine: np.ndarray
    source: nib.Nifti1Image
    path: Path | None
    nothing: Nothing | None = None
    label: str = "image in memory"

    @property
    def where(self) -> str:
        """The scan, for messages: its file, else what it is called."""
        return str(self.path) if self.path is not None else self.label

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Edges of a voxel in mm, RAS+ order."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def read_volume(path: str | os.PathLike[str], *, keep_header: bool = False) -> Volume:
    """Read a three-dimensional NIfTI image and check that it can be used.

    Parameters
    ----------
    path : path-like
        `.nii` or `.nii.gz`; NIfTI-1 or NIfTI-2, either byte order.
    keep_header : bool
        Keep extensions and texts of the header, which may tell of a person.

    Returns
    -------
    Volume

    Raises
    ------
    MissingInput
        No such file, or one whose content was not fetched.
    InputOutputError
        The file cannot be read, or ends too early.
    ImageError
        Not a NIfTI image, not one volume, an orientation that cannot be, infinite values, or no
        contrast at all.
    """
    path = Path(path)
    return from_image(parse_nifti(read_content(path), path, keep_header=keep_header), path)


def from_image(
    image: nib.Nifti1Image,
    path: str | os.PathLike[str] | None = None,
    *,
    label: str = Volume.label,
) -> Volume:
    """Check an image in memory and reorder its voxels to RAS+.

    Parameters
    ----------
    image : nibabel.Nifti1Image or nibabel.Nifti2Image
        Three dimensions, or more with a length of one.
    path : path-like, optional
        Named in messages.
    label : str
        Named where there is no path.

    Returns
    -------
    Volume

    Raises
    ------
    ImageError
        As `read_volume`.
    """
    where = str(path) if path is not None else label
    if not is_proxy(image.dataobj):
        # Once through the disk format, so that data type and slope are those of a file.
        image = type(image).from_bytes(image.to_bytes())
    check_shape(image, where)
    check_orientation(image, where)
    native = image.get_fdata(dtype=np.float32, caching="unchanged").reshape(image.shape[:3])
    to_ras = orientations.io_orientation(image.affine)
    data = np.ascontiguousarray(orientations.apply_orientation(native, to_ras), dtype=np.float32)
    nothing = find_nothing(data)
    if nothing is not None:
        data = np.where(nothing.where, np.float32(0), data)
    check_values(data, where)
    affine = image.affine @ orientations.inv_ornt_aff(to_ras, image.shape[:3])
    return Volume(data, affine, image, Path(path) if path is not None else None, nothing, label)


def to_native(
    volume: Volume, data: np.ndarray, *, float_output: bool = False
) -> tuple[nib.Nifti1Image, int]:
    """Give data of a volume's RAS+ grid the form of the file that the volume came from.

    Parameters
    ----------
    volume : Volume
        Tells order, shape, header and data type.
    data : ndarray (X, Y, Z)
        New intensities on the grid of `volume`.
    float_output : bool
        Write float32 with slope 1 instead of the input's data type.

    Returns
    -------
    image : nibabel.Nifti1Image or nibabel.Nifti2Image
        Header, slope, intercept and data type of the source; integers are rounded.
        Voxels that equal the volume's, or hold nothing, keep their raw bits.
    n_clipped : int
        Voxels that did not fit the integer type and were clipped to its range.

    Raises
    ------
    ImageError
        Values that are not finite, or too large for the file's floating-point type.
    """
    if data.shape != volume.data.shape:
        raise ValueError(
            f"shape must be that of the volume, {volume.data.shape}; got {data.shape}"
        )
    check_finite(data, volume.where)
    source = volume.source
    if float_output:
        header = source.header.copy()
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
        image = type(source)(native_order(volume, data).astype(np.float32), source.affine, header)
        return type(source).from_bytes(image.to_bytes()), 0

    raw, slope, intercept = raw_voxels(source)
    different = data != volume.data
    if volume.nothing is not None:
        different &= ~volume.nothing.where
    changed = native_order(volume, different)
    raw[changed], n_clipped = stored_voxels(
        native_order(volume, data)[changed], raw.dtype, slope, intercept
    )
    image = with_raw_voxels(source, raw, slope, intercept)
    return type(source).from_bytes(image.to_bytes()), n_clipped


def native_order(volume: Volume, data: np.ndarray) -> np.ndarray:
    """Undo the reordering to RAS+, trailing dimensions of length one included."""
    to_ras = orientations.io_orientation(volume.source.affine)
    back = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), to_ras)
    return orientations.apply_orientation(data, back).reshape(volume.source.shape)


def ras_order(volume: Volume, data: np.ndarray) -> np.ndarray:
    """Reorder voxels of the volume's file to RAS+."""
    to_ras = orientations.io_orientation(volume.source.affine)
    native = data.reshape(volume.source.shape[:3])
    return np.ascontiguousarray(orientations.apply_orientation(native, to_ras))


def write_image(
    image: nib.Nifti1Image, path: str | os.PathLike[str], *, like: Volume | None = None
) -> None:
    """Write an image whole or not at all, the same bytes each time.

    Parameters
    ----------
    image : nibabel.Nifti1Image or nibabel.Nifti2Image
        An image that was loaded or came from `to_native` keeps its raw voxels and its slope.
    path : path-like
        `.nii` or `.nii.gz`; the folder must exist.
    like : Volume, optional
        The scan that the image was made from: where that holds nothing, the image may be NaN.

    Raises
    ------
    ImageError
        Other voxels that are not finite: no step may hand them on.
    CannotCreateOutput, TryAgain, InputOutputError
        See `atomic.write_atomically`.
    """
    if is_proxy(image.dataobj):
        # nibabel would choose a new slope for a loaded image; keep the one it has.
        image = with_raw_voxels(image, *raw_voxels(image))
    voxels = np.asanyarray(image.dataobj)
    if like is not None and like.nothing is not None:
        voxels = voxels[~native_order(like, like.nothing.where)]
    check_finite(voxels, str(path))
    payload = image.to_bytes()
    if str(path).endswith(".gz"):
        packed = io.BytesIO()
        # No file name and no time in the gzip header: reruns give the same bytes.
        with gzip.GzipFile("", "wb", compresslevel=GZIP_LEVEL, fileobj=packed, mtime=0) as handle:
            handle.write(payload)
        payload = packed.getvalue()
    write_atomically(path, payload)


def write_array(
    data: np.ndarray,
    affine: np.ndarray,
    path: str | os.PathLike[str],
    *,
    code: int = 1,
) -> None:
    """Write an array of a RAS+ grid as NIfTI-1 with slope 1.

    Parameters
    ----------
    data : ndarray (X, Y, Z)
        Stored as float32.
    affine : ndarray (4, 4)
        Voxel indices to RAS+ mm; written as sform and qform.
    path : path-like
    code : int
        Of sform and qform: 1 in a scanner, 2 aligned to another image, 4 on an MNI template.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # told by `write_image`
        stored = np.asarray(data).astype(np.float32)
    image = nib.Nifti1Image(stored, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    write_image(image, path)
