"""Faults at every place of a run: what happens, and whether the next run mends it.

    python benchmarks/faults.py [--levels participant train ...] [--faults kill term ...]

Strikes runs of the three levels, and of the participant level on a diffusion series, with kill
-9, SIGTERM, exhausted memory, a full disk (needs root, for a small tmpfs) and I/O errors: at the
start and end of every node, in the middle of every file of the output folder, right after a file
got its name, and (kill -9 only) in the middle of every file of the work folder. See
``tests/faults``. Every chain
of faults is kept in ``benchmarks/results/faults.json`` when it is done, with its commit and the
share of places that it tried, and from there (``--table-only`` makes it again) goes into a
Markdown table beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measure import ROOT, provenance, put_into_page

sys.path.insert(0, str(ROOT))

from tests.faults.campaign import chain, places
from tests.faults.injection import FAULTS, Folders
from tests.faults.warm import Warm
from tests.faults.world import LEVELS, World, small_disk

RESULT = ROOT / "benchmarks" / "results" / "faults.json"
NAMES = {
    "kill": "kill -9", "term": "SIGTERM", "memory": "memory exhausted", "full": "disk full",
    "io": "I/O error",
}  # fmt: skip
PACKAGES = ("nipype", "nibabel", "numpy", "torch", "antspyx", "safetensors")


def struck(kind: str, place: str) -> bool:
    """Whether a kind of fault is tried at a place."""
    if kind == "kill":
        return True
    return not place.startswith("moved") and " work/" not in place


def sort_of(place: str) -> str:
    """Row of the table that a place belongs to."""
    verb, _, name = place.partition(" ")
    if place == "end":
        return "the undisturbed run at the end: same bytes"
    if verb in ("start", "end"):
        return "node boundaries"
    if verb == "moved":
        return "after a file got its name"
    if name.startswith("work/"):
        return "inside files of the work folder"
    return "inside files of the output folder"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one line for each level, fault and sort of place."""
    lines = [
        "| level | fault | place | places | exit codes | as it should be |",
        "|---|---|---|---:|---|---:|",
    ]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["level"], row["kind"], sort_of(row["place"])), []).append(row)
    for (level, kind, where), own in groups.items():
        codes = Counter(row["code"] for row in own)
        told = ", ".join(f"{c if c >= 0 else 'killed'} ({n})" for c, n in sorted(codes.items()))
        good = sum(not row["wrong"] for row in own)
        lines.append(f"| {level} | {NAMES[kind]} | {where} | {len(own)} | {told} | {good} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--levels", nargs="+", choices=LEVELS, default=LEVELS)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=FAULTS)
    parser.add_argument("--every", type=int, default=1, help="only every so manieth place")
    parser.add_argument("--world", type=Path, help="folder of cohort and model, kept")
    parser.add_argument("--table-only", action="store_true")
    options = parser.parse_args()
    if not options.table_only:
        campaign(options)
    text = table(json.loads(RESULT.read_text())["rows"])
    RESULT.with_suffix(".md").write_text(text)
    put_into_page("faults", text)


def campaign(options: argparse.Namespace) -> None:
    """Try all and write the result after every chain."""
    warm = Warm()
    with tempfile.TemporaryDirectory() as temporary:
        world = World.make(options.world or Path(temporary, "world"), warm)
        disk = Path(temporary, "disk")
        mounted = small_disk(disk)
        folders = Folders(disk / "out", disk / "work", disk if mounted else None)
        try:
            for level in options.levels:
                found, reference = places(world, level, folders)
                for kind in options.faults:
                    if kind == "full" and not mounted:
                        print("disk full: left out, a tmpfs needs root")
                        continue
                    own = [place for place in found if struck(kind, place)][:: options.every]
                    at = [(kind, place) for place in own]
                    rows = []
                    for outcome in chain(world, level, at, folders, reference):
                        rows.append(asdict(outcome))
                        print(level, kind, outcome.place, outcome.code, *outcome.wrong, flush=True)
                    save(level, kind, rows, options.every)
        finally:
            warm.close()
            if mounted:
                subprocess.run(["umount", "--lazy", str(disk)], check=True)


def save(level: str, kind: str, rows: list[dict[str, Any]], every: int) -> None:
    """Put a chain among those that are stored: other runs may add theirs at the same time."""
    earlier = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": [], "chains": {}}
    own = provenance(PACKAGES)
    rows += [row for row in earlier["rows"] if (row["level"], row["kind"]) != (level, kind)]
    order = [(level, kind) for level in LEVELS for kind in FAULTS]
    record = {
        "name": "faults", "command": "python benchmarks/faults.py", **own, "seeds": [0],
        "chains": earlier["chains"]
        | {f"{level} {kind}": {"commit": own["commit"], "every": every}},
        "rows": sorted(rows, key=lambda row: order.index((row["level"], row["kind"]))),
    }  # fmt: skip
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
