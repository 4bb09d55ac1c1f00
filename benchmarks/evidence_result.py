"""Results of the evidence benchmarks: rows of several builds of the package side by side.

Parts are kept, with what they were asked for; those of other code or weights are made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from from_the_box import package_root
from measure import provenance

from bids_harmony.io.atomic import write_atomically

__all__ = ["RESULTS", "ROOT", "kept", "merged", "write_result"]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
_PACKAGES = ("torch", "numpy", "scipy")


def kept(
    part: Path, asked: Mapping[str, Any], make: Callable[[], Iterable[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Rows of a part that was asked for in the same way, made now where there are none.

    Parameters
    ----------
    part : Path
        File of the part; its folder is made.
    asked : mapping
        For JSON: all that the rows depend on.
    make : callable
        Gives the rows.
    """
    question = json.loads(json.dumps(asked))
    if part.is_file():
        stored = json.loads(part.read_text(encoding="utf-8"))
        if stored["asked"] == question:
            return stored["rows"]
    rows = [dict(row) for row in make()]
    part.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(part, json.dumps({"asked": question, "rows": rows}).encode())
    return rows


def merged(
    name: str, rows: Sequence[Mapping[str, Any]], *, label: str, python: Path | None
) -> dict[str, Any]:
    """The earlier result with the methods of these rows replaced.

    Parameters
    ----------
    name : str
        File in ``benchmarks/results``, without suffix.
    rows : sequence of mapping
    label : str
        Which build made them; its commit is stated under ``made_by``.
    python : Path, optional
        Interpreter of that build, if it is not this one.
    """
    file = RESULTS / f"{name}.json"
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    new = {row["method"] for row in rows}
    kept = [row for row in earlier.get("rows", []) if row["method"] not in new]
    about = provenance(_PACKAGES, root=package_root(python))
    made_by = earlier.get("made_by", {}) | {label: about}
    return {"name": name, "made_by": made_by, "rows": [*kept, *rows]}


def write_result(name: str, record: Mapping[str, Any], page: str) -> None:
    """Write and print the result, one row a line."""
    rows = ",\n  ".join(json.dumps(row) for row in record["rows"])
    head = json.dumps({k: v for k, v in record.items() if k != "rows"}, indent=1)
    text = f'{head[:-2]},\n "rows": [\n  {rows}\n ]\n}}\n'
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)
