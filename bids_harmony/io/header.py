"""NIfTI headers: what of one is handed on, where it puts the image, and where ITK does."""

from __future__ import annotations

import logging

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from bids_harmony.io.remarks import remark

__all__ = [
    "CODE_MNI",
    "apart_mm",
    "clean_header",
    "get_qform",
    "is_sound",
    "itk_affine",
    "orientation_note",
    "sound_orientation",
]

_log = logging.getLogger(__name__)

CODE_MNI = 4
"""sform and qform code of an image on the grid of an MNI template."""
VOXEL_MM = (0.05, 25.0)
"""Edges of a voxel that an image of a head can have; headers in metres or microns fall outside."""
SMALLEST_SHAPE_OF_VOXEL = 0.2
"""Least volume of what the three axes span, relative to a box: guards against absurd shear."""
FARTHEST_MM = 10_000.0
"""No scanner puts a voxel farther than this from its isocentre."""
DISAGREEMENT_MM = 0.1
"""Two affines may differ by this much at a corner of the image before it is said."""
_SCANNER = 1
# Grid, timing and scale. The rest is free text, or a place where programs keep what they like.
_HANDED_ON = {
    "sizeof_hdr", "magic", "dim_info", "dim", "datatype", "bitpix", "slice_start", "slice_end",
    "slice_code", "slice_duration", "pixdim", "scl_slope", "scl_inter", "xyzt_units", "cal_max",
    "cal_min", "toffset", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
}  # fmt: skip


def clean_header(header: nib.Nifti1Header) -> None:
    """Take out of a header, in place, whatever may tell of a person.

    Grid, orientation, timing, data type, scale and display window stay. Extensions go (dcmstack
    and others keep whole DICOM headers there), and all text (``descrip``, ``aux_file``,
    ``db_name``, ``intent_name``).

    Parameters
    ----------
    header : nibabel.Nifti1Header or nibabel.Nifti2Header
    """
    header.extensions.clear()
    empty = type(header)(endianness=header.endianness)
    for name in header.keys():
        if name not in _HANDED_ON:
            header[name] = empty[name]
    # Chosen anew when it is written: extensions stood before the voxels.
    header["vox_offset"] = 0


def is_sound(affine: np.ndarray) -> bool:
    """Whether an affine (4, 4), voxels to mm, can be that of an image of a head."""
    if not np.isfinite(affine).all():
        return False
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(
        VOXEL_MM[0] <= edges.min()
        and edges.max() <= VOXEL_MM[1]
        and abs(np.linalg.det(affine[:3, :3])) / edges.prod() >= SMALLEST_SHAPE_OF_VOXEL
        and np.abs(affine[:3, 3]).max() <= FARTHEST_MM
    )


def get_qform(header: nib.Nifti1Header) -> tuple[np.ndarray | None, int]:
    """The qform with its code; None when it is not set or its quaternion is not one."""
    try:
        return header.get_qform(coded=True)
    except (HeaderDataError, ValueError):
        return None, int(header["qform_code"])


def sound_orientation(image: nib.Nifti1Image, where: str) -> nib.Nifti1Image:
    """The image with its qform in both places, where only the qform is sound.

    A scan with sform code 1 and zeros there is what ITK before 4.13 and others wrote; FSL and
    fMRIPrep use its qform, too.

    Parameters
    ----------
    image : nibabel.Nifti1Image or nibabel.Nifti2Image
    where : str
        For the warning.

    Returns
    -------
    nibabel.Nifti1Image or nibabel.Nifti2Image
        The same image where its sform is sound or the qform is no better.
    """
    if not _only_qform_is_sound(image):
        return image
    qform, code = get_qform(image.header)
    remark(_log, where, "the sform cannot be right; the qform, which can be, is used")
    header = image.header.copy()
    header.set_sform(qform, code)
    return type(image)(image.dataobj, header.get_best_affine(), header)


def _only_qform_is_sound(image: nib.Nifti1Image) -> bool:
    qform, code = get_qform(image.header)
    return not is_sound(image.affine) and qform is not None and code > 0 and is_sound(qform)


def itk_affine(header: nib.Nifti1Header) -> np.ndarray | None:
    """Voxels to RAS+ mm as ITK reads a header (ANTs 2.6, SimpleITK 2.5); None where it refuses.

    ITK takes the sform where its code is 1 or the qform is not set, unless it is sheared, and even
    then the edges of voxels from ``pixdim``; else the qform; where neither is set, the axes of
    the patient in its own order (LPS).
    """
    edges = np.asarray(header["pixdim"][1:4], np.float64)
    sform, s_code = header.get_sform(coded=True)
    qform, q_code = get_qform(header)
    if sform is None and q_code == 0:
        return np.diag([-edges[0], -edges[1], edges[2], 1.0])
    if sform is not None and (s_code == _SCANNER or q_code == 0):
        lengths = np.linalg.norm(sform[:3, :3], axis=0)
        if lengths.all():
            axes = sform[:3, :3] / lengths
            if np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
                affine = sform.copy()
                affine[:3, :3] = axes * edges
                return affine
    return qform


def apart_mm(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """How far two affines (4, 4) put a corner of an image apart at most."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[:3]])).reshape(3, -1)
    difference = one - other
    return float(np.abs(difference[:3, :3] @ corners + difference[:3, 3:]).max())


def orientation_note(image: nib.Nifti1Image) -> str | None:
    """What whoever applies our transform to a scan must know of its header; None mostly.

    Parameters
    ----------
    image : nibabel.Nifti1Image or nibabel.Nifti2Image
        As it is on disk.
    """
    notes: list[str] = []
    header = image.header
    ours, used = image.affine, "sform" if header["sform_code"] > 0 else "qform"
    if _only_qform_is_sound(image):
        ours, used = header.get_qform(), "qform"
        notes.append("The scan's sform cannot be right: its qform is used.")
    elif header["sform_code"] == 0 and header["qform_code"] == 0:
        used = "header as nibabel guesses them, for neither sform nor qform is set"
    itk = itk_affine(header)
    apart = apart_mm(ours, itk, image.shape) if itk is not None else np.inf
    if apart > DISAGREEMENT_MM:
        reads = (
            "refuses this header"
            if itk is None
            else f"reads this header otherwise, up to {apart:.1f} mm away"
        )
        notes.append(
            f"Coordinates of the scan are those of its {used}. ITK (ANTs, SimpleITK) {reads}: "
            "before it applies this transform to the scan, give sform and qform of a copy the "
            "affine that nibabel reads, with code 1."
        )
    return " ".join(notes) or None
