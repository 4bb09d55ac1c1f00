"""Fixtures: a tiny raw BIDS dataset, and the program on it."""

from __future__ import annotations

import sys
import types

import pytest

from bids_harmony.cli.main import main
from bids_harmony.exceptions import ExitCode
from tests.raw_dataset import cohort, raw

__all__ = ["cohort", "raw"]


@pytest.fixture
def workflow(monkeypatch):
    """Stands for the workflows: records what it was given, answers or raises what it is told."""
    base = types.ModuleType("bids_harmony.workflows.base")
    base.calls, base.answer = [], ExitCode.DONE

    def run(settings, scans, *, log_dir=None):
        base.calls.append((settings, scans, log_dir))
        if isinstance(base.answer, BaseException):
            raise base.answer
        return base.answer

    base.run_participant = base.run_train = run
    monkeypatch.setitem(sys.modules, "bids_harmony.workflows.base", base)
    return base


@pytest.fixture
def call(cohort, tmp_path, capsys):
    """Run the program on the cohort; gives exit code, standard output and standard error."""

    def run(*words, level="participant", out=tmp_path / "out"):
        target = ["--target-site", "COI"] if level == "participant" else []
        if "--target-site" in words:
            target = []
        work = [] if "-w" in words else ["-w", str(tmp_path / "w")]
        code = main([str(cohort.root), str(out), level, *target, *work, *words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run
