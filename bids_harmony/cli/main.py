"""The program: settings, log, checks, the level, and at the end one exit code with its meaning."""

from __future__ import annotations

import errno
import logging
import shlex
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from bids_harmony.cli.parser import parse_settings
from bids_harmony.exceptions import (
    BidsHarmonyError,
    CannotCreateOutput,
    ExitCode,
    InputOutputError,
    MissingProgram,
    TryAgain,
)
from bids_harmony.redaction import RedactingFormatter, Redactor
from bids_harmony.resources import started_together
from bids_harmony.settings import Settings

__all__ = ["main"]

logger = logging.getLogger("bids_harmony")

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it.
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    argv : sequence of str, optional
        Words after the program's name; default `sys.argv`.

    Returns
    -------
    int
        An `ExitCode`, or 130 after an interruption.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        settings = parse_settings(words)
    except SystemExit as finished:  # --help and --version
        return int(finished.code or 0)
    except BidsHarmonyError as error:
        print(f"bids_harmony: {error}\n{_last_line(error.exit_code)}", file=sys.stderr)
        return error.exit_code
    _log_to_screen(settings)
    try:
        code = _run(settings, words)
    finally:
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
    return code


def _run(settings: Settings, words: Sequence[str]) -> int:
    from bids_harmony.bids.derivative import finish_run, start_run
    from bids_harmony.bids.inventory import check_dataset
    from bids_harmony.cli.folders import check_folders

    run_log = None
    code: int
    try:
        if settings.analysis_level == "train" and started_together()[0] > 0:
            # The first process checks, prepares, logs and writes.
            logger.setLevel(logging.WARNING)
            return ExitCode(_level(settings.analysis_level).follow(settings))
        check_dataset(settings.bids_dir)
        check_folders(settings)
        if not settings.dry_run:
            run_log = start_run(settings, command=shlex.join(["bids_harmony", *words]))
            _log_to_file(run_log.folder / "bids_harmony.log", run_log.redactor)
        level = _level(settings.analysis_level)
        code = ExitCode(level.run(settings, log_dir=run_log.folder if run_log else None))
    except KeyboardInterrupt:
        logger.error("Interrupted; what was finished stays, the same command goes on from there.")
        code = _INTERRUPTED
    except BidsHarmonyError as error:
        code = _tell(error, settings)
    except ImportError as error:
        code = _tell(_as_missing_program(error), settings)
    except OSError as error:
        code = _tell(_as_own_error(error), settings)
    except MemoryError as error:
        reason = TryAgain(
            "Out of memory",
            hint="Use fewer processes (--nprocs), a smaller --batch-size or more memory.",
        )
        reason.__cause__ = error
        code = _tell(reason, settings)
    except Exception as error:
        # The last line of defence: the user gets a sentence, the log file the traceback.
        where = f"The traceback is in {run_log.folder / 'bids_harmony.log'}. " if run_log else ""
        logger.error(
            "Unexpected %s: %s. %sThis is a fault of the program: please report it; "
            "--debug shows the traceback here.",
            type(error).__name__,
            error,
            where,
        )
        _log_traceback(settings)
        code = ExitCode.UNSPECIFIED
    if run_log is not None:
        try:
            finish_run(run_log, code)
        except (BidsHarmonyError, OSError) as error:
            logger.error("The run's status could not be written: %s", error)
            if code == ExitCode.DONE:
                code = (
                    error.exit_code
                    if isinstance(error, BidsHarmonyError)
                    else ExitCode.INPUT_OUTPUT
                )
    logger.log(logging.INFO if code == ExitCode.DONE else logging.ERROR, _last_line(code))
    return code


def _level(name: str) -> ModuleType:
    """The module of an analysis level; imported now because it brings the heavy libraries."""
    return import_module(f"bids_harmony.cli.{name}")


def _tell(error: BidsHarmonyError, settings: Settings) -> ExitCode:
    logger.error("%s", error)
    _log_traceback(settings)
    return error.exit_code


def _log_traceback(settings: Settings) -> None:
    """Into the log file always, onto the screen with --debug."""
    logger.log(logging.ERROR if settings.debug != "no" else logging.DEBUG, traceback.format_exc())
    if settings.debug == "pdb":
        import pdb

        pdb.post_mortem(sys.exception().__traceback__)  # type: ignore[union-attr]


def _as_own_error(error: OSError) -> BidsHarmonyError:
    reason: BidsHarmonyError
    where, got = str(error.filename or ""), error.strerror or str(error)
    if error.errno in _DISK_FULL:
        reason = TryAgain(
            "No space left", where=where, got=got, hint="Make room and run the same command again."
        )
    elif error.errno == errno.EROFS:
        reason = CannotCreateOutput("The file system is read-only", where=where, got=got)
    else:
        reason = InputOutputError("Reading or writing failed", where=where, got=got)
    reason.__cause__ = error
    return reason


def _as_missing_program(error: ImportError) -> BidsHarmonyError:
    reason = MissingProgram(
        "A package is missing or broken",
        where=error.name or "",
        got=str(error),
        hint="Install bids_harmony again into a fresh environment.",
    )
    reason.__cause__ = error
    return reason


def _last_line(code: int) -> str:
    meaning = "interrupted" if code == _INTERRUPTED else ExitCode(code).meaning
    return (
        "bids_harmony finished successfully (exit code 0: done)"
        if code == 0
        else f"Exit code {code}: {meaning}"
    )


def _log_to_screen(settings: Settings) -> None:
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    screen = logging.StreamHandler(sys.stderr)
    screen.setLevel(logging.DEBUG if settings.verbosity else logging.INFO)
    screen.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s", "%H:%M:%S"))
    logger.addHandler(screen)


class _LogFile(logging.FileHandler):
    """A log file that a full disk cuts off: said once, and no reason to stop."""

    _cut_off = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._tell(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._cut_off:
            print(f"The log file is cut off: {error} [{self.baseFilename}]", file=sys.stderr)
        self._cut_off = True


def _log_to_file(path: Path, redactor: Redactor | None) -> None:
    file = _LogFile(path, encoding="utf-8", delay=False)
    file.setLevel(logging.DEBUG)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    file.setFormatter(RedactingFormatter(form, redactor) if redactor else logging.Formatter(form))
    logger.addHandler(file)
