"""What the reader of a file has to say of it: once for a scan, whatever the number of steps."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["remark", "tell_once"]


@dataclass
class _Telling:
    files: frozenset[str] | None
    said: set[str] = field(default_factory=set)


_now: ContextVar[_Telling | None] = ContextVar("telling", default=None)


@contextmanager
def tell_once(files: Collection[str] | None = None) -> Iterator[None]:
    """Within, a remark is a warning once, and of some files only; others are for debugging.

    Each of a scan's steps reads it again, and one of them is enough to speak.

    Parameters
    ----------
    files : collection of str, optional
        Paths, as readers get them; all by default.
    """
    token = _now.set(_Telling(None if files is None else frozenset(files)))
    try:
        yield
    finally:
        _now.reset(token)


def remark(log: logging.Logger, where: str, message: str, *args: object) -> None:
    """Warn of something in a file that can be used all the same.

    Parameters
    ----------
    log : logging.Logger
        Of the module that found it.
    where : str
        The file; comes first in the message.
    message : str
        For `args`, as in `logging`.
    """
    text = f"{where}: {message % args if args else message}"
    telling = _now.get()
    if telling is None:
        log.warning("%s", text)
    elif text not in telling.said and (telling.files is None or where in telling.files):
        telling.said.add(text)
        log.warning("%s", text)
    else:
        log.debug("%s", text)
