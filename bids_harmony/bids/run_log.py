"""The record of one run: ``logs/<run>``, begun before it and closed after it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bids_harmony import __version__
from bids_harmony.bids.derivative import write_json, write_text
from bids_harmony.bids.inventory import read_json_object
from bids_harmony.bids.redaction import Redactor
from bids_harmony.bids.software import software_versions
from bids_harmony.exceptions import ExitCode
from bids_harmony.settings import Settings

__all__ = ["RunLog", "finish_run", "start_run"]


@dataclass(frozen=True)
class RunLog:
    """``logs/<run>`` of one run."""

    run_id: str
    folder: Path
    started: str
    redactor: Redactor | None = None


def start_run(settings: Settings, *, command: str) -> RunLog:
    """Open ``logs/<run>`` with the run's settings and status; call `finish_run` at the end.

    Parameters
    ----------
    settings : Settings
    command : str
        The command line, kept as provenance.
    """
    import tomli_w

    started = datetime.now(UTC)
    run_id = f"{started:%Y%m%dT%H%M%S}-{os.urandom(4).hex()}"
    redactor = Redactor(settings) if settings.anonymize_provenance else None
    run_log = RunLog(
        run_id,
        settings.output_dir / "logs" / run_id,
        started.isoformat(timespec="seconds"),
        redactor,
    )
    provenance = {
        "run_id": run_id,
        "command": command,
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "started": run_log.started,
        "software": software_versions(),
    }
    record = {**settings.to_dict(), "provenance": provenance}
    if redactor:
        record = redactor.record(record)
    write_text(run_log.folder / "settings.toml", tomli_w.dumps(record))
    write_json(
        run_log.folder / "status.json",
        {"state": "running", "run_id": run_id, "started": run_log.started},
    )
    return run_log


def finish_run(run_log: RunLog, code: int) -> None:
    """Write the run's last word into ``status.json``; what others added there stays."""
    path = run_log.folder / "status.json"
    known = code in list(ExitCode)
    ended = datetime.now(UTC)
    seconds = (ended - datetime.fromisoformat(run_log.started)).total_seconds()
    record: dict[str, Any] = {
        "state": "finished" if code == ExitCode.DONE else "failed",
        "run_id": run_log.run_id,
        "exit_code": int(code),
        "meaning": ExitCode(code).meaning if known else "stopped by a signal",
        "started": run_log.started,
        "ended": ended.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
    }
    added = read_json_object(path) if path.exists() else {}
    record |= {name: value for name, value in added.items() if name not in record}
    if run_log.redactor is None:
        write_json(path, record)
        return
    write_json(path, run_log.redactor.record(record))
    # Tracebacks of nodes, which Nipype wrote.
    for crash in run_log.folder.glob("crash-*"):
        text = crash.read_text(encoding="utf-8", errors="replace")
        write_text(crash, run_log.redactor.text(text))
