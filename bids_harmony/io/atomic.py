"""Whole files or no files: several jobs share one output folder, and any of them may be killed."""

from __future__ import annotations

import errno
import filecmp
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bids_harmony.exceptions import CannotCreateOutput, InputOutputError, TryAgain

__all__ = [
    "link_atomically",
    "open_atomically",
    "remove_leftovers",
    "write_atomically",
    "write_with_folder",
]

_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
                errno.EEXIST}  # fmt: skip
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


def write_with_folder(path: Path, payload: bytes) -> None:
    """Write bytes as `write_atomically` does; the folder is made where it is not there."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, payload)


def link_atomically(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> bool:
    """Give a file a second name, or a copy where the file system knows no hard links.

    A file that is the same already, or has the same bytes, is left alone.

    Parameters
    ----------
    source : path-like
        The file.
    path : path-like
        Its other name; the folder must exist.

    Returns
    -------
    bool
        Whether anything was written.

    Raises
    ------
    CannotCreateOutput, TryAgain, InputOutputError
        See `open_atomically`.
    """
    # Equal size and time count as equal, so that a finished dataset is not read through again.
    if Path(path).is_file() and filecmp.cmp(source, path):
        return False
    with _moved_into_place(Path(path)) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
            stat = os.stat(source)
            # Not vital, and not allowed on every file system.
            with suppress(OSError):
                os.utime(temporary, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return True


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
    # Not tempfile: its files are readable by the owner alone, and outputs are shared.
    with _moved_into_place(Path(path)) as temporary, open(temporary, "xb") as handle:
        yield handle
        # A disk that fails may say so only now; and a name must not survive a crash of the
        # machine without its content, because sidecars vouch for images.
        handle.flush()
        os.fsync(handle.fileno())


@contextmanager
def _moved_into_place(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder; what is made under it gets the real one at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with _told(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        # Also after a rename: that of a hard link onto another name of the same file does nothing.
        temporary.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the file system refuses, as an error that names the output file."""
    try:
        yield
    except OSError as error:
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
