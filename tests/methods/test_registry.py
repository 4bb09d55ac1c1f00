"""The table of methods: every entry has its code, and a new method is one entry."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bids_harmony.exceptions import UsageError
from bids_harmony.methods import learns_sites, load_harmonizer
from bids_harmony.methods.profiled import Profiled
from bids_harmony.methods.registry import REGISTRY, check_training_target, find_method
from bids_harmony.settings import METHODS


def test_the_settings_know_the_same_methods_and_the_default_comes_first():
    assert METHODS == tuple(REGISTRY) and METHODS[0] == "ihf"


@pytest.mark.parametrize("method", REGISTRY)
def test_an_entry_names_code_that_is_there(method):
    entry = find_method(method)
    applied_by = entry.harmonizer_class()
    assert issubclass(applied_by, Profiled) and applied_by.name == method
    # One constructor for all: `load_harmonizer` knows none of them.
    assert applied_by.__init__ is Profiled.__init__
    assert not entry.trained or callable(entry.training())


def test_who_learns_from_twins_is_trained_for_a_target():
    for needs in REGISTRY.values():
        assert needs.trained or not (needs.supervised or needs.target_at_training)
        assert needs.target_at_training or not needs.supervised
        assert needs.trained or needs.learns_sites
    assert {name for name, needs in REGISTRY.items() if needs.supervised} == {"cgan", "simix"}
    assert learns_sites("ihf") and not learns_sites("histogram-n4")


@pytest.mark.parametrize("method", REGISTRY)
def test_the_target_is_asked_for_where_it_is_needed(method):
    check_training_target(method, "COI")
    if method in ("ssimh", "cgan", "simix"):
        with pytest.raises(UsageError, match="--target-site"):
            check_training_target(method, None)
    else:
        check_training_target(method, None)


@pytest.mark.parametrize("ask", [find_method, learns_sites, lambda m: load_harmonizer(m, "")])
def test_an_unknown_method_is_refused(ask):
    with pytest.raises(UsageError, match=r"Unknown method.*histogram-cdf"):
        ask("magic")


TOY = """
import json, sys
from pathlib import Path

import numpy as np

import bids_harmony.methods.registry as registry
from bids_harmony.methods.registry import Method

# The one place: the entry. It stands in the table before anything else looks at it.
registry.REGISTRY = {
    **registry.REGISTRY,
    "toy": Method("toy:Toy", "scans were halved [@n4]", trained_by="toy:train"),
}
folder = Path(sys.argv[1])

from bids_harmony.cli.parser import build_parser
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods import load_harmonizer
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.reports.methods_text import Done, methods_text
from bids_harmony.settings import Settings
from bids_harmony.sites.profile_cache import GivenProfiles
from bids_harmony.training.fit import fit_method

options = build_parser().parse_args(["in", "out", "participant", "--method", "toy"])
grid = reference_grid(8.0)
made = load_harmonizer("toy", SHIPPED_MODEL, GivenProfiles({}, 8.0), batch_size=3)
ones = np.ones(grid.shape, np.float32)
scan = Prepared(ones, ones > 0, 1.0, np.eye(4), grid)
settings = Settings(folder, folder, "train", method="toy")
print(json.dumps({
    "choice": options.method,
    "text": methods_text(Done(("toy",), ("COI",), ("T1w",))).markdown(),
    "class": [type(made).__name__, made.name, made.batch_size],
    "made": float(made.apply(scan, modality="T1w", source_site="A", target_site="B").data.max()),
    "fitted": fit_method("toy", ["scan"], settings, folder),
}))
"""
TOY_MODULE = """
from bids_harmony.methods.base import finish
from bids_harmony.methods.profiled import Profiled

class Toy(Profiled):
    name = "toy"
    def apply(self, prepared, *, modality, source_site, target_site):
        return finish(prepared.data / 2, prepared.mask)

def train(scans, settings, out_dir):
    return {"version": "0", "scans": list(scans), "method": settings.method}
"""


def test_a_new_method_is_a_module_and_one_entry(tmp_path):
    (tmp_path / "toy.py").write_text(TOY_MODULE)
    (tmp_path / "run.py").write_text(TOY)
    run = subprocess.run(
        [sys.executable, str(tmp_path / "run.py"), str(tmp_path)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["choice"] == "toy"
    assert "(method toy): scans were halved (Tustison et al. 2010)" in seen["text"]
    assert seen["class"] == ["Toy", "toy", 3] and seen["made"] == 0.5
    assert seen["fitted"] == {"version": "0", "scans": ["scan"], "method": "toy"}


def test_the_table_imports_nothing_heavy():
    code = (
        "import sys, bids_harmony.methods, bids_harmony.settings\n"
        "print(*{'torch', 'numpy', 'scipy', 'nibabel', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
