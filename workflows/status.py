"""What became of every scan of a run, and the one exit code that it makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bids_harmony.exceptions import ExitCode, TryAgain
from bids_harmony.interfaces.base import Failure
from bids_harmony.workflows.anat import scan_wf_name

if TYPE_CHECKING:
    from bids_harmony.bids.dataset import Scan
    from bids_harmony.workflows.execution import NodeRecord

__all__ = ["ScanStatus", "exit_code_of", "refuse_passing_failures", "status_of_scan"]


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
    """

    label: str
    state: str
    error: str = ""
    message: str = ""
    exit_code: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For ``status.json``: without what is empty."""
        return {k: v for k, v in asdict(self).items() if k != "label" and v not in ("", {})}


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
                scan.label, "failed", before.error, message, before.exit_code, seconds
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


def refuse_passing_failures(statuses: Iterable[ScanStatus]) -> None:
    """Stop before a site's look is made of fewer scans only because memory ran out for a moment.

    The look would stay, and with it every image that is harmonized by it would be another one.

    Raises
    ------
    TryAgain
        Of a scan that would do if it were tried again.
    """
    for status in statuses:
        if status.state == "failed" and status.exit_code == ExitCode.TRY_AGAIN:
            raise TryAgain(
                "A scan that is to show its site's look could not be prepared",
                where=status.label,
                got=status.message,
                hint="Run the same command again.",
            )


def _nodes(scan: Scan, records: Iterable[NodeRecord]) -> list[NodeRecord]:
    graph = scan_wf_name(scan.label)
    return [r for r in records if graph in r.fullname.split(".")]
