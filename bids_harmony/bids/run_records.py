"""Logs of earlier runs, read for the pages: what each was asked and what became of every scan."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bids_harmony.bids.redaction import record_without_folders
from bids_harmony.exceptions import BidsHarmonyError, ExitCode, NotFetched
from bids_harmony.io.reading import is_too_deep, object_or_empty, read_text

__all__ = [
    "FailedScan",
    "RunRecord",
    "Unit",
    "failed_scans",
    "read_runs",
    "runs_of_units",
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


def read_runs(output_dir: Path, units: Set[Unit] | None = None) -> list[RunRecord]:
    """Runs of the participant level of which there is a ``status.json``, the oldest first.

    What cannot be read (a run that was killed while it wrote) is passed over. Absolute paths are
    taken out of all texts.

    Parameters
    ----------
    output_dir : Path
    units : set of Unit, optional
        Only runs that tried a scan of these; default all runs.
    """
    folders = (path.parent for path in Path(output_dir).glob("logs/*/status.json"))
    runs = [run for folder in folders if (run := _read_run(folder, units)) is not None]
    return sorted(runs, key=lambda run: (run.started, run.run_id))


def _read_run(folder: Path, units: Set[Unit] | None) -> RunRecord | None:
    try:
        status = object_or_empty(folder / "status.json")
    except NotFetched:
        return None  # in a clone; what other jobs did is in the sidecars, too
    told = status.get("scans")
    scans = (
        {k: v for k, v in told.items() if isinstance(v, dict)} if isinstance(told, dict) else {}
    )
    # Settings take most of the time: a job among thousands reads those of its own runs only.
    if not status or (units is not None and not any(unit_of(label) in units for label in scans)):
        return None
    settings = _toml(folder / "settings.toml")
    if settings.get("analysis_level", "participant") != "participant":
        return None
    # A page is shown to others; the folders of this machine are not theirs.
    named = {
        str(settings[name]): f"<{name}>"
        for name in ("work_dir", "output_dir", "bids_dir")
        if name in settings
    }
    settings = record_without_folders(settings, named)
    provenance = settings.pop("provenance", {})
    return RunRecord(
        str(status.get("run_id", folder.name)),
        str(status.get("started", "")),
        record_without_folders(scans, named),
        settings,
        provenance if isinstance(provenance, dict) else {},
    )


def runs_of_units(runs: Iterable[RunRecord]) -> dict[Unit, list[RunRecord]]:
    """Runs that tried a scan of each participant or session, in the order given."""
    found: dict[Unit, list[RunRecord]] = {}
    for run in runs:
        for unit in {unit for label in run.scans if (unit := unit_of(label))}:
            found.setdefault(unit, []).append(run)
    return found


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


def _toml(path: Path) -> dict[str, Any]:
    try:
        record = tomllib.loads(read_text(path))
    except (BidsHarmonyError, ValueError, RecursionError):
        return {}
    return {} if is_too_deep(record) else record
