"""cli -> workflows -> interfaces -> api -> core: imports never point up; all is installed."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ["core", "api", "interfaces", "workflows", "cli"]  # bottom first
# Names at the top of the package; it imports them from `api` when they are asked for.
DOOR = {"Harmonizer", "SiteProfile", "harmonize", "simulate"}
# Neither in the core nor in what Python users import.
NOT_IN_CORE = {"nipype", "bids", "argparse"}
# Rooms that are neither core nor above it: they may know PyBIDS or the words of a run.
READS_BIDS = {"bids"}


def _modules() -> list[tuple[str, Path]]:
    """All modules of the package as (dotted name, file)."""
    found = []
    for top, prefix in ((ROOT / "bids_harmony", ()), (ROOT / "workflows", ("bids_harmony",))):
        for file in sorted(top.rglob("*.py")):
            parts = (*prefix, *file.relative_to(ROOT).with_suffix("").parts)
            found.append((".".join(p for p in parts if p != "__init__"), file))
    return found


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _layer(module: str) -> str:
    room = _room(module)
    if module == "bids_harmony" or room in DOOR:
        return "api"
    if room == "__main__":  # `python -m bids_harmony` is the command line
        return "cli"
    return room if room in LAYERS else "core"


def _imports(module: str, file: Path) -> set[str]:
    """Dotted names imported anywhere in a file, also inside functions."""
    names: set[str] = set()
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    ("module", "file"), _modules(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_imports_never_point_up(module, file):
    height = LAYERS.index(_layer(module))
    ours = {n for n in _imports(module, file) if n.startswith("bids_harmony.")}
    up = {n for n in ours if LAYERS.index(_layer(n)) > height}
    assert not up, f"{module} imports {sorted(up)}"


@pytest.mark.parametrize(
    ("module", "file"),
    [(m, f) for m, f in _modules() if _layer(m) in ("core", "api") and _room(m) not in READS_BIDS],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_core_knows_no_nipype_pybids_or_argparse(module, file):
    tops = {n.split(".")[0] for n in _imports(module, file)}
    assert not tops & NOT_IN_CORE, f"{module} imports {sorted(tops & NOT_IN_CORE)}"


def test_setup_cfg_lists_every_package_on_disk():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    on_disk = set()
    for module, file in _modules():
        on_disk.add(module if file.name == "__init__.py" else module.rpartition(".")[0])
    assert set(listed) == on_disk
    assert len(listed) == len(set(listed))


def test_every_package_has_an_init_file():
    folders = {file.parent for _, file in _modules()}
    assert all((folder / "__init__.py").exists() for folder in folders)
