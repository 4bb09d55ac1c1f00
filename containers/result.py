"""What containers/test saw, as a result file: lines on standard input, JSON on standard output.

The words of a line are parted by tabs: ``row WHAT SECONDS [BYTES]``, ``version TOOL TEXT`` or
``not_tried TEXT``.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def result(lines: Iterable[str]) -> dict[str, Any]:
    """The record, without what only the machine knows (`main` adds it)."""
    rows: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    not_tried: list[str] = []
    for line in lines:
        kind, *words = line.rstrip("\n").split("\t")
        if kind == "row":
            rows.append({"what": words[0], "seconds": int(words[1])})
            if words[2:]:
                rows[-1]["bytes"] = int(words[2])
        elif kind == "version":
            versions[words[0]] = words[1]
        else:
            not_tried.append(words[0])
    return {"versions": versions, "seeds": [], "rows": rows, "not_tried": not_tried}


def main() -> None:
    git = ["git", "-C", str(ROOT)]
    changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
    record = {
        "name": "container",
        "command": "containers/test --result benchmarks/results/container.json",
        "commit": subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip(),
        "uncommitted_changes": bool(changed.strip()),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "load_average": [round(load, 1) for load in os.getloadavg()],
        **result(sys.stdin),
    }
    json.dump(record, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
