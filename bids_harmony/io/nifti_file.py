"""The bytes of image files: read and unpacked as far as a header and the memory allow."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from bids_harmony.exceptions import ImageError, InputOutputError
from bids_harmony.io.header import clean_header, sound_orientation
from bids_harmony.io.reading import read_bytes, size_in_words
from bids_harmony.resources import available_memory_mb

__all__ = [
    "announced_bytes",
    "check_size",
    "lazy_image",
    "nifti_kind",
    "parse_nifti",
    "read_content",
    "truncated",
    "unpack",
]

LONGEST_HEADER = 540
"""Bytes of a NIfTI-2 header."""
TRAILING = 2**20
"""Bytes that may follow the last voxel."""


def read_content(path: Path, *, most: int | None = None) -> bytes:
    """Everything a file holds, unpacked if it is gzip, whose checksum is verified.

    Parameters
    ----------
    path : Path
    most : int, optional
        Bytes that it may hold, unpacked. By default it must be an image, and may hold what its
        header announces (`check_size` before anything more is unpacked) and 1 MiB more.

    Raises
    ------
    MissingInput
        No such file, or one whose content was not fetched (`reading.read_bytes`).
    InputOutputError
        The file cannot be read, or is truncated or damaged.
    ImageError, DataError
        It holds more than it may.
    """
    holds = "image" if most is None else "file"
    content = read_bytes(path, most=_memory() if most is None else most, holds=holds)
    if not content:
        raise InputOutputError("the file is empty", where=str(path), got="0 bytes")
    if not content.startswith(b"\x1f\x8b"):
        if most is None:
            announced_bytes(content, path)
        return content
    try:
        if most is None:
            header = unpack(content, LONGEST_HEADER, whole=False)
            if len(header) < LONGEST_HEADER:
                header = unpack(content, LONGEST_HEADER)  # tells whether it was cut off
            most = announced_bytes(header, path) + TRAILING
        # To its end, where the checksum stands: nibabel stops at the last voxel and would take
        # a flipped bit for signal.
        unpacked = unpack(content, most)
    except (EOFError, zlib.error) as error:
        raise truncated(path, str(error)) from error
    if len(unpacked) > most:
        raise ImageError(
            "the file unpacks to more than it announces",
            where=str(path),
            expected=f"at most {size_in_words(most)}",
            hint="It is damaged, or made to fill the memory.",
        )
    return unpacked


def unpack(content: bytes, most: int, *, whole: bool = True) -> bytes:
    """Unpack gzip, but hardly more than a number of bytes: then one more tells that there is more.

    Parameters
    ----------
    content : bytes
        One gzip member or several; zeros may follow, as `gzip` has it.
    most : int
    whole : bool
        Verify to the end; otherwise the first `most` bytes are all that is looked at.

    Raises
    ------
    zlib.error
        Damaged; the checksum is verified.
    EOFError
        Cut off.
    """
    parts, total, rest = [], 0, memoryview(content)
    while True:
        member = zlib.decompressobj(wbits=31)
        part = member.decompress(rest, most + 1 - total)
        parts.append(part)
        total += len(part)
        if total > most or not whole:
            break
        if not member.eof:
            raise EOFError("Compressed file ended before the end-of-stream marker was reached")
        rest = memoryview(member.unused_data.lstrip(b"\0"))
        if not rest:
            break
    return b"".join(parts)


def announced_bytes(content: bytes, path: Path) -> int:
    """Bytes that a NIfTI header says its file has; refused where they do not fit into memory."""
    kind = nifti_kind(content, path)
    length = kind.header_class.sizeof_hdr
    try:
        header = kind.header_class(content[:length].ljust(length, b"\0"), check=False)
        shape = header.get_data_shape()
        offset, width = header.get_data_offset(), header.get_data_dtype().itemsize
    except (HeaderDataError, LookupError, ValueError, OverflowError) as error:
        raise _unsound(path, error) from error
    check_size(shape, width, str(path))
    # A negative length or a place behind all memory is told when the image is parsed.
    voxels = math.prod(shape) if min(shape, default=0) > 0 else 0
    return min(max(0, offset), _memory()) + voxels * width


def check_size(shape: Sequence[int], width: int, where: str) -> None:
    """Refuse an image that the memory of this job cannot hold.

    Parameters
    ----------
    shape : sequence of int
    width : int
        Bytes of a voxel as it is stored.
    where : str

    Notes
    -----
    Needed are the voxels twice as they are stored, and one volume twice as float32.
    """
    needed = 2 * width * math.prod(shape) + 8 * math.prod(shape[:3])
    if min(shape, default=0) > 0 and needed > _memory():
        raise ImageError(
            "the image is larger than the memory of this job",
            where=where,
            expected=f"a need of at most {size_in_words(_memory())}",
            got=f"{'x'.join(str(n) for n in shape)} voxels of {width} bytes, which need "
            f"{size_in_words(needed)}",
            hint="If the header is right, run with more memory.",
        )


def _memory() -> int:
    """Bytes that this job may use."""
    return available_memory_mb() * 2**20


def nifti_kind(content: bytes, path: Path) -> Any:
    """The class of image that a file's first bytes are of; refused where they are of none."""
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        if kind.header_class.may_contain_header(content):
            return kind
    raise ImageError(
        "not a NIfTI image",
        where=str(path),
        expected="NIfTI-1 or NIfTI-2 in one file",
        got=f"a file that starts with {content[:8]!r}",
        hint="Convert it to NIfTI; in Python, give the image that nibabel.load reads from it.",
    )


def _unsound(path: Path, error: Exception) -> ImageError:
    return ImageError(
        "not a NIfTI image", where=str(path), expected="a sound header", got=str(error)
    )


def truncated(path: Path, got: str) -> InputOutputError:
    """The error of a file that ends too early, or whose bits have changed."""
    return InputOutputError(
        "the file is truncated or damaged",
        where=str(path),
        got=got,
        hint="Copy or convert it again.",
    )


def parse_nifti(content: bytes, path: Path, *, keep_header: bool = False) -> nib.Nifti1Image:
    """The image that a single-file NIfTI-1 or NIfTI-2 holds, its orientation made sound.

    Parameters
    ----------
    content : bytes
    path : Path
        For messages.
    keep_header : bool
        Keep extensions and texts of the header, which may tell of a person; they go otherwise
        (`header.clean_header`).

    Raises
    ------
    ImageError
        Something else.
    InputOutputError
        Fewer bytes than the header announces.
    """
    image = lazy_image(content, path)
    proxy: Any = image.dataobj
    needed = proxy.offset + math.prod(image.shape) * image.get_data_dtype().itemsize
    if len(content) < needed:
        raise truncated(path, f"{len(content)} of {needed} bytes")
    if not keep_header:
        clean_header(image.header)
    return sound_orientation(image, str(path))


def lazy_image(content: bytes, path: Path) -> nib.Nifti1Image:
    """The image whose header stands at the beginning of some bytes; its voxels are not looked at.

    Raises
    ------
    ImageError
        No sound header.
    """
    kind = nifti_kind(content, path)
    try:
        return kind.from_bytes(content)
    except (HeaderDataError, ImageFileError, LookupError, ValueError, OverflowError) as error:
        raise _unsound(path, error) from error
