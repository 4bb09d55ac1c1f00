"""Size and order of the code: lines in the wheel, long files, imports between rooms, a scan's way.

    python benchmarks/count.py [--before CHECKOUT ...]

* ``lines``: all lines of every ``.py`` in the wheel (``bids_harmony/`` and ``workflows/``);
  ``code_lines``: without blank lines, comments and docstrings.
* ``long_files``: files of more than 400 lines.
* ``imports``: modules that import a module of another room, as pairs, also inside functions; those
  for type checkers alone are told apart. A room is a folder of the package. Modules at its top are
  the room ``base``; ``__init__.py`` is ``door``, ``__main__.py`` belongs to ``cli``.
* ``knots``: rooms (and modules) that reach each other in a circle by imports at run time; none
  where imports go one way.
* ``scan_modules``: modules of ours on a scan's way: ``scan``, those that are loaded when
  `bids_harmony.harmonize` has harmonized a small simulated scan (the simulation runs in another
  process); ``preloaded``, those that a worker of the command line holds before its scan, for
  figures, summaries and files as well; ``both``. In a checkout without the public functions, the
  preloaded ones alone.

``--before`` counts other checkouts the same way; both stand in ``benchmarks/results/count.json``.
The checkouts share this environment's libraries.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx

PACKAGE = "bids_harmony"
LONG = 400
RESULT = Path(__file__).resolve().parent / "results" / "count.json"
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Module:
    """A module of the wheel: dotted name, file, and its text."""

    name: str
    file: Path
    text: str

    @property
    def room(self) -> str:
        parts = self.name.split(".")
        if len(parts) == 1:
            return "door"
        if parts[1] == "__main__":
            return "cli"
        return parts[1] if len(parts) > 2 or self.file.name == "__init__.py" else "base"


def modules(root: Path) -> dict[str, Module]:
    """All modules of the wheel by dotted name; ``workflows/`` is installed inside the package."""
    found = {}
    for top, prefix in ((root / PACKAGE, ()), (root / "workflows", (PACKAGE,))):
        for file in sorted(top.rglob("*.py")):
            parts = (*prefix, *file.relative_to(root).with_suffix("").parts)
            name = ".".join(part for part in parts if part != "__init__")
            found[name] = Module(name, file, file.read_text(encoding="utf-8"))
    return found


def code_lines(text: str) -> int:
    """Lines that hold code: neither blank, nor comment, nor docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def imported(module: Module, known: Mapping[str, Module]) -> tuple[set[str], set[str]]:
    """Modules of ours that a module imports: at run time, and for type checkers alone."""
    tree = ast.parse(module.text)
    checked = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for line in node.body
        for inner in ast.walk(line)
    }
    at_run: set[str] = set()
    for_types: set[str] = set()
    for node in ast.walk(tree):
        names = {name for name in _targets(node, module, known) if name != module.name}
        (for_types if id(node) in checked else at_run).update(names)
    return at_run, for_types - at_run


