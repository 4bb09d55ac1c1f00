"""Logs of earlier runs, read for the pages: what each was asked and what became of every scan."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bids_harmony.exceptions import ExitCode
from bids_harmony.redaction import record_without_folders

__all__ = [
    "FailedScan",
    "RunRecord",
    "Unit",
    "failed_scans",
    "read_object",
    "read_runs",
    "unit_of",
]

_LABEL = re.compile(r"sub-([0-9a-zA-Z+]+)(?:_ses-([0-9a-zA-Z+]+))?(?=_|$)")


class Unit(NamedTuple):
    """A participant, or one session of a participant: what has a page of its own."""

    subject: str
    session: str | None = None

    @property
    def label(self) -> str:
        """As file names begin: ``sub-01_ses-A``."""
        return f"sub-{self.subject}" + (f"_ses-{self.session}" if self.session else "")


@dataclass(frozen=True)
class RunRecord:
    """``logs/<run>``: when, with which settings and software, and what became of each scan."""

    run_id: str
    started: str = ""
    scans: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FailedScan:
    """A scan that the newest run which tried could not work on."""

    label: str
    run_id: str
    error: str
    message: str
    meaning: str
    left_out: bool = False


def unit_of(label: str) -> Unit | None:
    """The participant or session of a scan's label; None for anything else."""
    found = _LABEL.match(label)
    return Unit(found[1], found[2]) if found else None


def read_runs(output_dir: Path) -> list[RunRecord]:
    """Runs of the participant level of which there is a ``status.json``, the oldest first.

    What cannot be read (a run that was killed while it wrote) is passed over. Absolute paths are
    taken out of all texts.
    """
    runs = []
    for path in Path(output_dir).glob("logs/*/status.json"):
        status = read_object(path)
        if not status:
            continue
        settings = _toml(path.with_name("settings.toml"))
        if settings.get("analysis_level", "participant") != "participant":
            continue
        # A page is shown to others; the folders of this machine are not theirs.
        named = {
            str(settings[name]): f"<{name}>"
            for name in ("work_dir", "output_dir", "bids_dir")
            if name in settings
        }
        settings = record_without_folders(settings, named)
        provenance = settings.pop("provenance", {})
        scans = record_without_folders(status.get("scans"), named)
        runs.append(
            RunRecord(
                str(status.get("run_id", path.parent.name)),
                str(status.get("started", "")),
                scans if isinstance(scans, dict) else {},
                settings,
                provenance if isinstance(provenance, dict) else {},
            )
        )
    return sorted(runs, key=lambda run: (run.started, run.run_id))


def failed_scans(unit: Unit, runs: Iterable[RunRecord]) -> list[FailedScan]:
    """Scans of a unit that the newest run which tried them did not harmonize."""
    newest: dict[str, tuple[RunRecord, Mapping[str, Any]]] = {}
    for run in runs:
        newest |= {label: (run, s) for label, s in run.scans.items() if unit_of(label) == unit}
    failed = []
    for label, (run, status) in sorted(newest.items()):
        message = str(status.get("message", ""))
        if status.get("state") != "failed" and not status.get("error"):
            continue
        code = status.get("exit_code", 1)
        known = code in list(ExitCode) and code != ExitCode.DONE
        failed.append(
            FailedScan(
                label,
                run.run_id,
                str(status.get("error", "")),
                message,
                ExitCode(code).meaning if known else "left out",
                left_out=status.get("state") != "failed",
            )
        )
    return failed


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none or half of one."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
