"""The program: settings, log, checks, the level, and at the end one exit code with its meaning."""

from __future__ import annotations

import gc
import logging
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from bids_harmony.cli.log_handlers import log_to_file, log_to_screen, stop_logging
from bids_harmony.cli.other_apps import explained
from bids_harmony.cli.parser import parse_settings, parse_words
from bids_harmony.exceptions import (
    BidsHarmonyError,
    ExitCode,
    MissingProgram,
    Terminated,
    from_system,
)
from bids_harmony.io.remarks import tell_once
from bids_harmony.resources import (
    keep_freed_memory,
    no_rust_backtraces,
    one_blas_thread,
    started_together,
)
from bids_harmony.settings import Settings

if TYPE_CHECKING:
    from bids_harmony.bids.run_log import RunLog

__all__ = ["main"]

logger = logging.getLogger("bids_harmony")

# 128 + signal, as shells report it.
_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
_SPARE_BYTES = 1 << 22


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    argv : sequence of str, optional
        Words after the program's name; default `sys.argv`.

    Returns
    -------
    int
        An `ExitCode`, or 130 after an interruption (SIGINT), 143 after SIGTERM.
    """
    one_blas_thread()
    no_rust_backtraces()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        settings = parse_settings(words)
    except SystemExit as finished:  # --help and --version
        return int(finished.code or 0)
    except BidsHarmonyError as error:
        print(f"bids_harmony: {error}\n{_last_line(error.exit_code)}", file=sys.stderr)
        return error.exit_code
    if not _starts_workers(settings):
        keep_freed_memory()
    log_to_screen(logging.DEBUG if settings.verbosity else logging.INFO)
    try:
        with _sigterm_raises(), tell_once():
            code = _run(settings, words)
    finally:
        stop_logging()
    return code


def _run(settings: Settings, words: Sequence[str]) -> int:
    from bids_harmony.bids.inventory import check_dataset
    from bids_harmony.bids.run_log import finish_run, start_run
    from bids_harmony.cli.folders import check_folders

    run_log = None
    code: int
    # Where memory is exhausted, there must be some left to say so.
    spare = bytearray(_SPARE_BYTES)
    try:
        if settings.analysis_level == "train" and started_together()[0] > 0:
            # The first process checks, prepares, logs and writes.
            logger.setLevel(logging.WARNING)
            return ExitCode(_level(settings.analysis_level).follow(settings))
        check_dataset(settings.bids_dir)
        check_folders(settings)
        if settings.write_slurm and not settings.dry_run:
            code = ExitCode(_level("slurm").run(settings, parse_words(words)))
        else:
            if not settings.dry_run:
                run_log = start_run(settings, command=shlex.join(["bids_harmony", *words]))
                log_to_file(run_log.folder / "bids_harmony.log", run_log.redactor)
            _tell_of_flags(settings, words)
            if _starts_workers(settings):
                from bids_harmony.workflows.workers import start_server

                # It imports for seconds, in which this process looks at the dataset.
                start_server()
            level = _level(settings.analysis_level)
            code = ExitCode(level.run(settings, log_dir=run_log.folder if run_log else None))
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Terminated)
        if terminated:
            # A second one must not spoil the last words; whoever is in haste sends SIGKILL.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        logger.error(
            "%s; what was finished stays, the same command goes on from there.",
            "Terminated by SIGTERM (a time limit, or somebody's kill)"
            if terminated
            else "Interrupted",
        )
        code = _TERMINATED if terminated else _INTERRUPTED
    except BidsHarmonyError as error:
        code = _tell(error, settings)
    except Exception as error:
        spare.clear()
        code = _tell_unforeseen(error, settings, run_log)
    spare.clear()
    if run_log is not None:
        try:
            finish_run(run_log, code)
        except (BidsHarmonyError, OSError, MemoryError) as error:
            reason = from_system(error)
            logger.error("The run's status could not be written: %s", reason)
            if code == ExitCode.DONE and reason is not None:
                code = reason.exit_code
    logger.log(logging.INFO if code == ExitCode.DONE else logging.ERROR, _last_line(code))
    return code


def _starts_workers(settings: Settings) -> bool:
    """Whether the level will hand steps to other processes; of one person, who may have one scan,
    that is seen later."""
    only_texts = settings.reports_only or settings.boilerplate_only
    works = settings.analysis_level in ("participant", "train") and not settings.dry_run
    several = settings.nprocs > 1 and len(settings.participant_labels) != 1
    return works and several and not only_texts


def _tell_of_flags(settings: Settings, words: Sequence[str]) -> None:
    for sentence in explained(words):
        logger.info("%s", sentence)
    asked = parse_words(words).get("omp_nthreads", 0)
    if asked > settings.omp_nthreads:
        logger.warning(
            "--omp-nthreads %d is more than --nprocs allows; taken: %d",
            asked,
            settings.omp_nthreads,
        )


@cache
def _level(name: str) -> ModuleType:
    """The module of a level; imported now because it brings the heavy libraries."""
    module = import_module(f"bids_harmony.cli.{name}")
    # What was imported stays: to search it for garbage took a seventh of the time of a plan.
    gc.freeze()
    return module


def _tell(error: BidsHarmonyError, settings: Settings) -> ExitCode:
    logger.error("%s", error)
    _log_traceback(settings)
    return error.exit_code


def _tell_unforeseen(error: Exception, settings: Settings, run_log: RunLog | None) -> ExitCode:
    """Disk, memory and packages fail in ways of their own; the rest is a fault of the program."""
    if reason := from_system(error):
        return _tell(reason, settings)
    if isinstance(error, ImportError):
        return _tell(_as_missing_program(error), settings)
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
    return ExitCode.UNSPECIFIED


def _log_traceback(settings: Settings) -> None:
    """Into the log file always, onto the screen with --debug."""
    logger.log(logging.ERROR if settings.debug != "no" else logging.DEBUG, traceback.format_exc())
    if settings.debug == "pdb":
        import pdb

        pdb.post_mortem(sys.exception().__traceback__)  # type: ignore[union-attr]


def _as_missing_program(error: ImportError) -> BidsHarmonyError:
    reason = MissingProgram(
        "A package is missing or broken",
        where=error.name or "",
        got=str(error),
        hint="Install bids_harmony again into a fresh environment.",
    )
    reason.__cause__ = error
    return reason


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Treat SIGTERM, which SLURM sends at a time limit, as Ctrl-C: clean up, say so, end."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _last_line(code: int) -> str:
    stopped = {_INTERRUPTED: "interrupted", _TERMINATED: "terminated"}
    meaning = stopped.get(code) or ExitCode(code).meaning
    return (
        "bids_harmony finished successfully (exit code 0: done)"
        if code == 0
        else f"Exit code {code}: {meaning}"
    )
