"""A MultiProc plugin that notices the death of a worker.

With Nipype's own, a worker that is killed (most often by the kernel, for want of memory) leaves
the run waiting for ever: the result of its node never comes, and the executor refuses all further
nodes.
"""

from __future__ import annotations

import gc
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from traceback import format_exception
from typing import Any

from nipype import config as nipype_config
from nipype import logging
from nipype.pipeline.plugins.base import str2bool
from nipype.pipeline.plugins.linear import LinearPlugin
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

from bids_harmony.exceptions import TryAgain
from bids_harmony.interfaces.base import write_failure
from bids_harmony.workflows.workers import START_METHOD

__all__ = ["ScanByScanPlugin", "WatchfulMultiProcPlugin"]

logger = logging.getLogger("nipype.workflow")


class ScanByScanPlugin(LinearPlugin):
    """Linear that finishes what belongs together before it begins something else.

    Linear alone takes the first step of every scan, then the second of every scan: a run that is
    stopped would leave no finished scan at all.
    """

    def run(self, graph, config, updatehash=False):
        """Execute the graph, one connected part after the other."""
        import networkx as nx

        errors = []
        for nodes in list(nx.weakly_connected_components(graph)):
            try:
                super().run(graph.subgraph(nodes), config, updatehash=updatehash)
            except Exception as error:
                errors.append(error)
                if str2bool(config["execution"]["stop_on_first_crash"]):
                    break
        if errors:
            raise errors[0]


class WatchfulMultiProcPlugin(MultiProcPlugin):
    """MultiProc in which a killed worker is an error of its node, at once, and of no other node.

    When a worker dies, the executor gives up every node in flight and cannot say which one
    killed it. The pool is rebuilt and those nodes run again one by one: what only failed for lack
    of memory beside its neighbours now succeeds, and a node that dies alone is to blame. It is
    cleared from the queue with all that depends on it, as Nipype does with any node that raises.

    Between submissions this process sleeps until a node ends. Nipype's loop looks again every few
    hundredths of a second, with a collection of garbage each time: a fifth of the processor's
    time of a run with one scan.

    Parameters
    ----------
    plugin_args : dict, optional
        As for `nipype.pipeline.plugins.MultiProcPlugin`; `mp_context` defaults to "forkserver".
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args={"mp_context": START_METHOD, **(plugin_args or {})})
        self.pool: ProcessPoolExecutor = self._new_pool()
        self._jobs: dict[int, tuple[Any, bool]] = {}
        self._suspects: list[int] = []
        self._alone: int | None = None

    def run(self, graph, config, updatehash=False):
        """Execute the graph; the pool is closed in any case, at once if the run is stopped."""
        # Nipype collects garbage before each submission; what is here by now stays to the end.
        gc.freeze()
        try:
            super().run(graph, config, updatehash=updatehash)
        except KeyboardInterrupt:
            # What a step was at is made again next time; nobody waits for its end.
            for worker in list((self.pool._processes or {}).values()):
                worker.kill()
            raise
        finally:
            self.pool.shutdown(cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=self.processors,
            initializer=_start_worker,
            initargs=(self._cwd, dict(nipype_config._sections["logging"])),
            mp_context=get_context(self.plugin_args["mp_context"]),
        )

    def _submit_job(self, node, updatehash=False):
        self._taskid += 1
        self._jobs[self._taskid] = (node, updatehash)
        self._start(self._taskid)
        return self._taskid

    def _start(self, taskid: int) -> None:
        node, updatehash = self._jobs[taskid]
        try:
            future = self.pool.submit(run_node, node, updatehash, taskid)
        except BrokenProcessPool as error:
            # It broke since the last poll: this node shares the lot of the others.
            future = Future()
            future.set_exception(error)
        self._task_obj[taskid] = future

    def _get_result(self, taskid):
        if taskid in self._suspects:
            if self._alone is None:
                self._suspects.remove(taskid)
                self._alone = taskid
                self._start(taskid)
            return None
        future = self._task_obj[taskid]
        if not future.done():
            return None
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            return self._worker_died(taskid)
        if taskid == self._alone:
            self._alone = None
        if error is not None:
            return _failed(taskid, error)
        return future.result()

    def _worker_died(self, taskid: int) -> dict[str, Any] | None:
        wait(self._task_obj.values())  # the executor gives up all of them together
        broken = [
            t for t, f in self._task_obj.items() if isinstance(f.exception(), BrokenProcessPool)
        ]
        self.pool.shutdown(wait=False)
        self.pool = self._new_pool()
        if taskid != self._alone:
            logger.warning("A worker was killed; %d nodes run again one by one.", len(broken))
            for task in broken:
                del self._task_obj[task]
            self._suspects = broken
            return None
        self._alone = None
        node, _ = self._jobs[taskid]
        error = TryAgain(
            "The process that ran this step was killed, most often for want of memory",
            where=node.fullname,
            hint="Run again with fewer processes (--nprocs) or more memory.",
        )
        write_failure(error, Path(node.output_dir()))
        return _failed(taskid, error)

    def _clear_task(self, taskid):
        del self._task_obj[taskid]
        del self._jobs[taskid]

    def _sort_jobs(self, jobids, scheduler="tsort"):
        # Nodes are numbered from sources to sinks. The last ones first: a scan that was begun is
        # written before the next one begins, and a run that is stopped leaves finished scans.
        return sorted(super()._sort_jobs(jobids, scheduler), reverse=True)

    def _send_procs_to_workers(self, updatehash=False, graph=None):
        before = None
        # What is found done, or runs in this process, makes others ready.
        while before != (finished := self._n_finished()):
            before = finished
            if not self._suspects and self._alone is None:  # nothing may run beside a suspect
                super()._send_procs_to_workers(updatehash=updatehash, graph=graph)
        wait(self._task_obj.values(), return_when=FIRST_COMPLETED)

    def _n_finished(self) -> int:
        return int((self.proc_done & ~self.proc_pending).sum())


def _start_worker(cwd: str, levels: dict[str, str]) -> None:
    """A new process knows nothing of the settings of this one: give it the log levels."""
    process_initializer(cwd)
    nipype_config.update_config({"logging": levels})
    logging.update_logging(nipype_config)


def _failed(taskid: int, error: BaseException) -> dict[str, Any]:
    """Result of a node in the form that Nipype's `run_node` gives."""
    return {"result": None, "traceback": format_exception(error), "taskid": taskid}
