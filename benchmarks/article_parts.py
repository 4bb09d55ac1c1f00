"""The parts of the article's experiment: what they are, what they cost, which are done.

A part is one training run with its scores (or all methods that need none). Its rows go into the
record when it is done, never earlier: a part that broke off has none, and is run again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_harmony.io.atomic import write_atomically

__all__ = [
    "FIGURES",
    "LOSSES",
    "PARTS",
    "Curve",
    "Part",
    "all_parts",
    "flattened",
    "is_done",
    "pending",
    "with_result",
]

#: What is scored on travellers, as rows have it.
FIGURES = ("rmse", "ms_ssim", "psnr_db", "lpips")
#: Weights of the anatomical and the artefact loss (authors' repository).
LOSSES: Mapping[str, tuple[float, float]] = {
    "none": (0.0, 0.0), "anatomical": (1.0, 0.0), "artefact": (0.0, 2.0), "both": (1.0, 2.0),
}  # fmt: skip
PARTS = ("table1", "figure3c")
#: Losses in the order in which their rows are worth having.
_FIRST = ("none", "both", "artefact", "anatomical")
#: What a curve may still change by in its last fifth, dB, and from which share of it on.
_STILL_DB, _LAST = 0.1, 0.8
#: Minutes of one core, measured: training, validation and scoring.
_MINUTES = {
    "untrained": 20.0, "paper": 12.0, "paper-vgg": 28.0, "cgan": 28.0, "simix": 30.0,
    "local-trained": 30.0,
}  # fmt: skip

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes
    ----------
    part : str
        Where it belongs in the article, of `PARTS`.
    method : str
        ``untrained`` stands for all methods that need no training.
    losses : str
        Key of `LOSSES`, empty for methods that have losses of their own.
    modality : str
    seed : int
        Of the training; the cohort is the same for all.
    """

    part: str
    method: str
    losses: str
    modality: str
    seed: int

    @property
    def key(self) -> str:
        """Name in the record and of its folder."""
        words = (self.part, self.method, self.losses, self.modality, f"seed-{self.seed}")
        return "/".join(word for word in words if word)

    @property
    def minutes(self) -> float:
        """What it costs, minutes of one core."""
        return 4.0 if self.losses == "none" else _MINUTES[self.method]


def all_parts() -> list[Part]:
    """Every part, in the order in which they are worth having."""
    found = []
    for modality in ("T1w", "T2w"):
        found.append(Part("figure3c", "untrained", "", modality, 0))
        found += [Part("table1", "paper", losses, modality, 0) for losses in _FIRST]
        found += [Part("figure3c", method, "", modality, 0) for method in ("cgan", "simix")]
        found.append(Part("table1", "paper-vgg", "both", modality, 0))
        found.append(Part("figure3c", "local-trained", "", modality, 0))
        found += [
            Part("table1", "paper", losses, modality, seed) for seed in (1, 2) for losses in LOSSES
        ]
    for modality in ("T1w", "T2w"):
        found += [
            Part("table1", "paper-vgg", losses, modality, 0) for losses in LOSSES
            if losses != "both"
        ]  # fmt: skip
        found += [
            Part("figure3c", method, "", modality, seed)
            for seed in (1, 2)
            for method in ("cgan", "simix")
        ]
    return found


def is_done(record: Record, part: Part) -> bool:
    """Whether all rows of a part are in the record, with finite figures."""
    told = record.get("runs", {}).get(part.key)
    if told is None:
        return False
    rows = [row for row in record.get("rows", []) if _made_by(row, part, told["methods"])]
    whole = all(math.isfinite(row[figure]) for row in rows for figure in FIGURES)
    return whole and sorted(row["method"] for row in rows) == sorted(told["methods"])


def pending(parts: Sequence[Part], read: Callable[[], Record], minutes: float) -> Iterator[Part]:
    """Parts that are not done, while what they cost fits into the minutes that are left.

    Parameters
    ----------
    parts : sequence of Part
    read : callable
        Gives the record as it is now: another process may have done a part meanwhile.
    minutes : float
    """
    end = time.monotonic() + minutes * 60
    for part in parts:
        if is_done(read(), part) or part.minutes * 60 > end - time.monotonic():
            continue
        yield part


def with_result(
    record: Record, part: Part, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the record with the result of a part in the place of an earlier one."""
    methods = [row["method"] for row in rows]
    before = record.get("runs", {}).get(part.key, {}).get("methods", [])
    kept = [row for row in record.get("rows", []) if not _made_by(row, part, {*methods, *before})]
    runs = {**record.get("runs", {}), part.key: {"methods": methods, **about}}
    return {**record, "rows": [*kept, *rows], "runs": runs}


def _made_by(row: Mapping[str, Any], part: Part, methods: Sequence[str] | set[str]) -> bool:
    same = all(row[name] == getattr(part, name) for name in ("part", "losses", "modality", "seed"))
    return same and row["method"] in methods


class Curve:
    """Validation over training, kept in a file, so that a later sitting goes on with it.

    Parameters
    ----------
    path : Path
        JSON list of ``[slices, hours, psnr_db]``; hours of processor, validation among them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points: list[list[float]] = json.loads(path.read_text()) if path.is_file() else []
        self._before = self.points[-1][1] if self.points else 0.0
        self._start = time.process_time()

    @property
    def hours(self) -> float:
        """Of processor, those of earlier sittings among them."""
        return self._before + (time.process_time() - self._start) / 3600

    def add(self, slices: int, psnr_db: float) -> None:
        """Take note of a validation; what a broken sitting saw already is not told twice."""
        self.points = [point for point in self.points if point[0] < slices]
        self.points.append([slices, round(self.hours, 4), round(psnr_db, 3)])
        write_atomically(self.path, json.dumps(self.points).encode())


def flattened(curve: Sequence[Sequence[float]]) -> bool:
    """Whether a curve has come to rest: all of its last fifth lies within 0.1 dB.

    Parameters
    ----------
    curve : sequence of (slices, hours, psnr_db)
        By slices. With less than three points in the last fifth nothing is known: False.
    """
    if not curve:
        return False
    last = [psnr for slices, _, psnr in curve if slices >= _LAST * curve[-1][0]]
    return len(last) >= 3 and max(last) - min(last) < _STILL_DB
