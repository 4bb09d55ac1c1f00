"""Files from outside, looked at before they are read.

A dataset may hold anything under a file's name: a folder, a pipe that never ends, a gigabyte of
text, a list nested ten thousand deep, a pointer to content that was not fetched. Each of these is
an error that names the file.
"""

from __future__ import annotations

import json
import os
import reprlib
import stat
from typing import Any

from bids_harmony.exceptions import (
    BidsHarmonyError,
    DataError,
    InputOutputError,
    MissingInput,
    NotFetched,
)
from bids_harmony.io.pointers import missing_content, pointer_error

__all__ = [
    "MOST_TENSORS",
    "MOST_TEXT",
    "is_too_deep",
    "object_or_empty",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_text",
    "shown",
    "size_in_words",
]

MOST_TEXT = 64 * 2**20
"""Bytes of a sidecar, table or settings file; the largest that are known have some megabytes."""
MOST_TENSORS = 4 * 2**30
"""Bytes of a file of weights or profiles; the largest published VGG has 0.6 GiB."""
_AT_LEAST = 2**16
_DEEPEST = 100
"""Levels; what walks through a value may take several calls for each."""
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2


def read_bytes(path: str | os.PathLike[str], *, most: int, holds: str = "file") -> bytes:
    """Read a regular file that is not larger than it may be.

    Parameters
    ----------
    path : path-like
    most : int
        Bytes; a larger file is refused before anything of it is read.
    holds : str
        What the file is, for messages.

    Raises
    ------
    MissingInput
        No such file, a folder, or content that was not fetched: a link that leads nowhere, a
        pointer of git-annex or Git-LFS.
    InputOutputError
        No regular file (a pipe, a device), or it cannot be read.
    DataError
        Larger than `most`.
    """
    try:
        # A pipe would be waited for; the flag has no meaning for files.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            content = _content(handle, path, most, holds)
        finally:
            os.close(handle)
    except FileNotFoundError as error:
        if isinstance(error, MissingInput):
            raise
        raise missing_content(path) from error
    except (OSError, ValueError) as error:
        if isinstance(error, BidsHarmonyError):
            raise
        # A name that holds a null byte is a ValueError.
        raise InputOutputError(
            f"the {holds} cannot be read",
            where=str(path),
            got=getattr(error, "strerror", None) or str(error),
            hint="Check its permissions and the disk.",
        ) from error
    if pointer := pointer_error(path, content, len(content)):
        raise pointer
    return content


def _content(handle: int, path: str | os.PathLike[str], most: int, holds: str) -> bytes:
    state = os.fstat(handle)
    if stat.S_ISDIR(state.st_mode):
        raise MissingInput(f"a folder where the {holds} should be", where=str(path))
    if not stat.S_ISREG(state.st_mode):
        raise InputOutputError(
            f"the {holds} is no regular file", where=str(path), got="a pipe, socket or device"
        )
    size = state.st_size
    if size <= most:
        with open(handle, "rb", closefd=False) as stream:
            # What is read counts: the size of a file in /proc is 0, and others may grow.
            content = stream.read(max(size, _AT_LEAST) + 1)
        size = len(content)
        if size <= max(state.st_size, _AT_LEAST) and size <= most:
            return content
    raise DataError(
        f"the {holds} is too large",
        where=str(path),
        expected=f"at most {size_in_words(most)}",
        got=f"{size_in_words(size)} and more" if size <= most else size_in_words(size),
    )


def read_text(path: str | os.PathLike[str], *, holds: str = "file", most: int = MOST_TEXT) -> str:
    """Read a file of UTF-8 text, with or without a byte order mark.

    Raises
    ------
    MissingInput, InputOutputError
        As `read_bytes`.
    DataError
        Larger than `most` bytes, or not UTF-8.
    """
    content = read_bytes(path, most=most, holds=holds)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"the {holds} is not UTF-8 text",
            where=str(path),
            got='UTF-16, as spreadsheets save "Unicode text"'
            if content[:2] in (b"\xff\xfe", b"\xfe\xff")
            else error.reason,
            hint="Save it as UTF-8.",
        ) from error


def read_json(path: str | os.PathLike[str], *, holds: str = "JSON file") -> Any:
    """Read a JSON file.

    Raises
    ------
    MissingInput, InputOutputError
        As `read_bytes`.
    DataError
        As `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, holds=holds), str(path))


def object_or_empty(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A JSON object that an earlier run wrote; empty where there is none or half of one.

    Raises
    ------
    NotFetched
        When it is there, but not its content.
    """
    try:
        record = read_json(path)
    except NotFetched:
        raise
    except BidsHarmonyError:
        return {}
    return record if isinstance(record, dict) else {}


def parse_json(text: str, where: str) -> Any:
    """Parse JSON that another program wrote.

    NaN and Infinity, which JSON does not know but many programs write, are let in.

    Raises
    ------
    DataError
        A syntax error (with line and column), nested too deep, a number of too many digits, or
        half a character (``"\\ud800"``), which no file could hold.
    """
    try:
        value = json.loads(text)
        if is_too_deep(value):
            raise RecursionError
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        raise DataError(
            "JSON with a syntax error",
            where=f"{where}, line {error.lineno}, column {error.colno}",
            got=error.msg,
            hint="Correct the file; other subjects are not affected."
            if "sub-" in os.path.basename(where)
            else "Correct the file.",
        ) from error
    except UnicodeEncodeError as error:
        raise DataError(
            "JSON with half a character", where=where, got=repr(error.object[error.start])
        ) from error
    except RecursionError as error:
        raise DataError(
            "JSON that is nested too deep", where=where, expected=f"at most {_DEEPEST} levels"
        ) from error
    except ValueError as error:
        raise DataError("JSON that cannot be read", where=where, got=str(error)) from error


def is_too_deep(value: Any) -> bool:
    """Whether lists and tables lie within each other too deep to walk through them safely."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = [v for v in level if isinstance(v, dict | list)]
        if not inner:
            return False
        level = [w for v in inner for w in (v.values() if isinstance(v, dict) else v)]
    return True


def shown(value: object) -> str:
    """A value for a message, never longer than a line: aliases of YAML can make it endless."""
    try:
        return _SHORT.repr(value)[:200]
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__} that is too long to be shown"


def size_in_words(n_bytes: int) -> str:
    """Bytes, or MiB from one of them on."""
    return f"{n_bytes / 2**20:.1f} MiB" if n_bytes >= 2**20 else f"{n_bytes} bytes"
