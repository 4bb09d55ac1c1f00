"""Whole files or no files: several jobs share one output folder, and any of them may be killed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bids_harmony.exceptions import CannotCreateOutput, InputOutputError, TryAgain

__all__ = ["open_atomically", "write_atomically"]

_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def write_atomically(path: str | os.PathLike[str], payload: bytes) -> None:
    """Write bytes under a temporary name in the same folder, then move them into place.

    Parameters
    ----------
    path : path-like
        Where the file shall be; its folder must exist.
    payload : bytes
        The whole content.

    Raises
    ------
    CannotCreateOutput, TryAgain, InputOutputError
        See `open_atomically`.
    """
    with open_atomically(path) as handle:
        handle.write(payload)


@contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file in the same folder; it moves into place when all went well.

    Parameters
    ----------
    path : path-like
        Where the file shall be; its folder must exist.

    Raises
    ------
    CannotCreateOutput
        The folder is missing or may not be written.
    TryAgain
        No space is left.
    InputOutputError
        Any other failure of the file system. In every case nothing half-written stays behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        # Not tempfile: its files are readable by the owner alone, and outputs are shared.
        with open(temporary, "xb") as handle:
            yield handle
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in _NO_SPACE:
            raise TryAgain(
                "no space left for an output file", where=str(path), hint="Free some space."
            ) from error
        if error.errno in _NOT_ALLOWED:
            raise CannotCreateOutput(
                "an output file cannot be written", where=str(path), got=str(error)
            ) from error
        raise InputOutputError(
            "writing an output file failed", where=str(path), got=str(error)
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
