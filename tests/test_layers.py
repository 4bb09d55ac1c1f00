"""Rooms stand in one order, imports never point up, nothing goes in circles, all is installed."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

import pytest

from benchmarks.count import Module, graph, imported, knots, modules

ROOT = Path(__file__).resolve().parents[1]
FOUND = modules(ROOT)
#: Bottom first: a room imports those before it. Modules at the top of the package that are no
#: room stand under their own names; ``door`` is what stands in the package's own ``__init__``.
ORDER = (
    "exceptions", "resources", "devices", "revisions",
    "io", "imaging", "model", "diffusion", "sites", "methods", "settings",
    "quality", "phantom", "training", "bids", "group", "reports",
    "api", "door", "interfaces", "workflows", "cli",
)  # fmt: skip
#: Neither in the core nor in what Python users import.
NOT_IN_CORE = {"nipype", "bids", "argparse"}
#: The core: arrays in, arrays out. The room `bids` asks PyBIDS.
CORE = {*ORDER[: ORDER.index("interfaces")]} - {"bids", "door"}


def room(module: Module) -> str:
    """Room of a module, or its own name where it stands alone."""
    return module.name.split(".")[1] if module.room == "base" else module.room


def test_every_room_has_its_place():
    assert {room(module) for module in FOUND.values()} - {"data"} == set(ORDER)


def test_imports_never_point_up():
    up = [
        f"{name} imports {target}"
        for name, module in FOUND.items()
        for target in set().union(*imported(module, FOUND))
        # The version stands at the door.
        if target != "bids_harmony" and room(module) != "data"
        if ORDER.index(room(FOUND[target])) > ORDER.index(room(module)) and name != "bids_harmony"
    ]
    assert up == []


def test_no_module_reaches_itself():
    at_run, _ = graph({n: m for n, m in FOUND.items() if n != "bids_harmony"})
    assert knots(at_run) == []


@pytest.mark.parametrize("name", ["training", "cli"])
def test_only_their_levels_know(name):
    """Nothing in the core or the readers' rooms needs what stands at the top of them."""
    importers = {
        room(module)
        for module in FOUND.values()
        for target in set().union(*imported(module, FOUND))
        if room(FOUND[target]) == name
    }
    assert importers <= {"training": {"training", "workflows", "cli"}, "cli": {"cli"}}[name]


def test_the_laboratory_is_not_imported():
    for module in FOUND.values():
        names = {
            alias.name
            for node in ast.walk(ast.parse(module.text))
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            node.module or ""
            for node in ast.walk(ast.parse(module.text))
            if isinstance(node, ast.ImportFrom)
        }
        assert not {name for name in names if name.split(".")[0] in ("lab", "tests")}, module.name


def test_core_knows_no_nipype_pybids_or_argparse():
    found = []
    for module in (m for m in FOUND.values() if room(m) in CORE):
        for node in ast.walk(ast.parse(module.text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            found += [f"{module.name}: {n}" for n in names if n.split(".")[0] in NOT_IN_CORE]
    assert found == []


def test_setup_cfg_lists_every_package_on_disk():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    on_disk = {
        name if module.file.name == "__init__.py" else name.rpartition(".")[0]
        for name, module in FOUND.items()
    }
    assert set(listed) == on_disk
    assert len(listed) == len(set(listed))


def test_every_package_has_an_init_file():
    folders = {module.file.parent for module in FOUND.values()}
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_tests_do_not_reach_into_private_names():
    """What a test needs of a module is public there."""
    found = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        ours = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bids_harmony")
            for alias in node.names
        }
        for node in ast.walk(tree):
            told = ""
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bids_harmony"):
                told = " ".join(alias.name for alias in node.names if _is_private(alias.name))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                told = node.attr if node.value.id in ours and _is_private(node.attr) else ""
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                last = node.value.rpartition(".")[2]
                dotted = node.value.startswith("bids_harmony.") and last.isidentifier()
                told = last if dotted and _is_private(last) else ""
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".setattr"):
                of, name = (ast.unparse(word) for word in node.args[:2])
                told = name if of in ours and name.startswith("'_") and name[2] != "_" else ""
            if told and "_adapt" not in told:  # what every interface fills in
                found.append(f"{file.name}:{node.lineno} {told}")
    assert found == []


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
