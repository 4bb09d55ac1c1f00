"""Which runs have workers."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from multiprocessing import forkserver
from types import SimpleNamespace

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.workflows import running, workers
from bids_harmony.workflows.anat import init_anat_train_wf

IMAGE, SERIES = SimpleNamespace(gradients=None), SimpleNamespace(gradients="dwi.bval")


@pytest.fixture
def fresh(monkeypatch):
    """The module as a new process has it; no server is started."""
    monkeypatch.setattr(forkserver, "ensure_running", lambda: None)
    monkeypatch.setattr(forkserver, "set_forkserver_preload", lambda names: None)
    spec = importlib.util.find_spec(workers.__name__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("scans", "alone"), [([IMAGE], True), ([SERIES], False), ([IMAGE, IMAGE], False)]
)
def test_the_steps_of_one_image_need_no_workers(fresh, scans, alone):
    assert fresh.is_alone(scans) is alone


def test_where_the_server_runs_its_workers_are_used(fresh):
    fresh.start_server()
    assert not fresh.is_alone([IMAGE])


@pytest.mark.parametrize(
    ("n_scans", "alone", "threads"), [(1, True, 2), (1, True, 1), (1, False, 2), (2, False, 2)]
)
def test_a_run_starts_the_server_where_it_is_not_alone(
    settings, monkeypatch, n_scans, alone, threads
):
    seen = []
    monkeypatch.setattr(workers, "start_server", lambda: seen.append("server"))
    monkeypatch.setattr(workers, "is_alone", lambda scans: seen.append(len(scans)) or alone)
    monkeypatch.setattr(
        "bids_harmony.workflows.execution.run_graph",
        lambda graph, settings, records, log_dir, ahead: seen.extend(
            [f"nprocs {settings.nprocs}", *(["loads ahead"] if ahead else [])]
        ),
    )
    settings = replace(settings, nprocs=2, omp_nthreads=threads)
    scans = find_scans(settings).scans
    log_dir = settings.output_dir / "logs"
    log_dir.mkdir(parents=True)
    running.run_scans(
        settings, "train_wf", scans[:n_scans], scans,
        lambda scan, t1w: init_anat_train_wf(scan=scan, settings=settings), log_dir,
    )  # fmt: skip
    expected = [n_scans, "nprocs 1"] if alone else [n_scans, "server", "nprocs 2"]
    assert seen == expected + (["loads ahead"] if alone and threads > 1 else [])
