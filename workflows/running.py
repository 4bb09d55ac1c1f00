"""Run the graphs of some scans and keep the books of what became of each."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.exceptions import BidsHarmonyError, ExitCode
from bids_harmony.interfaces.base import Failure
from bids_harmony.workflows.status import ScanStatus, status_of_scan

if TYPE_CHECKING:
    from nipype.pipeline.engine import Workflow

    from bids_harmony.bids.scan import Scan
    from bids_harmony.settings import Settings
    from bids_harmony.sites.prepared_scans import TrainingScan
    from bids_harmony.workflows.execution import NodeRecord

__all__ = [
    "clear_work",
    "failed_status",
    "node_record",
    "prepare_scans",
    "run_scans",
    "write_status",
]

logger = logging.getLogger(__name__)


def run_scans(
    settings: Settings,
    name: str,
    work: Sequence[Scan],
    scans: Sequence[Scan],
    init_scan_wf: Callable[[Scan, Scan | None], Workflow],
    log_dir: Path,
    *,
    is_finished: Callable[[Scan, Scan | None], bool] = lambda scan, t1w: False,
) -> tuple[dict[str, ScanStatus], dict[str, NodeRecord]]:
    """Build and run the graph of some scans.

    A T1w that cannot be used does not cost the person's other scans: they go through the next
    one, or without.

    Parameters
    ----------
    settings : Settings
    name : str
        Of the graph and of its folder in the work folder.
    work : sequence of Scan
    scans : sequence of Scan
        All among which a T1w of the same person may be.
    init_scan_wf : callable
        As for `cohort.init_cohort_wf`.
    log_dir : Path
        Gets crash files.
    is_finished : callable
        Whether a scan that is to go through another T1w than the first was finished before.

    Returns
    -------
    statuses : dict of label to ScanStatus
    records : dict of name to NodeRecord
        What became of every node.
    """
    from bids_harmony.workflows.cohort import companion_of

    statuses: dict[str, ScanStatus] = {}
    records: dict[str, NodeRecord] = {}
    while True:
        done, new = _run_once(settings, name, work, scans, init_scan_wf, log_dir)
        statuses |= done
        records |= new
        # What may pass by itself must not change through which T1w a scan goes.
        lost = {
            status.needs
            for status in done.values()
            if status.exit_code not in (ExitCode.TRY_AGAIN, ExitCode.UNSPECIFIED)
        } - {""}
        if not lost or settings.stop_on_first_crash:
            for label in (label for label, status in done.items() if status.needs):
                logger.error("%s failed: %s", label, done[label].message)
            return statuses, records
        scans = [scan for scan in scans if scan.label not in lost]
        again = [scan for scan in work if done[scan.label].needs in lost]
        work = []
        for scan in again:
            t1w = companion_of(scan, scans)
            logger.warning(
                "%s: %s failed; it goes %s",
                scan.label,
                done[scan.label].needs,
                f"through {t1w.label}" if t1w else "to the reference without a T1w",
            )
            if is_finished(scan, t1w):
                statuses[scan.label] = ScanStatus(scan.label, "skipped")
            else:
                work.append(scan)
        if not work:
            return statuses, records


def _run_once(
    settings: Settings,
    name: str,
    work: Sequence[Scan],
    scans: Sequence[Scan],
    init_scan_wf: Callable[[Scan, Scan | None], Workflow],
    log_dir: Path,
) -> tuple[dict[str, ScanStatus], dict[str, NodeRecord]]:
    from bids_harmony.io.atomic import remove_leftovers
    from bids_harmony.workflows.cohort import (
        companion_of,
        init_cohort_wf,
        person_folder,
        scan_folder,
    )
    from bids_harmony.workflows.execution import run_graph
    from bids_harmony.workflows.loading import LoadingAhead
    from bids_harmony.workflows.precomputed import anatomy_hash
    from bids_harmony.workflows.workers import is_alone, start_server

    remove_leftovers({settings.output_dir / f"sub-{scan.subject}" for scan in work})
    statuses: dict[str, ScanStatus] = {}
    readable = []
    for scan in work:
        try:
            anatomy_hash(scan, settings, t1w=companion_of(scan, scans))
            readable.append(scan)
        except BidsHarmonyError as error:
            statuses[scan.label] = failed_status(scan, error)
        if settings.clean_workdir:
            shutil.rmtree(scan_folder(settings, name, scan), ignore_errors=True)
            shutil.rmtree(person_folder(settings, name, scan), ignore_errors=True)
    if not readable:
        return statuses, {}
    workflow = init_cohort_wf(
        settings=settings, work=readable, scans=scans, init_scan_wf=init_scan_wf, name=name
    )
    records: dict[str, NodeRecord] = {}
    ahead = None
    if is_alone(readable):
        if settings.omp_nthreads > 1:
            ahead = LoadingAhead(settings.voxel_mm)
        settings = replace(settings, nprocs=1)
    elif settings.nprocs > 1:
        start_server()

    def take_stock() -> None:
        for scan in readable:
            status = status_of_scan(scan, records.values(), needs=companion_of(scan, scans))
            if status.state == "failed" and not status.needs:
                logger.error("%s failed: %s", scan.label, status.message)
            statuses[scan.label] = status

    try:
        run_graph(workflow, settings, records, log_dir=log_dir, ahead=ahead)
    except KeyboardInterrupt:
        take_stock()
        write_status(log_dir, list(statuses.values()))
        raise
    take_stock()
    return statuses, records


def prepare_scans(
    settings: Settings, work: Sequence[Scan], scans: Sequence[Scan], *, name: str, log_dir: Path
) -> tuple[list[TrainingScan], dict[str, ScanStatus]]:
    """Put scans on the reference grid.

    Parameters
    ----------
    settings, work, scans, name, log_dir
        As for `run_scans`.

    Returns
    -------
    ready : list of TrainingScan
        Those that could be prepared, in the order of `work`.
    statuses : dict of label to ScanStatus
    """
    from bids_harmony.sites.prepared_scans import TrainingScan
    from bids_harmony.workflows.anat import init_anat_train_wf

    def init_scan_wf(scan: Scan, t1w: Scan | None) -> Workflow:
        return init_anat_train_wf(scan=scan, settings=settings)

    statuses, records = run_scans(settings, name, work, scans, init_scan_wf, log_dir)
    ready = []
    for scan in work:
        if statuses[scan.label].state == "done":
            prepared = (
                node_record(records, settings, name, scan, "prepare").folder / "prepared.npz"
            )
            ready.append(
                TrainingScan(scan.label, scan.subject, scan.modality, scan.site.site, prepared)
            )
    return ready, statuses


def failed_status(scan: Scan, error: BidsHarmonyError, *, quiet: bool = False) -> ScanStatus:
    """Status of a scan that cannot be worked on; said in the log unless quiet."""
    if not quiet:
        logger.error("%s failed: %s", scan.label, error)
    failure = Failure.of(error)
    return ScanStatus(scan.label, "failed", failure.error, failure.message, failure.exit_code)


def node_record(
    records: dict[str, NodeRecord], settings: Settings, name: str, scan: Scan, node: str
) -> NodeRecord:
    """What became of one node of a scan's graph."""
    from bids_harmony.workflows.cohort import scan_folder

    folder = scan_folder(settings, name, scan)
    return next(
        r for r in records.values() if folder in r.folder.parents and r.folder.name == node
    )


def write_status(log_dir: Path, statuses: Sequence[ScanStatus]) -> None:
    """Add the scans to the run's ``status.json``, which may hold the run's own state and scans
    that were left out."""
    from bids_harmony.bids.derivative import write_json

    path = log_dir / "status.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    scans = record.get("scans", {}) | {status.label: status.to_dict() for status in statuses}
    write_json(path, record | {"scans": scans})


def clear_work(
    settings: Settings, name: str, scans: Sequence[Scan], statuses: dict[str, ScanStatus]
) -> None:
    """Remove the work folders that nobody needs any more."""
    from bids_harmony.workflows.cohort import person_folder, scan_folder

    if settings.keep_workdir == "always":
        return
    never = settings.keep_workdir == "never"
    failed = {scan.subject for scan in scans if statuses[scan.label].state == "failed"}
    for scan in scans:
        if never or statuses[scan.label].state != "failed":
            shutil.rmtree(scan_folder(settings, name, scan), ignore_errors=True)
        if never or scan.subject not in failed:
            shutil.rmtree(person_folder(settings, name, scan), ignore_errors=True)
