"""The log of a training: a CSV file that grows on disk, one row per step, and not in memory."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from bids_harmony.io.atomic import write_with_folder

__all__ = ["TrainingLog", "read_log"]


class TrainingLog:
    """Rows of numbers, written as they come.

    Parameters
    ----------
    path : Path
    step : int
        Training goes on at this step: rows from there on, of a run that was cut off, are removed.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        kept = []
        if step and path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                kept = [r for r in csv.DictReader(file) if _step_of(r) < step]
        self._names = list(kept[0]) if kept else []
        write_with_folder(path, _text(self._names, kept).encode())

    def write(self, row: Mapping[str, float | None]) -> None:
        """Add a row; all rows have the names of the first, None is an empty cell."""
        # Opened for every row: whoever looks sees all rows, and an error leaves nothing open.
        with self.path.open("a", encoding="utf-8", newline="") as file:
            if not self._names:
                self._names = list(row)
                file.write(_text(self._names, []))
            csv.DictWriter(file, self._names, lineterminator="\n").writerow(row)


def read_log(path: Path) -> list[dict[str, float]]:
    """Read a log.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of dict
        One row per step; nan where nothing was measured at a step.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: float(cell) if cell else math.nan for name, cell in row.items()}
            for row in csv.DictReader(file)
        ]


def _step_of(row: Mapping[str, str | None]) -> float:
    # The last line of a killed process may be cut off in the middle.
    whole = all(cell is not None for cell in row.values())
    return int(row["step"] or 0) if whole else math.inf


def _text(names: list[str], rows: list[dict[str, str]]) -> str:
    if not names:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