def _targets(node: ast.AST, module: Module, known: Mapping[str, Module]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
    elif isinstance(node, ast.ImportFrom):
        package = module.name.split(".")
        if module.file.name != "__init__.py":
            package.pop()
        base = package[: len(package) - node.level + 1] if node.level else []
        origin = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            if f"{origin}.{alias.name}" in known:
                yield f"{origin}.{alias.name}"
            elif origin in known:
                yield origin


def graph(found: Mapping[str, Module]) -> tuple[nx.DiGraph, nx.DiGraph]:
    """Imports between modules: at run time, and for type checkers alone."""
    graphs = nx.DiGraph(), nx.DiGraph()
    for module in found.values():
        for one, names in zip(graphs, imported(module, found), strict=True):
            one.add_node(module.name)
            one.add_edges_from((module.name, name) for name in names)
    return graphs


def between_rooms(modules_graph: nx.DiGraph, found: Mapping[str, Module]) -> nx.DiGraph:
    """Rooms, and how many pairs of modules join each two."""
    rooms = nx.DiGraph()
    rooms.add_nodes_from(module.room for module in found.values())
    for importer, target in modules_graph.edges:
        ends = found[importer].room, found[target].room
        # What stands at the door itself (the version) asks for nothing; its names come from `api`.
        if ends[0] != ends[1] and ends[1] != "door":
            pairs = rooms.get_edge_data(*ends, default={"pairs": 0})["pairs"]
            rooms.add_edge(*ends, pairs=pairs + 1)
    return rooms


def knots(directed: nx.DiGraph) -> list[list[str]]:
    """What reaches each other in a circle, largest first."""
    circles = [sorted(c) for c in nx.strongly_connected_components(directed) if len(c) > 1]
    return sorted(circles, key=lambda c: (-len(c), c))


_SHOW = """
import os, sys
import PACKAGE
loaded = sorted(n for n in sys.modules if n.split(".")[0] == "PACKAGE")
origin = os.path.realpath(PACKAGE.__file__)
assert origin.startswith(os.path.realpath(os.getcwd()) + os.sep), origin
print("LOADED", *loaded)
""".replace("PACKAGE", PACKAGE)
_SIMULATE = """
import nibabel, sys
from PACKAGE import simulate
for number, site in enumerate(("GE", "COI")):
    nibabel.save(simulate(number + 1, site, voxel_scale=6), f"{sys.argv[1]}/{number}.nii.gz")
""".replace("PACKAGE", PACKAGE)
_PRELOADED = """
import logging
class Fails(logging.Handler):
    def emit(self, record):
        raise SystemExit(f"not loaded: {record.exc_info}")
logger = logging.getLogger("PACKAGE.workflows.preloaded")
logger.setLevel(logging.DEBUG); logger.addHandler(Fails())
import PACKAGE.workflows.preloaded
""".replace("PACKAGE", PACKAGE)
_HARMONIZE = """
import sys
from PACKAGE import harmonize
image, target = (f"{sys.argv[1]}/{number}.nii.gz" for number in (0, 1))
harmonize(image, target, modality="T1w", voxel_mm=6, sloppy=True)
""".replace("PACKAGE", PACKAGE)


def scan_modules(root: Path) -> dict[str, Any]:
    """Modules of ours in a worker that harmonizes one scan."""
    preloaded = _run(root, _PRELOADED + _SHOW)
    has_door = '"harmonize"' in (root / PACKAGE / "__init__.py").read_text(encoding="utf-8")
    if not has_door:
        return {"scan": None, "preloaded": len(preloaded), "both": None, "names": preloaded}
    with tempfile.TemporaryDirectory() as folder:
        _run(root, _SIMULATE + _SHOW, folder)
        scan = _run(root, _HARMONIZE + _SHOW, folder)
    return {
        "scan": len(scan),
        "preloaded": len(preloaded),
        "both": len({*scan, *preloaded}),
        "names": scan,
    }


def _run(root: Path, code: str, *words: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise SystemExit(f"{root}: {run.stderr[-3000:]}")
    return run.stdout.rpartition("LOADED ")[2].split()


def count(root: Path, *, run: bool = True) -> dict[str, Any]:
    """Count a checkout; without `run` only what can be read."""
    found = modules(root)
    texts = {str(m.file.relative_to(root)): m.text for m in found.values()}
    lines = {name: len(text.splitlines()) for name, text in texts.items()}
    at_run, for_types = graph(found)
    rooms, typed = (between_rooms(g, found) for g in (at_run, for_types))
    size = {room: [0, 0] for room in rooms}
    for module in found.values():
        size[module.room][0] += 1
        size[module.room][1] += len(module.text.splitlines())
    return {
        "modules": len(found),
        "lines": sum(lines.values()),
        "code_lines": sum(map(code_lines, texts.values())),
        "long_files": {n: k for n, k in sorted(lines.items(), key=lambda x: -x[1]) if k > LONG},
        "rooms": {r: {"modules": m, "lines": k} for r, (m, k) in sorted(size.items())},
        "imports": [{"from": a, "to": b, "pairs": n} for a, b, n in _edges(rooms)],
        "imports_for_types": [{"from": a, "to": b, "pairs": n} for a, b, n in _edges(typed)],
        "knots_of_rooms": knots(rooms),
        "knots_of_rooms_with_types": knots(nx.compose(rooms, typed)),
        "knots_of_modules": knots(at_run),
        "scan_modules": scan_modules(root) if run else None,
    }


def _edges(rooms: nx.DiGraph) -> list[tuple[str, str, int]]:
    return sorted(rooms.edges.data("pairs"))


def table(sides: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: the numbers of all sides, then the matrix of the last."""
    head = [side["commit"][:7] for side in sides]
    rows: list[list[Any]] = [
        ["lines in the wheel", *(s["lines"] for s in sides)],
        ["lines of code", *(s["code_lines"] for s in sides)],
        ["modules", *(s["modules"] for s in sides)],
        [f"files above {LONG} lines", *(len(s["long_files"]) for s in sides)],
        ["rooms", *(len(s["rooms"]) for s in sides)],
        ["imports between rooms", *(sum(e["pairs"] for e in s["imports"]) for s in sides)],
        ["imports between rooms one way", *(_circles(s["knots_of_rooms"]) for s in sides)],
        [
            "... with those for type checkers",
            *(_circles(s["knots_of_rooms_with_types"]) for s in sides),
        ],
        ["modules in circles", *(sum(map(len, s["knots_of_modules"])) for s in sides)],
    ]
    ways = [s["scan_modules"] for s in sides]
    if all(ways):
        rows.append(["modules of a worker before its scan", *(w["preloaded"] for w in ways)])
        rows.append(["modules on a scan's way", *(w["scan"] or "no API" for w in ways)])
        rows.append(["modules of both", *(w["both"] or "no API" for w in ways)])
    rows = [[row[0], *(v if isinstance(v, str) else f"{v:,}" for v in row[1:])] for row in rows]
    return _markdown(["", *head], rows) + "\n" + _matrix(sides[-1])


def _circles(found: Sequence[Sequence[str]]) -> str:
    return "; ".join("no: " + ", ".join(one) for one in found) or "yes"


def _matrix(side: Mapping[str, Any]) -> str:
    # In order of imports: a triangle where they go one way.
    joined = nx.DiGraph([(e["from"], e["to"]) for e in side["imports"]])
    joined.add_nodes_from(side["rooms"])
    condensed = nx.condensation(joined)
    order = [
        room
        for group in nx.lexicographical_topological_sort(
            condensed, key=lambda n: min(condensed.nodes[n]["members"])
        )
        for room in sorted(condensed.nodes[group]["members"])
    ]
    pairs = {(e["from"], e["to"]): e["pairs"] for e in side["imports"]}
    rows = [[a, *(str(pairs.get((a, b), "")) if a != b else "-" for b in order)] for a in order]
    return _markdown([f"{side['commit'][:7]}: imports", *order], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main(words: Sequence[str] | None = None) -> None:
    from measure import provenance

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", type=Path, nargs="*", default=[], metavar="CHECKOUT")
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args(words)
    here = Path(__file__).resolve().parent.parent
    sides = []
    for root in (*(p.resolve() for p in asked.before), here):
        made = provenance((), root=root)
        commit = {k: made[k] for k in ("commit", "uncommitted_changes")}
        sides.append({"side": "now" if root == here else "before", **commit, **count(root)})
    command = " ".join(["benchmarks/count.py", *(["--before ..."] if asked.before else [])])
    result = {"command": command, **provenance(["networkx", "torch"]), "sides": sides}
    asked.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(sides))
    print("Above", LONG, "lines now:", ", ".join(sides[-1]["long_files"]) or "none")


if __name__ == "__main__":
    main()
