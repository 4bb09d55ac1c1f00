"""A killed worker ends its own node, quickly, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil
import pytest

from bids_harmony.exceptions import ExitCode, Terminated
from bids_harmony.interfaces.base import read_failure

pytest.importorskip("nipype")


def _die_if(value):
    import os
    import signal

    if value == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def _die_once(folder):
    """Kill this process the first time, once the neighbour is running."""
    import os
    import signal
    import time

    while not os.path.exists(f"{folder}/neighbour"):
        time.sleep(0.01)
    if not os.path.exists(f"{folder}/died"):
        open(f"{folder}/died", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)


def _neighbour(folder):
    """Run until the other process died; return at once when it has."""
    import os
    import time

    open(f"{folder}/neighbour", "w").close()
    while not os.path.exists(f"{folder}/died"):
        time.sleep(0.01)


def _function(function, name, **inputs):
    from nipype.interfaces.utility import Function
    from nipype.pipeline.engine import Node

    node = Node(Function(function=function, output_names=["out"]), name=name)
    for key, value in inputs.items():
        setattr(node.inputs, key, value)
    return node


@pytest.fixture
def run(tmp_path):
    """Run nodes (and connections between them) with two workers; give the states and the error."""
    from nipype.pipeline.engine import Workflow

    from bids_harmony.workflows.nipype_config import configure_nipype
    from bids_harmony.workflows.plugin import WatchfulMultiProcPlugin

    def _run(nodes, chains=(), n_procs=2, plugin_class=WatchfulMultiProcPlugin):
        configure_nipype(tmp_path / "logs")
        states: dict[str, str] = {}
        workflow = Workflow("wf", base_dir=str(tmp_path / "work"))
        workflow.add_nodes(nodes)
        for first, second in chains:
            workflow.connect(first, "out", second, "value")
        plugin = plugin_class(
            {
                "n_procs": n_procs,
                "memory_gb": 8,
                "status_callback": lambda node, status: states.__setitem__(node.name, status),
            }
        )
        error = None
        try:
            workflow.run(plugin=plugin)
        except RuntimeError as raised:
            error = raised
        return states, error

    return _run


def test_a_killed_worker_is_an_error_at_once_and_others_finish(run, tmp_path):
    die = _function(_die_if, "die", value="die")
    after = _function(_die_if, "after")
    others = [_function(_die_if, f"other{i}", value=str(i)) for i in range(3)]
    # With Nipype's own plugin this never returns.
    states, error = run([die, after, *others], chains=[(die, after)])
    assert states == {"die": "exception", "other0": "end", "other1": "end", "other2": "end"}
    assert "TryAgain" in str(error)
    failure = read_failure(tmp_path / "work" / "wf" / "die")
    assert failure is not None
    assert (failure.error, failure.exit_code) == ("TryAgain", ExitCode.TRY_AGAIN)
    assert "wf.die" in failure.message
    assert list(Path(tmp_path / "logs").glob("crash-*-die-*.txt"))


def test_a_worker_killed_beside_others_gets_a_second_chance_alone(run, tmp_path):
    nodes = [_function(_die_once, "once", folder=str(tmp_path))]
    nodes.append(_function(_neighbour, "neighbour", folder=str(tmp_path)))
    states, error = run(nodes)
    assert error is None
    assert states == {"once": "end", "neighbour": "end"}
    assert (tmp_path / "died").exists()


def _wait_for_ever(log):
    import os
    import signal

    with open(log, "w") as file:
        file.write(str(os.getpid()))
    signal.pause()


def _stop(log, pid):
    """Send the signal once the neighbour is at work."""
    import os
    import signal
    import time

    while not (os.path.exists(log) and os.path.getsize(log)):
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)


def test_a_run_that_is_stopped_waits_for_no_worker(run, tmp_path):
    def terminate(number, frame):
        raise Terminated

    log = str(tmp_path / "pid.txt")
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(Terminated):
            run(
                [
                    _function(_wait_for_ever, "wait", log=log),
                    _function(_stop, "stop", log=log, pid=os.getpid()),
                ]
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(Path(log).read_text())).wait(timeout=10)


def test_an_ordinary_error_is_reported_as_nipype_does(run):
    def fail(value):
        raise ValueError(f"got {value}")

    states, error = run([_function(fail, "fail", value=3), _function(_die_if, "fine", value="x")])
    assert states == {"fail": "exception", "fine": "end"}
    assert "got 3" in str(error)


def _until_seen(folder):
    """Run until the other process has looked three times, for a second at most; say whether so."""
    import os
    import time

    end = time.monotonic() + 1.0
    while not (seen := os.path.exists(f"{folder}/looked")) and time.monotonic() < end:
        time.sleep(0.01)
    return seen


def test_nobody_looks_while_a_step_is_at_work(run, tmp_path):
    from bids_harmony.workflows.plugin import WatchfulMultiProcPlugin

    class Counted(WatchfulMultiProcPlugin):
        looks = 0

        def _get_result(self, taskid):
            self.looks += 1
            if self.looks == 3:
                (tmp_path / "looked").touch()
            return super()._get_result(taskid)

    node = _function(_until_seen, "work", folder=str(tmp_path))
    states, error = run([node], plugin_class=Counted)
    assert (states, error) == ({"work": "end"}, None)
    assert not (tmp_path / "looked").exists()


def test_steps_that_are_done_hold_nobody_up(run, tmp_path):
    """Nodes that run in this process, as buffers do, and nodes of an earlier run."""
    from nipype.interfaces.utility import IdentityInterface
    from nipype.pipeline.engine import Node

    def chain():
        first, last = (_function(_die_if, name, value="x") for name in ("first", "last"))
        buffer = Node(IdentityInterface(["value", "out"]), name="buffer")
        buffer.inputs.out = "y"
        return [first, buffer, last], [(first, buffer), (buffer, last)]

    for _ in range(2):
        nodes, chains = chain()
        states, error = run(nodes, chains)
        assert error is None
        assert states["first"] == states["last"] == "end"


def _note(value, log, word):
    with open(log, "a") as file:
        file.write(word + "\n")
    return value


@pytest.mark.parametrize("name", ["WatchfulMultiProcPlugin", "ScanByScanPlugin"])
def test_a_scan_that_was_begun_is_finished_before_the_next_begins(run, tmp_path, name):
    from bids_harmony.workflows import plugin

    log = str(tmp_path / "order.txt")
    nodes = {
        step: _function(_note, step, value=1, log=log, word=step)
        for step in ("a1", "b1", "c1", "a2", "b2", "c2")
    }
    chains = [(nodes[f"{k}1"], nodes[f"{k}2"]) for k in "abc"]
    _, error = run(list(nodes.values()), chains, n_procs=1, plugin_class=getattr(plugin, name))
    order = Path(log).read_text().split()
    assert error is None
    assert all(order[i][0] == order[i + 1][0] for i in (0, 2, 4)), order
