"""What the diffusion part of the biology benchmark leaves on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from biology_apply import TRUTH

__all__ = ["EFFECTS", "MAPS", "PLANTED", "labels", "part_file", "rows", "true_medians"]

#: Added to NDI and ODI of white matter, evenly between both ends.
PLANTED = {"ndi": (-0.05, 0.05), "odi": (-0.04, 0.06)}
#: Names of the effects in the rows: true medians of the person's white matter.
EFFECTS = tuple(f"white_{name}" for name in PLANTED)
#: MD in 1e-3 mm2/s.
MAPS = ("FA", "MD", "NDI", "ODI")


def part_file(folder: Path, label: str, site: str, person: str) -> Path:
    """Medians of one scan; `folder` is that of the draw."""
    return folder / "diffusion" / "parts" / label / f"{site}-{person}.json"


def labels(folder: Path) -> list[Path]:
    """Folders of the methods that have rows."""
    found = (folder / "diffusion" / "parts").glob("*")
    return [path for path in found if path.name != TRUTH]


def rows(folder: Path, label: str) -> Iterator[dict[str, Any]]:
    """Kept medians of a method, one row a scan."""
    for path in sorted((folder / "diffusion" / "parts" / label).glob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))["row"]


def true_medians(folder: Path) -> dict[str, dict[str, float]]:
    """By person, the values of `EFFECTS`."""
    path = folder / "diffusion" / "people.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
