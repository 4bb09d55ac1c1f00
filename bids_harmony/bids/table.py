"""Tab-separated tables of BIDS, read as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from bids_harmony.exceptions import DataError
from bids_harmony.reading import read_text

__all__ = ["read_tsv", "scans_tables", "sessions_tables"]


def sessions_tables(folder: Path) -> list[Path]:
    """``*_sessions.tsv`` in a subject's folder, links to nowhere included."""
    return _visible(folder.glob("*_sessions.tsv"))


def scans_tables(folder: Path) -> list[Path]:
    """``*_scans.tsv`` in a subject's folder and those of its sessions."""
    return _visible([*folder.glob("*_scans.tsv"), *folder.glob("ses-*/*_scans.tsv")])


def _visible(paths: Iterable[Path]) -> list[Path]:
    """Without what macOS leaves beside each file on other disks: ``._sub-01_scans.tsv``."""
    return sorted(path for path in paths if not path.name.startswith("."))


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Rows of a BIDS table as text by column name; blanks around cells are dropped.

    Raises
    ------
    MissingInput
        When the file is not there, or its content was not fetched.
    InputOutputError
        When it cannot be read.
    DataError
        When it is not text, is larger than `reading.MOST_TEXT`, or a row has more cells than there
        are columns.
    """
    text = read_text(path, holds="table")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    rows = []
    try:
        for row in reader:
            if None in row:
                raise DataError(
                    "A row has more cells than the table has columns",
                    where=f"{path}, line {reader.line_num}",
                    hint="Separate cells by tabs.",
                )
            rows.append({name.strip(): (value or "").strip() for name, value in row.items()})
    except csv.Error as error:
        raise DataError(
            "The table is not tab-separated text", where=str(path), got=str(error)
        ) from error
    return rows
