"""What became of every scan of a run, and the one exit code that it makes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bids_harmony.exceptions import (
    BidsHarmonyError,
    CannotCreateOutput,
    ExitCode,
    InputOutputError,
    MissingInput,
    MissingProgram,
    SiteError,
    TryAgain,
)
from bids_harmony.interfaces.base import Failure
from bids_harmony.workflows.anat import person_wf_name, scan_wf_name

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.workflows.execution import NodeRecord

__all__ = ["ScanStatus", "exit_code_of", "report_references", "status_of_scan", "why_unseen"]

logger = logging.getLogger(__name__)

_ERRORS: Mapping[int, type[BidsHarmonyError]] = {
    kind.exit_code: kind
    for kind in (
        SiteError, MissingInput, CannotCreateOutput, InputOutputError, TryAgain, MissingProgram
    )
}  # fmt: skip
_AGAIN = "Run the same command again."
_HINTS = {
    ExitCode.BAD_DATA: "Mend that scan; for a target site, --target-image names others.",
    ExitCode.INPUT_OUTPUT: _AGAIN,
    ExitCode.TRY_AGAIN: _AGAIN,
}


@dataclass(frozen=True)
class ScanStatus:
    """What became of one scan.

    Attributes
    ----------
    label : str
    state : {"done", "skipped", "failed"}
    error, message : str
        Class and words of the exception, empty where there was none.
    exit_code : int
    seconds : mapping
        Wall clock of each stage that ran.
    needs : str
        Label of the T1w because of which the scan was not run; empty where there is none.
    """

    label: str
    state: str
    error: str = ""
    message: str = ""
    exit_code: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    needs: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For ``status.json``: without what is empty."""
        hidden = ("label", "needs")
        return {k: v for k, v in asdict(self).items() if k not in hidden and v not in ("", {})}


def status_of_scan(
    scan: Scan, records: Iterable[NodeRecord], needs: Scan | None = None
) -> ScanStatus:
    """Collect the nodes of a scan's graph into its status.

    Parameters
    ----------
    scan : Scan
    records : iterable of NodeRecord
        All nodes of the run.
    needs : Scan, optional
        The T1w on which this scan depends.
    """
    every = list(records)
    own = _nodes(scan, every)
    seconds = {
        r.fullname.rpartition(".")[2]: round(r.seconds, 2)
        for r in own
        if r.state in ("done", "failed")
    }
    failed = next((r for r in own if r.state == "failed"), None)
    if failed is not None:
        failure = failed.failure or Failure(
            "Exception", f"See the crash file of {failed.fullname}", 1
        )
        return ScanStatus(
            scan.label, "failed", failure.error, failure.message, failure.exit_code, seconds
        )
    if all(r.state == "done" for r in own):
        return ScanStatus(scan.label, "done", seconds=seconds)
    if needs is not None:
        before = status_of_scan(needs, every)
        if before.state == "failed":
            message = f"Not run: it needs {needs.label}, which failed."
            return ScanStatus(
                scan.label, "failed", before.error, message, before.exit_code, seconds, needs.label
            )
    if any(r.state == "failed" for r in every):
        message = "Not run: the run was stopped at the first failure."
        return ScanStatus(scan.label, "failed", "", message, int(ExitCode.UNSPECIFIED), seconds)
    message = "Not finished: the run was stopped. The same command goes on from there."
    return ScanStatus(scan.label, "failed", "", message, int(ExitCode.TRY_AGAIN), seconds)


def exit_code_of(statuses: Iterable[ScanStatus]) -> ExitCode:
    """0 if all went well, the code of the failures if they are of one kind, else 1."""
    codes = {status.exit_code for status in statuses if status.state == "failed"}
    if not codes:
        return ExitCode.DONE
    return ExitCode(codes.pop()) if len(codes) == 1 else ExitCode.UNSPECIFIED


def report_references(statuses: Iterable[ScanStatus]) -> None:
    """Say which of the scans that are to show their sites' profiles failed.

    Memory that ran out for a moment stops the run before a profile is made of fewer scans: the
    profile would stay, and with it every image that is harmonized by it would be another one.

    Raises
    ------
    TryAgain
        Of a scan that would do if it were tried again.
    """
    for status in statuses:
        if status.state != "failed":
            continue
        if status.exit_code == ExitCode.TRY_AGAIN:
            raise _error_of(
                status, "A scan that is to show its site's profile could not be prepared"
            )
        logger.warning("Not among the scans that show a site: %s", status.message)


def why_unseen(site: str, statuses: Iterable[ScanStatus]) -> BidsHarmonyError | None:
    """Tell whoever needs a site's profile why there is none: what made its scans fail.

    Parameters
    ----------
    site : str
    statuses : iterable of ScanStatus
        Of the scans that were to show the site.

    Returns
    -------
    BidsHarmonyError or None
        With the code and the words of the scan that failed; None where there was no scan.
    """
    failed = [status for status in statuses if status.state == "failed"]
    # Codes above that of bad data are of what can be mended without other scans.
    worst = max(failed, key=lambda status: status.exit_code, default=None)
    return _error_of(worst, f"No usable scan shows the site {site}") if worst else None


def _error_of(status: ScanStatus, what: str) -> BidsHarmonyError:
    """The error that a scan failed with, for those that need the scan."""
    kind = _ERRORS.get(status.exit_code, BidsHarmonyError)
    hint = _HINTS.get(kind.exit_code, "")
    return kind(what, where=status.label, got=status.message.rstrip("."), hint=hint)


def _nodes(scan: Scan, records: Iterable[NodeRecord]) -> list[NodeRecord]:
    graphs = {scan_wf_name(scan.label)} | ({person_wf_name(scan)} if scan.together else set())
    return [r for r in records if graphs & set(r.fullname.split("."))]
