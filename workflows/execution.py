"""Run a graph to its end and tell what became of every node."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.exceptions import from_system
from bids_harmony.interfaces.base import Failure, forget_failure, read_failure
from bids_harmony.workflows.loading import LoadingAhead
from bids_harmony.workflows.progress import Progress

if TYPE_CHECKING:
    from nipype.pipeline.engine import Node, Workflow

    from bids_harmony.settings import Settings

__all__ = ["NodeRecord", "run_graph"]

logger = logging.getLogger(__name__)


@dataclass
class NodeRecord:
    """What became of one node.

    Attributes
    ----------
    fullname : str
        Names of the graphs around it and its own, joined by dots.
    folder : Path
        Its work folder.
    state : {"waiting", "running", "done", "failed"}
        A node that still waits at the end was not run because one that it needs failed; one that
        still runs was cut off.
    seconds : float
        Wall clock from submission to result; 0 where the result was found in the work folder.
    failure : Failure, optional
        Why it failed.
    """

    fullname: str
    folder: Path
    state: str = "waiting"
    seconds: float = 0.0
    failure: Failure | None = None


@dataclass
class _Watch:
    """Receives Nipype's reports of nodes that start and end."""

    records: dict[str, NodeRecord]
    bar: Any
    progress: Progress
    # Linear reports the end of nodes that it leaves out; MultiProc reports no start of nodes that
    # it finds done.
    linear: bool = False
    ahead: LoadingAhead | None = None
    started: dict[str, float] = field(default_factory=dict)

    def __call__(self, node: Node, status: str) -> None:
        record = self.records[node.fullname]
        now = time.monotonic()
        if status == "start":
            if self.ahead is not None:
                self.ahead.before(node)
            record.state = "running"
            self.started[node.fullname] = now
            return
        if self.linear and node.fullname not in self.started:
            return
        if isinstance(sys.exception(), KeyboardInterrupt):
            return  # Linear reports the end also of a node that it was torn out of
        record.state = "done" if status == "end" else "failed"
        record.seconds = now - self.started.get(node.fullname, now)
        if record.state == "failed":
            record.failure = read_failure(record.folder)
        self.bar.update(1)
        failed = record.state == "failed"
        self.progress.ended(node.fullname, seconds=record.seconds, failed=failed)


def run_graph(
    workflow: Workflow,
    settings: Settings,
    records: dict[str, NodeRecord],
    *,
    log_dir: Path,
    ahead: LoadingAhead | None = None,
) -> None:
    """Run a graph with as many processes as the settings allow.

    One process means no workers: nodes run in this process, one after the other, scan by scan.

    Parameters
    ----------
    workflow : Workflow
    settings : Settings
        ``nprocs``, ``memory_mb``, ``stop_on_first_crash``, ``plugin_file``, ``verbosity``.
    records : dict
        Gets of each node, by its full name, what became of it, also when the run is stopped.
        Failures of nodes are recorded and not raised.
    log_dir : Path
        Crash files go here.
    ahead : LoadingAhead, optional
        Told of each node that starts in this process; waited for at the end.

    Raises
    ------
    Exception
        Whatever goes wrong outside the nodes.
    """
    from tqdm import tqdm

    from bids_harmony.workflows.nipype_config import configure_nipype

    configure_nipype(
        log_dir, stop_on_first_crash=settings.stop_on_first_crash, verbose=settings.verbosity > 1
    )
    # Nipype gives every graph the settings of the moment it was made.
    from nipype import config as nipype_config

    workflow.config.update(nipype_config._sections)
    from nipype.pipeline.engine import Node

    card: str | None = None
    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        if getattr(node.inputs, "use_gpu", False):
            card = node.inputs.device  # a run knows one
        if isinstance(node, Node) and type(node.interface).__name__ != "IdentityInterface":
            full = f"{workflow.name}.{name}"
            folder = Path(workflow.base_dir, *full.split("."))
            records[full] = NodeRecord(full, folder)
            forget_failure(folder)
    # disable=None: no bar where nobody sees it.
    with tqdm(total=len(records), unit="step", desc=workflow.name, disable=None) as bar:
        plugin = _plugin(settings, _Watch(records, bar, Progress(records), ahead=ahead), card)
        try:
            workflow.run(plugin=plugin)
        except Exception as error:
            # Nipype raises the first node's error again at the end; those are in the records.
            if not any(record.state == "failed" for record in records.values()):
                raise
            logger.debug("Nodes failed", exc_info=True)
            _explain_silence(records, error, log_dir)
        finally:
            if ahead is not None:
                ahead.wait()


def _explain_silence(records: Mapping[str, NodeRecord], error: Exception, log_dir: Path) -> None:
    """Say why nodes failed that left no record: what failed was Nipype's own reading and writing,
    or the record could not be written either."""
    silent = [r for r in records.values() if r.state == "failed" and r.failure is None]
    if not silent:
        return
    crashes = (path.read_text(errors="replace") for path in log_dir.glob("crash-*.txt"))
    told = "".join([*traceback.format_exception(error), *crashes])
    by_words = (
        OSError(code, os.strerror(code), str(silent[0].folder))
        for code in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EIO)
        if os.strerror(code) in told or (code == errno.ENOMEM and "MemoryError" in told)
    )
    # Nipype raises the error itself, or one that stands for several, or its text.
    for candidate in (*by_words, error, error.__cause__):
        if candidate is not None and (reason := from_system(candidate)):
            for record in silent:
                record.failure = Failure.of(reason)
            return


def _plugin(settings: Settings, watch: _Watch, card: str | None) -> Any:
    from bids_harmony.workflows.plugin import ScanByScanPlugin, WatchfulMultiProcPlugin
    from bids_harmony.workflows.plugin_file import read_plugin_file

    arguments: dict[str, Any] = {
        "n_procs": settings.nprocs,
        "memory_gb": settings.memory_mb / 1024,
        "raise_insufficient": False,
    }
    if card:
        from bids_harmony.devices import steps_on_card

        # Nipype counts a step's threads as its claims on the card.
        arguments["n_gpu_procs"] = steps_on_card(card) * settings.omp_nthreads
    arguments.update(read_plugin_file(settings.plugin_file))
    arguments["status_callback"] = watch
    watch.linear = arguments["n_procs"] == 1
    if watch.linear:
        return ScanByScanPlugin(arguments)
    return WatchfulMultiProcPlugin(arguments)
