"""Whole files or no files: several jobs share one output folder, and any of them may be killed."""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bids_harmony.exceptions import CannotCreateOutput, InputOutputError, TryAgain

__all__ = ["open_atomically", "remove_leftovers", "write_atomically"]

_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")
# A file is written in seconds; who has not touched it for so long was killed. Process numbers say
# nothing about jobs on other machines, and locks do not reach across every file system.
_LEFT_AFTER_S = 3600.0


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
            # A disk that fails may say so only now; and a name must not survive a crash of the
            # machine without its content, because sidecars vouch for images.
            handle.flush()
            os.fsync(handle.fileno())
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


def remove_leftovers(folders: Iterable[Path]) -> int:
    """Remove the temporary files of jobs that were killed while they wrote.

    Parameters
    ----------
    folders : iterable of Path
        Looked through with all that is below them; one that is not there counts as empty.

    Returns
    -------
    int
        How many were removed.
    """
    removed = 0
    for folder in folders:
        for path in folder.rglob(".*.tmp"):
            try:
                if (
                    _TEMPORARY.fullmatch(path.name)
                    and time.time() - path.stat().st_mtime > _LEFT_AFTER_S
                ):
                    path.unlink()
                    removed += 1
            except OSError:
                continue  # gone meanwhile, or not ours to remove
    return removed
