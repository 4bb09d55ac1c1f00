"""Names at the top of the package, what they cost, and the examples that show them."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bids_harmony

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("Harmonizer", "SiteProfile", "harmonize", "simulate")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_names_are_there_and_no_others():
    from bids_harmony import Harmonizer, SiteProfile, harmonize, simulate

    assert bids_harmony.__all__ == sorted([*NAMES, "__version__"])
    assert set(NAMES) <= set(dir(bids_harmony))
    for name, found in zip(NAMES, (Harmonizer, SiteProfile, harmonize, simulate), strict=True):
        assert found.__name__ == name and found is getattr(bids_harmony, name)
    with pytest.raises(AttributeError, match="no attribute 'Harmoniser'"):
        _ = bids_harmony.Harmoniser


def test_the_package_alone_imports_nothing():
    """A name is imported when it is asked for."""
    code = (
        "import sys; before = set(sys.modules); import bids_harmony\n"
        "print(*sorted(set(sys.modules) - before))\n"
        "bids_harmony.simulate\n"
        "print(*(n for n in ('torch', 'ants', 'nipype', 'sklearn') if n in sys.modules))\n"
        "bids_harmony.harmonize\n"
        "print(*(n for n in ('torch', 'sklearn', 'nipype', 'bids') if n in sys.modules))\n"
        "bids_harmony.Harmonizer\n"
        "print(*(n for n in ('torch', 'sklearn', 'nipype', 'bids') if n in sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    alone, simulating, harmonizing, estimator = run.stdout.split("\n")[:4]
    ours = [name for name in alone.split() if name.startswith("bids_harmony")]
    assert ours == ["bids_harmony"]
    assert not set(alone.split()) & {"numpy", "nibabel", "torch", "sklearn"}
    assert simulating == harmonizing == "" and estimator == "sklearn"


@pytest.mark.parametrize("name", ["harmonizer", "one_scan", "profile", "simulation"])
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"bids_harmony.api.{name}")
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_docstrings_name_every_parameter():
    import inspect

    for function in (
        bids_harmony.harmonize,
        bids_harmony.simulate,
        bids_harmony.Harmonizer,
        bids_harmony.Harmonizer.fit,
        bids_harmony.Harmonizer.transform,
        bids_harmony.SiteProfile.from_images,
    ):
        text = inspect.getdoc(function)
        told = {
            word.strip()
            for line in text.splitlines()
            if re.match(r"[\w, ]+( : .*)?$", line)
            for word in line.partition(" : ")[0].split(",")
        }
        asked = set(inspect.signature(function).parameters) - {"self"}
        assert asked <= told, f"{function.__qualname__}: {sorted(asked - told)}"


def blocks(file: str) -> list[str]:
    return PYTHON.findall((ROOT / file).read_text(encoding="utf-8"))


def test_the_example_in_the_readme(tmp_path, monkeypatch, capsys):
    (code,) = blocks("README.md")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert os.listdir(tmp_path) == ["as_COI_T1w.nii.gz"]
    assert capsys.readouterr().out == ""


def test_the_examples_of_the_page(tmp_path, monkeypatch):
    *codes, torchio = blocks("docs/python.md")
    assert len(codes) >= 4 and "import torchio" in torchio
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, code in enumerate(codes):
        exec(compile(code, f"docs/python.md, example {number + 1}", "exec"), names)
    compile(torchio, "docs/python.md, TorchIO", "exec")
    lines = [line for line in torchio.splitlines() if line and not line.startswith("import")]
    assert len(lines) <= 12
