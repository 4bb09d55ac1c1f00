"""Names in a clone whose content was not fetched: git-annex and Git-LFS leave three stand-ins.

A locked annexed file is a link to nowhere (or, where the file system knows no links, a text with
the link's target), an unlocked one a text ``/annex/objects/KEY``, a file of Git-LFS a text of
three lines. Each stands where a file is, so that it is never "no such file", nor bad data.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from pathlib import Path

from bids_harmony.exceptions import MissingInput, NotFetched

__all__ = ["check_content", "is_named", "missing_content", "pointer_error", "subdataset_error"]

MOST_POINTER = 2**15
"""Bytes; git-annex takes nothing larger for a pointer, and one of Git-LFS has 1 kB at most."""
_LINE = 2**12
_ANNEX = re.compile(rb"(?:[./\\][^\t\r\n]*)?[/\\]annex[/\\]objects[/\\][^\t\r\n]+")
# The second is what it said before its first release; git-lfs still reads it.
_LFS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")


def is_named(path: str | os.PathLike[str]) -> bool:
    """Whether there is anything under a name, a link to nowhere included."""
    return os.path.lexists(path)


def pointer_error(path: str | os.PathLike[str], content: bytes, size: int) -> NotFetched | None:
    """The error for a stand-in; None for any other content.

    Parameters
    ----------
    path : path-like
        For the message.
    content : bytes
        The first bytes of the file, 4 kB or all.
    size : int
        Bytes of the whole file.
    """
    if size > MOST_POINTER:
        return None
    line = content[:_LINE].partition(b"\n")[0].rstrip(b"\r")
    if line.startswith(_LFS):
        return NotFetched(
            "the content is not here, only its Git-LFS pointer",
            where=str(path),
            hint="Fetch it in the dataset's folder with: git lfs pull",
        )
    if _ANNEX.fullmatch(line):
        return NotFetched(
            "the content is not here, only its git-annex pointer",
            where=str(path),
            got=line.decode(errors="replace")[:200],
            hint=_fetch(path),
        )
    return None


def missing_content(path: str | os.PathLike[str]) -> MissingInput:
    """The error for a file that cannot be opened; a broken link is mostly annexed content."""
    if os.path.islink(path):
        return NotFetched(
            "the link points to nothing",
            where=str(path),
            got=f"a link to {os.readlink(path)}",
            hint=_fetch(path),
        )
    return MissingInput("no such file", where=str(path))


def subdataset_error(folder: str | os.PathLike[str]) -> NotFetched:
    """The error for an empty folder where a dataset of its own belongs."""
    return NotFetched(
        "the folder is empty: a subdataset that was not installed",
        where=str(folder),
        hint=f"A subdataset is installed with: datalad get -n {shlex.quote(str(folder))} "
        "(git submodule update --init)",
    )


def check_content(path: str | os.PathLike[str]) -> None:
    """Refuse a file whose content is not here, at the cost of a look at its size.

    Other faults are left to who reads it.

    Raises
    ------
    MissingInput
        No such file.
    NotFetched
        A link to nowhere, or a pointer of git-annex or Git-LFS.
    """
    try:
        state = os.stat(path)
        if not stat.S_ISREG(state.st_mode) or state.st_size > MOST_POINTER:
            return
        with Path(path).open("rb") as stream:
            content = stream.read(_LINE)
    except FileNotFoundError as error:
        raise missing_content(path) from error
    except OSError:
        return
    if pointer := pointer_error(path, content, state.st_size):
        raise pointer


def _fetch(path: str | os.PathLike[str]) -> str:
    return f"Content of an annex is fetched with: datalad get {shlex.quote(str(path))}"
