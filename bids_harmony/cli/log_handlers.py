"""Where the program's words go: the screen, and a file of the run."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from bids_harmony.bids.redaction import RedactingFormatter, Redactor

__all__ = ["log_to_file", "log_to_screen", "stop_logging"]

logger = logging.getLogger("bids_harmony")


def log_to_screen(level: int) -> None:
    """Show messages of a level and above on the error stream."""
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    screen = _Screen(sys.stderr)
    screen.setLevel(level)
    screen.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s", "%H:%M:%S"))
    logger.addHandler(screen)


def log_to_file(path: Path, redactor: Redactor | None) -> None:
    """Keep every message in a file, without the user's folders if there is a redactor."""
    file = _LogFile(path, encoding="utf-8", delay=False)
    file.setLevel(logging.DEBUG)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    file.setFormatter(RedactingFormatter(form, redactor) if redactor else logging.Formatter(form))
    logger.addHandler(file)
    # A file that is cut off says so before its last message is on the screen: the exit code.
    logger.handlers.sort(key=lambda handler: isinstance(handler, _Screen))


def stop_logging() -> None:
    """Close what `log_to_screen` and `log_to_file` opened."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True


class _Screen(logging.StreamHandler):
    """The screen; a message for which there is no memory is lost, and that is said."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], MemoryError):
            # Nothing is put together here that would need memory itself.
            os.write(2, b"Out of memory: a message is lost\n")
        else:
            super().handleError(record)


class _LogFile(logging.FileHandler):
    """A log file that a full disk or memory cuts off: said once, and no reason to stop."""

    _cut_off = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError | MemoryError):
            self._tell(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError | MemoryError) -> None:
        if not self._cut_off:
            reason = "out of memory" if isinstance(error, MemoryError) else error
            print(f"The log file is cut off: {reason} [{self.baseFilename}]", file=sys.stderr)
        self._cut_off = True
