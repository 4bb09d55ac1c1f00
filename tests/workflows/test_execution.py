"""What became of the nodes of a graph."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow

from bids_harmony.exceptions import TryAgain
from bids_harmony.interfaces.base import write_failure
from bids_harmony.interfaces.harmonization import Harmonize
from bids_harmony.settings import Settings
from bids_harmony.workflows.execution import NodeRecord, run_graph
from bids_harmony.workflows.plugin import ScanByScanPlugin, WatchfulMultiProcPlugin


def _same(value):
    return value


def test_a_node_does_not_fail_for_the_reason_of_an_earlier_run(tmp_path, monkeypatch):
    """It may fail before it begins: when Nipype reads what others left for it."""

    def broken(node):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Node, "_get_inputs", broken)
    graph = Workflow("graph", base_dir=str(tmp_path / "work"))
    graph.add_nodes([Node(Function(["value"], ["out"], function=_same), name="node")])
    graph.get_node("node").inputs.value = 1
    write_failure(TryAgain("Out of memory"), tmp_path / "work/graph/node")
    settings = Settings(tmp_path, tmp_path / "out", "participant", nprocs=1, memory_mb=1000)
    records: dict[str, NodeRecord] = {}
    run_graph(graph, settings, records, log_dir=tmp_path / "logs")
    record = records["graph.node"]
    assert record.state == "failed" and record.failure.exit_code == 74


@pytest.mark.parametrize(("given", "claims"), [("", 6), ("n_gpu_procs: 1", 1)])
def test_several_steps_share_a_card(tmp_path, monkeypatch, given, claims):
    """While one packs its image, another computes; a plugin file has the last word."""
    monkeypatch.setattr("bids_harmony.devices.steps_on_card", {"cuda:1": 3}.__getitem__)
    seen = []
    monkeypatch.setattr(
        WatchfulMultiProcPlugin, "run", lambda self, *_, **__: seen.append(self.n_gpu_procs)
    )
    graph = Workflow("graph", base_dir=str(tmp_path / "work"))
    graph.add_nodes([Node(Harmonize(device="cuda:1", use_gpu=True), name="harmonize")])
    plugin_file = tmp_path / "plugin.yml"
    plugin_file.write_text(f"plugin_args:\n  {given}\n")
    settings = Settings(
        tmp_path, tmp_path / "out", "participant", nprocs=8, omp_nthreads=2, memory_mb=1000,
        plugin_file=plugin_file,
    )  # fmt: skip
    run_graph(graph, settings, {}, log_dir=tmp_path / "logs")
    assert seen == [claims]


def _fails(value):
    raise OSError("no file today")


@pytest.mark.parametrize(("step", "stopped"), [(_same, False), (_fails, False), (_same, True)])
def test_no_run_ends_while_libraries_are_being_loaded(tmp_path, monkeypatch, step, stopped):
    """The thread would be torn out of an import, and may take the process down."""
    told = []
    ahead = SimpleNamespace(
        before=lambda node: told.append(node.name), wait=lambda: told.append("waited")
    )
    graph = Workflow("graph", base_dir=str(tmp_path / "work"))
    graph.add_nodes([Node(Function(["value"], ["out"], function=step), name="node")])
    graph.get_node("node").inputs.value = 1
    settings = Settings(tmp_path, tmp_path / "out", "participant", nprocs=1, memory_mb=1000)
    if stopped:
        whole = ScanByScanPlugin.run

        def run(self, *arguments, **more):
            whole(self, *arguments, **more)
            raise KeyboardInterrupt

        monkeypatch.setattr(ScanByScanPlugin, "run", run)
    with pytest.raises(KeyboardInterrupt) if stopped else nullcontext():
        run_graph(graph, settings, {}, log_dir=tmp_path / "logs", ahead=ahead)
    assert told == ["node", "waited"]
