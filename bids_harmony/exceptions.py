"""Every error of the package; each class carries the exit code of the BIDS execution
specification.

A message says what happened, where, what was expected, what came and what to do. Classes subclass
the closest built-in so that callers who know nothing of this package can still catch them.
"""

from __future__ import annotations

import errno
import mmap
import os
from enum import IntEnum

__all__ = [
    "BidsHarmonyError",
    "CannotCreateOutput",
    "DataError",
    "ExitCode",
    "ImageError",
    "InputOutputError",
    "MissingInput",
    "MissingProgram",
    "NotBidsError",
    "NotFetched",
    "NothingSelected",
    "OutOfRange",
    "SiteError",
    "Terminated",
    "TryAgain",
    "UnknownLevel",
    "UsageError",
    "from_system",
]


class ExitCode(IntEnum):
    """Exit codes of the BIDS execution specification (with sysexits.h from 64 on)."""

    DONE = 0
    UNSPECIFIED = 1
    NOT_BIDS = 16
    UNKNOWN_LEVEL = 17
    NOTHING_SELECTED = 18
    USAGE = 64
    BAD_DATA = 65
    MISSING_INPUT = 66
    CANNOT_CREATE = 73
    INPUT_OUTPUT = 74
    TRY_AGAIN = 75
    MISSING_PROGRAM = 127

    @property
    def meaning(self) -> str:
        """What the code tells the user, in plain words."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.UNSPECIFIED: "errors of several kinds, or an unspecified one",
    ExitCode.NOT_BIDS: "the input is not a BIDS dataset",
    ExitCode.UNKNOWN_LEVEL: "unknown analysis level",
    ExitCode.NOTHING_SELECTED: "the filters selected nothing",
    ExitCode.USAGE: "wrong usage of the command line",
    ExitCode.BAD_DATA: "bad data",
    ExitCode.MISSING_INPUT: "missing input",
    ExitCode.CANNOT_CREATE: "cannot create output",
    ExitCode.INPUT_OUTPUT: "input/output error",
    ExitCode.TRY_AGAIN: "temporary failure, try again",
    ExitCode.MISSING_PROGRAM: "a required program or package is missing",
}


class BidsHarmonyError(Exception):
    """Base of all errors that the user is meant to read.

    Parameters
    ----------
    what : str
        What happened, one sentence.
    where : str, optional
        File, volume, field or option.
    expected, got : str, optional
        What was expected and what came.
    hint : str, optional
        What to do about it.
    """

    exit_code = ExitCode.UNSPECIFIED

    def __init__(
        self, what: str, *, where: str = "", expected: str = "", got: str = "", hint: str = ""
    ) -> None:
        self.what, self.where, self.hint = what, where, hint
        self.expected, self.got = expected, got
        parts = [f"{what} [{where}]" if where else what]
        if not where and (expected or got or hint) and what[-1:].isalnum():
            parts[0] += "."
        if expected:
            parts.append(f"Expected: {expected}.")
        if got:
            parts.append(f"Got: {got}.")
        if hint:
            parts.append(hint)
        super().__init__(" ".join(parts))

    def __reduce__(self):
        """Survive the way back from a worker process."""
        return _rebuild, (type(self), self.what, self.where, self.expected, self.got, self.hint)


def _rebuild(cls, what, where, expected, got, hint):
    return cls(what, where=where, expected=expected, got=got, hint=hint)


class UsageError(BidsHarmonyError, ValueError):
    """An option or combination of options that makes no sense."""

    exit_code = ExitCode.USAGE


class UnknownLevel(UsageError):
    """An analysis level that this version does not know."""

    exit_code = ExitCode.UNKNOWN_LEVEL


class NotBidsError(BidsHarmonyError, ValueError):
    """The input folder is not a BIDS dataset."""

    exit_code = ExitCode.NOT_BIDS


class NothingSelected(BidsHarmonyError, LookupError):
    """The filters left no scan to work on."""

    exit_code = ExitCode.NOTHING_SELECTED


class DataError(BidsHarmonyError, ValueError):
    """Data that cannot be used: contents contradict the format or each other."""

    exit_code = ExitCode.BAD_DATA


class OutOfRange(DataError):
    """A scan is too unlike everything that the model was trained on."""


class ImageError(DataError):
    """An image whose voxels or header cannot be used."""


class SiteError(DataError):
    """A site that cannot be resolved, or a target site that does not exist."""


class MissingInput(BidsHarmonyError, FileNotFoundError):
    """A file that should be there is not (a broken annex link, a missing sidecar, no model)."""

    exit_code = ExitCode.MISSING_INPUT


class NotFetched(MissingInput):
    """A file whose content stayed where the dataset was cloned from (git-annex, Git-LFS)."""


class CannotCreateOutput(BidsHarmonyError, PermissionError):
    """The output folder cannot be made or written."""

    exit_code = ExitCode.CANNOT_CREATE


class InputOutputError(BidsHarmonyError, OSError):
    """Reading or writing failed half-way (truncated gzip, I/O error)."""

    exit_code = ExitCode.INPUT_OUTPUT


class TryAgain(BidsHarmonyError, RuntimeError):
    """A failure that may pass: a killed worker, a full disk."""

    exit_code = ExitCode.TRY_AGAIN


class Terminated(KeyboardInterrupt):
    """SIGTERM came: like Ctrl-C no error, and nothing that a step may survive."""


class MissingProgram(BidsHarmonyError, ImportError):
    """An optional package or program that this job needs is not installed."""

    exit_code = ExitCode.MISSING_PROGRAM


# Libraries in C++ have no class of their own for it.
_NO_MEMORY = (
    os.strerror(errno.ENOMEM),
    "can't allocate memory",
    "not enough memory",
    "failed to map segment",
    "bad_alloc",
    "Failed to allocate memory",
    "out of memory",
)
# More than what the program keeps back for its last words.
_SMALL_BLOCK_BYTES = 1 << 24


def from_system(error: BaseException) -> BidsHarmonyError | None:
    """Say in our words that disk, file system or memory failed; None when it is none of these.

    Python that finds no memory for a call's frame does not always raise MemoryError: version 3.11
    goes on damaged, with a SystemError ("error return without exception set") or a TypeError
    ("'frame' object is not callable"). So any other error is followed by a look whether there is
    memory at all.

    Parameters
    ----------
    error : BaseException
        Of Python or a library; it becomes the cause.
    """
    reason: BidsHarmonyError | None = None
    code = error.errno if isinstance(error, OSError) else None
    told = isinstance(error, RuntimeError | ImportError | OSError) and any(
        words in str(error) for words in _NO_MEMORY
    )
    if isinstance(error, BidsHarmonyError):
        return error
    if isinstance(error, MemoryError) or told:
        reason = _out_of_memory()
    elif isinstance(error, OSError):
        where, got = str(error.filename or ""), error.strerror or str(error)
        if code in (errno.ENOSPC, errno.EDQUOT):
            reason = TryAgain(
                "No space left",
                where=where,
                got=got,
                hint="Make room and run the same command again.",
            )
        elif code == errno.EROFS:
            reason = CannotCreateOutput("The file system is read-only", where=where, got=got)
        else:
            reason = InputOutputError("Reading or writing failed", where=where, got=got)
    elif _no_small_block():
        reason = _out_of_memory(got=f"{type(error).__name__}: {error}")
    if reason is not None:
        reason.__cause__ = error
    return reason


def _out_of_memory(got: str = "") -> TryAgain:
    return TryAgain(
        "Out of memory",
        got=got,
        hint="Use fewer processes (--nprocs), a smaller --batch-size or more memory.",
    )


def _no_small_block() -> bool:
    """Whether the system refuses a block of memory that no process could do long without.

    Mapped, as the interpreter's own blocks are; nothing is written to it, so it is never filled.
    """
    try:
        mmap.mmap(-1, _SMALL_BLOCK_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError, SystemError):
        return True
    return False
