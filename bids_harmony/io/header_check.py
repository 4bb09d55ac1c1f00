"""What can be known of an image without reading its voxels, at a thousandth of the time.

Whoever reads the image refuses the same for the same reasons, and more: voxels that are no numbers
or have no contrast, bits that changed in the middle of a file.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from bids_harmony.io.checks import check_orientation, check_series_shape, check_shape
from bids_harmony.io.header import sound_orientation
from bids_harmony.io.nifti_file import (
    LONGEST_HEADER,
    announced_bytes,
    lazy_image,
    nifti_kind,
    read_content,
    truncated,
    unpack,
)
from bids_harmony.io.remarks import tell_once

__all__ = ["check_header"]

# Of the file; more than a packed header takes.
_BEGINNING = 2**14
# gzip ends with the length of what it holds, modulo this.
_WRAP = 2**32


def check_header(path: str | os.PathLike[str], *, series: bool = False) -> tuple[int, ...]:
    """Refuse an image that cannot be used, as far as its header and its length tell.

    Parameters
    ----------
    path : path-like
        `.nii` or `.nii.gz`.
    series : bool
        Whether it is to be a series of volumes or one volume.

    Returns
    -------
    tuple of int
        Its shape.

    Raises
    ------
    MissingInput, InputOutputError, ImageError
        As `imaging.volume.read_volume` and `diffusion.series.open_series`.
    """
    path = Path(path)
    header = _header(path)
    # Extensions that a header announces stand behind it.
    length = nifti_kind(header, path).header_class.sizeof_hdr
    image = lazy_image(header[:length].ljust(length, b"\0") + bytes(4), path)
    with tell_once([]):  # said where the voxels are read
        image = sound_orientation(image, str(path))
    (check_series_shape if series else check_shape)(image, str(path))
    check_orientation(image, str(path), quiet=True)
    return tuple(int(n) for n in image.shape)


def _header(path: Path) -> bytes:
    """The first bytes, unpacked; the file is as long as they announce."""
    try:
        # A pipe would be waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as stream:
            size = os.fstat(handle).st_size
            beginning = stream.read(_BEGINNING)
            end = os.pread(handle, 4, max(0, size - 4))
    except (OSError, ValueError):
        return read_content(path)[:LONGEST_HEADER]  # tells what is wrong
    # The small and the odd are read whole: pointers, empty files, what is no file.
    if size <= _BEGINNING:
        return _whole(path)
    if not beginning.startswith(b"\x1f\x8b"):
        if size < (needed := announced_bytes(beginning[:LONGEST_HEADER], path)):
            raise truncated(path, f"{size} of {needed} bytes")
        return beginning[:LONGEST_HEADER]
    try:
        header = unpack(beginning, LONGEST_HEADER, whole=False)[:LONGEST_HEADER]
    except zlib.error:
        return _whole(path)
    if len(header) < LONGEST_HEADER:
        return _whole(path)
    held, needed = int.from_bytes(end, "little"), announced_bytes(header, path)
    # Anything else may still be sound (several members, zeros at the end): then all is read.
    return header if held == needed % _WRAP else _whole(path)


def _whole(path: Path) -> bytes:
    content = read_content(path)
    if len(content) < (needed := announced_bytes(content[:LONGEST_HEADER], path)):
        raise truncated(path, f"{len(content)} of {needed} bytes")
    return content[:LONGEST_HEADER]
