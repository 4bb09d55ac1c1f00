"""What an image must be before anything is made of it."""

from __future__ import annotations

import logging

import nibabel as nib
import numpy as np
from nibabel import orientations

from bids_harmony.exceptions import ImageError
from bids_harmony.io.header import (
    DISAGREEMENT_MM,
    VOXEL_MM,
    apart_mm,
    get_qform,
    is_sound,
)
from bids_harmony.io.remarks import remark

__all__ = [
    "check_finite",
    "check_orientation",
    "check_series_shape",
    "check_shape",
    "check_values",
]

_log = logging.getLogger(__name__)


def check_shape(image: nib.Nifti1Image, where: str) -> None:
    """Refuse anything but one volume of plain numbers."""
    shape = image.shape
    if len(shape) < 3 or min(shape[:3]) < 2 or any(n != 1 for n in shape[3:]):
        raise ImageError(
            "not a single three-dimensional volume",
            where=where,
            expected="three dimensions of two voxels and more (a fourth may have length one)",
            got="x".join(str(n) for n in shape),
        )
    _check_numbers(image, where)


def check_series_shape(image: nib.Nifti1Image, where: str) -> None:
    """Refuse anything but two volumes and more of plain numbers."""
    shape = image.shape
    if len(shape) < 4 or min(shape[:4]) < 2 or any(n != 1 for n in shape[4:]):
        raise ImageError(
            "not a series of volumes",
            where=where,
            expected="four dimensions of two voxels and volumes and more",
            got="x".join(str(n) for n in shape),
        )
    _check_numbers(image, where)


def _check_numbers(image: nib.Nifti1Image, where: str) -> None:
    kind = image.get_data_dtype().kind
    if kind not in "iuf":
        raise ImageError(
            "voxels that are no plain numbers",
            where=where,
            expected="integers or real numbers",
            got=str(image.get_data_dtype()),
        )


def check_orientation(image: nib.Nifti1Image, where: str, *, quiet: bool = False) -> None:
    """Refuse an impossible affine; unless quiet, warn where the header says two things or none."""
    affine = image.affine
    if not is_sound(affine):
        raise ImageError(
            "the header's orientation cannot be right",
            where=where,
            expected=f"an invertible affine with voxels of {VOXEL_MM[0]} to {VOXEL_MM[1]} mm",
            got=np.array2string(affine, precision=3, separator=", ").replace("\n", ""),
        )
    if quiet:
        return
    header = image.header
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = get_qform(header)
    if sform_code == 0 and qform_code == 0:
        remark(
            _log,
            where,
            "neither sform nor qform is set; left and right are a guess (nibabel's: %s)",
            "".join(orientations.aff2axcodes(affine)),
        )
    elif sform is not None and qform is not None:
        apart = apart_mm(sform, qform, image.shape)
        if apart > DISAGREEMENT_MM:
            remark(
                _log,
                where,
                "sform (%s) and qform (%s) disagree by up to %.1f mm; the sform is used",
                "".join(orientations.aff2axcodes(sform)),
                "".join(orientations.aff2axcodes(qform)),
                apart,
            )


def check_values(data: np.ndarray, where: str) -> None:
    """Refuse infinite values, images without contrast or signal; NaN is gone by then."""
    check_finite(data, where)
    first = float(data.flat[0])
    if (data == data.flat[0]).all():
        raise ImageError(
            "no contrast", where=where, expected="an image", got=f"{first:g} in every voxel"
        )
    if not (highest := float(data.max())) > 0:
        raise ImageError(
            "no positive intensity",
            where=where,
            expected="magnitudes",
            got=f"at most {highest:g}",
            hint="An offset was subtracted, or the sign is reversed: check the header's slope and "
            "intercept.",
        )


def check_finite(data: np.ndarray, where: str) -> None:
    """Refuse values that are not finite, on their way in and on their way out."""
    if data.dtype.kind not in "fc":
        return
    bad = int(data.size - np.count_nonzero(np.isfinite(data)))
    if bad:
        raise ImageError(
            "values that are not finite",
            where=where,
            expected="numbers in every voxel",
            got=f"{bad} of {data.size} voxels NaN or infinite",
            hint="Infinite values come from a division by zero: set them to 0 (`fslmaths IN -nan "
            "OUT` sets NaN and infinite ones), or to NaN where nothing was measured.",
        )
