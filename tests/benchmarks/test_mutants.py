"""Mutation testing: what is drawn, where a mutant stands, what a report says, and a whole run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants import Workplace, sample, try_room
from benchmarks.mutants_report import changed_lines, markdown, numbers_of, reasons, survivor_of

ROOT = Path(__file__).resolve().parents[2]
SOURCE = """import functools


@functools.lru_cache
def kept(x):
    return double(x)


def double(x):
    return x + x


class Scale:
    def apply(self, x):
        # A comment.
        y = x * 3

        return y
"""
TESTS = """import pytest
from bids_harmony.imaging.one import Scale, kept


@pytest.fixture(scope="module")
def tripled():
    return Scale().apply(2)


def test_first(tripled):
    kept(2)


def test_second(tripled):
    assert kept(2) == 4


def test_third(tripled):
    assert tripled == 6
"""


def test_the_same_are_drawn_and_more_join_them():
    names = [f"m{i}" for i in range(50)]
    assert sample(names, 5, 1) == sample(reversed(names), 5, 1) == sample(names, 20, 1)[:5]
    assert sample(names, 5, 1) != sample(names, 5, 2)
    assert sorted(sample(names, None, 1)) == sorted(names)


def test_the_line_of_a_mutant():
    before = ["", "    def apply(self, x):", "        # A comment.", "        y = x * 3", "",
              "        return y"]  # fmt: skip
    after = [line.replace("* 3", "* 4") for line in before]
    found = changed_lines(
        SOURCE, "bids_harmony.imaging.one.xǁScaleǁapply__mutmut_3", before, after
    )
    assert found == {"line": 16, "before": ["y = x * 3"], "after": ["y = x * 4"]}
    assert SOURCE.splitlines()[found["line"] - 1].strip() == "y = x * 3"


def _room(**outcomes):
    survivor = {"name": "x", "file": "bids_harmony/a.py", "line": 3, "before": ["a < b"],
                "after": ["a <= b"], "reason": "they are never equal"}  # fmt: skip
    return {"mutants": 200, "outcomes": outcomes, "survivors": [survivor]}


def test_what_counts_as_caught():
    numbers = numbers_of(_room(killed=80, timeout=5, survived=10, **{"no tests": 5}, suspicious=2))
    assert (numbers["caught"], numbers["survived"], numbers["undecided"]) == (85, 15, 2)
    assert numbers["excused"] == 1 and numbers["share"] == 0.85
    # Wilson's interval of 85 in 100, as published tables have it.
    assert numbers["interval"] == pytest.approx([0.7672, 0.9069], abs=1e-4)


def test_the_report_lists_survivors_with_place_and_change():
    room = _room(killed=3, survived=1)
    room |= numbers_of(room) | {"commit": "a" * 40, "uncommitted_changes": False}
    record = {
        "rooms": {"imaging": room | {"seed": 0, "asked": "4"}},
        "machine": {"processor": "P", "cores": 2},
        "versions": {"mutmut": "3", "python": "3.11"},
    }
    text = markdown(record)
    assert "| imaging | 200 | 4, 0 | 4 | 3 | 1 | 1 | 0 | 75.0% |" in text
    assert "`bids_harmony/a.py:3` they are never equal\n\n```diff\n- a < b\n+ a <= b\n```" in text


def test_reasons_are_found_by_file_and_lines(tmp_path):
    file = tmp_path / "allowed.toml"
    file.write_text('[[mutant]]\nfile = "a.py"\nbefore = "x"\nafter = "y"\nreason = "same"\n')
    assert reasons(file) == {("a.py", "x", "y"): "same"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A small repository of its own, with a room and its tests."""
    root = tmp_path_factory.mktemp("tree")
    files = {
        "bids_harmony/__init__.py": "",
        "bids_harmony/imaging/__init__.py": "",
        "bids_harmony/imaging/one.py": SOURCE,
        "tests/imaging/test_one.py": TESTS,
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n'
        'addopts = ["--import-mode=importlib"]\n',
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    shutil.copy(ROOT / "tests" / "mutants_plugin.py", root / "tests")
    subprocess.run(["git", "-C", str(root), "init", "-q"], check=True)
    return root


@pytest.mark.skipif(sys.platform != "linux", reason="mutmut forks")
def test_a_run_catches_and_reports_and_leaves_the_tree_alone(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    before = {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()}
    place = Workplace("imaging", tmp_path / "imaging")
    place.prepare(tree, survivors=False)
    found = try_room(place, None, 0, 1)
    assert before == {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()}
    log = (place.folder / "log.txt").read_text()
    # `double` is called in the first test only, by a cache; `apply` in its fixture only.
    assert set(found["outcomes"].values()) == {"killed"}, log[-3000:]
    assert found["mutants"] == len(found["outcomes"]) >= 3
    # Nothing is tried twice.
    place.prepare(tree, survivors=False)
    monkeypatch.setattr(Workplace, "run", lambda *_, **__: pytest.fail("tried again"))
    assert try_room(place, None, 0, 1) == found
    monkeypatch.undo()

    # Weaker tests: all is forgotten, and survivors are told with their place.
    test = tree / "tests/imaging/test_one.py"
    test.write_text(TESTS.replace("assert tripled == 6", "assert tripled"))
    place.prepare(tree, survivors=False)
    assert place.outcomes() == {}
    found = try_room(place, None, 0, 1)
    alive = [name for name, outcome in found["outcomes"].items() if outcome == "survived"]
    told = [survivor_of(place.folder, name, found["files"][name]) for name in alive]
    assert {"line": 16, "before": ["y = x * 3"], "after": ["y = x * 4"]} in [
        {k: t[k] for k in ("line", "before", "after")} for t in told
    ]

    # A better test: only the survivors are tried again.
    test.write_text(TESTS)
    place.prepare(tree, survivors=True)
    tried = []
    run = Workplace.run
    monkeypatch.setattr(
        Workplace,
        "run",
        lambda self, names, jobs: (tried.extend(names), run(self, names, jobs=jobs)),
    )
    found = try_room(place, None, 0, 1)
    assert sorted(tried) == sorted(alive)
    assert set(found["outcomes"].values()) == {"killed"}
    assert json.loads((place.folder / "session.json").read_text())["digest"]
