"""What becomes of messages where memory or disk ends."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from bids_harmony.cli.log_handlers import log_to_file, log_to_screen, stop_logging

logger = logging.getLogger("bids_harmony")


class _Costly:
    """Something that cannot be put into words for some reason."""

    def __init__(self, reason: BaseException) -> None:
        self.reason = reason

    def __str__(self) -> str:
        raise self.reason


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Both handlers; not a fixture, as pytest listens to whatever is there when a test begins."""
    log_to_screen(logging.INFO)
    log_to_file(path, None)
    try:
        yield
    finally:
        stop_logging()


def test_a_message_without_memory_is_lost_and_the_next_is_not(tmp_path, capfd):
    with logging_to(tmp_path / "log"):
        logger.error("before")
        logger.error("%s", _Costly(MemoryError()))
        logger.error("after")
    told = capfd.readouterr().err
    assert "Out of memory: a message is lost" in told and "ERROR: after" in told
    assert f"The log file is cut off: out of memory [{tmp_path / 'log'}]" in told
    assert "Traceback" not in told and "Call stack" not in told
    kept = (tmp_path / "log").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in kept] == ["before", "after"]


def test_a_full_disk_is_told_once(tmp_path, capfd, monkeypatch):
    def full(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    with logging_to(tmp_path / "log"):
        (file,) = (h for h in logger.handlers if isinstance(h, logging.FileHandler))
        with monkeypatch.context() as patch:
            patch.setattr(file, "stream", SimpleNamespace(write=full, flush=file.stream.flush))
            logger.error("one")
            logger.error("two")
    told = capfd.readouterr().err
    assert told.count("The log file is cut off: [Errno 28]") == 1
    # What it stopped at comes after it: the last line of a run is its exit code.
    first, *_, last = told.splitlines()
    assert first.startswith("The log file is cut off") and last.endswith("ERROR: two")
    assert "ERROR: one" in told and "ERROR: two" in told and "Traceback" not in told


def test_a_mistake_in_a_message_is_still_shown(tmp_path, capfd):
    with logging_to(tmp_path / "log"):
        logger.error("%d", "no number")
    assert "TypeError" in capfd.readouterr().err
