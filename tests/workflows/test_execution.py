"""What became of the nodes of a graph."""

from __future__ import annotations

import errno
import os

from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow

from bids_harmony.exceptions import TryAgain
from bids_harmony.interfaces.base import write_failure
from bids_harmony.settings import Settings
from bids_harmony.workflows.execution import NodeRecord, run_graph


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
