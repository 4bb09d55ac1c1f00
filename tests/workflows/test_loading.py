"""What is loaded while the extractor finds the brain."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from bids_harmony.interfaces.anatomy import BrainFromImage, RegisterToReference, ReuseBrain
from bids_harmony.workflows import loading
from bids_harmony.workflows.loading import LoadingAhead

EXTRACT, REGISTER, REUSE = (
    SimpleNamespace(interface=interface())
    for interface in (BrainFromImage, RegisterToReference, ReuseBrain)
)


@pytest.fixture
def loaded(monkeypatch):
    """What was loaded, in order; the rest only when the event is set."""
    seen, may_end = [], threading.Event()

    def rest(voxel_mm):
        may_end.wait(60)
        seen.append(voxel_mm)

    monkeypatch.setattr(loading, "load_extractor", lambda: seen.append("extractor"))
    monkeypatch.setattr(loading, "load_rest", rest)
    return seen, may_end


def test_the_extractor_runs_beside_it_and_nothing_else(loaded):
    seen, may_end = loaded
    ahead = LoadingAhead(2.0)
    ahead.before(EXTRACT)
    assert seen == ["extractor"]
    may_end.set()
    ahead.before(REGISTER)
    assert seen == ["extractor", 2.0]


@pytest.mark.parametrize("first", [REUSE, REGISTER])
def test_beside_another_first_step_nothing_is_loaded(loaded, first):
    seen, may_end = loaded
    may_end.set()
    ahead = LoadingAhead(1.0)
    for step in (first, EXTRACT, REGISTER):
        ahead.before(step)
    assert seen == []


def test_a_library_that_fails_is_told_by_whoever_needs_it(monkeypatch, capsys):
    def rest(voxel_mm):
        raise ImportError("a library of tomorrow")

    monkeypatch.setattr(loading, "load_extractor", lambda: None)
    monkeypatch.setattr(loading, "load_rest", rest)
    ahead = LoadingAhead(1.0)
    ahead.before(EXTRACT)
    ahead.before(REGISTER)
    assert capsys.readouterr().err == ""


_LOADS = """
import sys
from bids_harmony.workflows.loading import load_extractor, load_rest
assert "torch" not in sys.modules
load_extractor()
assert "torch" in sys.modules and "ants" not in sys.modules
load_rest(2.0)
print("ants" in sys.modules, "matplotlib" in sys.modules)
import nilearn.datasets
del nilearn.datasets.load_mni152_gm_template  # nobody reads the template again
from bids_harmony.imaging.reference import reference_grid, reference_tissues
print(reference_tissues(reference_grid(2.0)).shape[0])
"""


def test_all_else_is_there_afterwards():
    done = subprocess.run([sys.executable, "-c", _LOADS], capture_output=True, text=True)
    assert done.stdout == "True True\n3\n", done.stderr
