"""A killed worker ends its own node, quickly, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
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


def _die_once(died, pipe):
    """Kill this process the first time, once the neighbour reads the pipe."""
    import os
    import signal

    if not os.path.exists(died):
        with open(pipe, "w"):
            open(died, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)


def _neighbour(died, pipe):
    """Run until the other process died, which closes its end; return at once when it has."""
    import os

    if not os.path.exists(died):
        with open(pipe) as end:
            end.read()


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
    died, pipe = str(tmp_path / "died"), str(tmp_path / "pipe")
    os.mkfifo(pipe)
    once = _function(_die_once, "once", died=died, pipe=pipe)
    states, error = run([once, _function(_neighbour, "neighbour", died=died, pipe=pipe)])
    assert error is None
    assert states == {"once": "end", "neighbour": "end"}
    assert (tmp_path / "died").exists()


def _wait_for_ever(log, pipe):
    import os
    import signal

    with open(log, "w") as file:
        file.write(str(os.getpid()))
    open(pipe, "w").close()
    signal.pause()


def _stop(pipe, pid):
    """Send the signal once the neighbour is at work."""
    import os
    import signal

    with open(pipe) as end:
        end.read()
    os.kill(pid, signal.SIGTERM)


def test_a_run_that_is_stopped_waits_for_no_worker(run, tmp_path):
    def terminate(number, frame):
        raise Terminated

    log, pipe = str(tmp_path / "pid.txt"), str(tmp_path / "pipe")
    os.mkfifo(pipe)
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(Terminated):
            run(
                [
                    _function(_wait_for_ever, "wait", log=log, pipe=pipe),
                    _function(_stop, "stop", pipe=pipe, pid=os.getpid()),
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


def _until_told(pipe):
    """Run until somebody opens the other end."""
    open(pipe).close()


def test_nobody_looks_while_a_step_is_at_work(run, tmp_path, monkeypatch):
    """The step ends only after this process has begun to wait for it, or has looked at it."""
    from bids_harmony.workflows import plugin

    pipe, looks, begun = tmp_path / "pipe", [], threading.Event()
    os.mkfifo(pipe)
    wait = plugin.wait

    def wait_for(futures, **options):
        if futures:
            begun.set()
        return wait(futures, **options)

    class Watched(plugin.WatchfulMultiProcPlugin):
        def _get_result(self, taskid):
            result = super()._get_result(taskid)
            looks.append("done" if result is not None else "at work")
            begun.set()
            return result

    def let_it_end():
        begun.wait()
        open(pipe, "w").close()

    monkeypatch.setattr(plugin, "wait", wait_for)
    teller = threading.Thread(target=let_it_end, daemon=True)
    teller.start()
    states, error = run([_function(_until_told, "work", pipe=str(pipe))], plugin_class=Watched)
    teller.join()
    assert (states, error) == ({"work": "end"}, None)
    assert looks == ["done"]


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
