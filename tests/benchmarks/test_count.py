"""The count of the code, on a small package that is made here."""

from __future__ import annotations

import pytest

from benchmarks.count import code_lines, count, table

FILES = {
    "bids_harmony/__init__.py": '"""A package.\n\nTwo lines.\n"""\n\n__version__ = "1"\n',
    "bids_harmony/__main__.py": "from bids_harmony.cli.main import main\n",
    "bids_harmony/errors.py": "class Problem(Exception): ...\n",
    "bids_harmony/imaging/__init__.py": "",
    "bids_harmony/imaging/volume.py": "import bids_harmony.errors\nfrom .mask import find\n",
    "bids_harmony/imaging/mask.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from bids_harmony.model.network import Network\n"
        "def find(network: 'Network'): ...\n"
    ),
    "bids_harmony/model/__init__.py": "",
    "bids_harmony/model/network.py": (
        "from bids_harmony.imaging import mask, volume\nclass Network: ...\n"
    ),
    "bids_harmony/cli/__init__.py": "",
    "bids_harmony/cli/main.py": (
        "from bids_harmony import __version__\n"
        "def main():\n"
        "    from bids_harmony.workflows.base import run\n"
    ),
    "workflows/__init__.py": "",
    "workflows/base.py": "from ..model.network import Network\n\n\nrun = Network\n",
    "workflows/long.py": "# one\n" * 401,
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def _pairs(edges):
    return {(e["from"], e["to"]): e["pairs"] for e in edges}


def test_lines_and_long_files(tree):
    found = count(tree, run=False)
    assert found["modules"] == len(FILES)
    assert found["lines"] == sum(len(text.splitlines()) for text in FILES.values())
    assert found["long_files"] == {"workflows/long.py": 401}
    assert found["rooms"]["imaging"] == {"modules": 3, "lines": 6}


def test_code_lines_leave_out_blanks_comments_and_docstrings():
    text = '"""Doc.\n\nMore.\n"""\n\n# why\nx = """a\nb"""\n\n'
    text += 'def f():\n    "Doc."\n    return (\n        x  # y\n    )\n'
    assert code_lines(text) == 2 + 1 + 3


def test_imports_between_rooms(tree):
    found = count(tree, run=False)
    assert _pairs(found["imports"]) == {
        ("cli", "workflows"): 1,  # inside a function
        ("imaging", "base"): 1,
        ("model", "imaging"): 2,
        ("workflows", "model"): 1,  # relative, as installed
    }
    assert _pairs(found["imports_for_types"]) == {("imaging", "model"): 1}
    assert found["knots_of_rooms"] == []
    assert found["knots_of_rooms_with_types"] == [["imaging", "model"]]


def test_a_circle_is_told(tree):
    (tree / "bids_harmony/imaging/mask.py").write_text("import bids_harmony.model.network\n")
    found = count(tree, run=False)
    assert found["knots_of_rooms"] == [["imaging", "model"]]
    assert found["knots_of_modules"] == [
        [f"bids_harmony.{name}" for name in ("imaging.mask", "imaging.volume", "model.network")]
    ]
    text = table([{"commit": "0" * 40, **found}])
    assert "| imports between rooms one way | no: imaging, model |" in text


def test_modules_of_a_worker_are_those_it_has_loaded(tree):
    (tree / "workflows/preloaded.py").write_text("import bids_harmony.imaging.volume\n")
    (tree / "bids_harmony/__init__.py").write_text(
        "__path__.append(__path__[0] + '/..')\n"  # where `workflows` is found in a checkout
    )
    found = count(tree)["scan_modules"]
    assert (found["preloaded"], found["scan"]) == (7, None)
    assert "bids_harmony.model" not in found["names"]
    assert "bids_harmony.imaging.mask" in found["names"]
