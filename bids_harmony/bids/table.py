"""Tab-separated tables of BIDS, read as text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from bids_harmony.exceptions import DataError
from bids_harmony.io.reading import read_text

__all__ = ["keyed_rows", "label_of", "read_tsv", "scans_tables", "sessions_tables"]


def sessions_tables(folder: Path) -> list[Path]:
    """``*_sessions.tsv`` in a subject's folder, links to nowhere included."""
    return _visible(folder.glob("*_sessions.tsv"))


def scans_tables(folder: Path) -> list[Path]:
    """``*_scans.tsv`` in a subject's folder and those of its sessions."""
    return _visible([*folder.glob("*_scans.tsv"), *folder.glob("ses-*/*_scans.tsv")])


def _visible(paths: Iterable[Path]) -> list[Path]:
    """Without what macOS leaves beside each file on other disks: ``._sub-01_scans.tsv``."""
    return sorted(path for path in paths if not path.name.startswith("."))


def label_of(cell: str, entity: str) -> str:
    """The label in a cell, with or without its entity: ``01``, ``sub-01``, ``SUB_01``."""
    return re.sub(rf"^{entity}[-_]", "", cell.strip(), flags=re.IGNORECASE)


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Rows of a BIDS table as text by column name; blanks around cells are dropped.

    A table whose header stands in quotation marks, as R writes it, has them around cells, too;
    elsewhere they are part of a cell.

    Raises
    ------
    MissingInput
        When the file is not there, or its content was not fetched.
    InputOutputError
        When it cannot be read.
    DataError
        When it is not text, is larger than `reading.MOST_TEXT`, a row has more cells than there
        are columns, or two columns of one name differ.
    """
    return _read(path)[1]


def keyed_rows(path: Path, key: str) -> list[dict[str, str]]:
    """Rows of a table that BIDS wants to have a certain column, whatever the case of its name.

    Raises
    ------
    MissingInput, InputOutputError, DataError
        As `read_tsv`, and where there is no such column. A file of no bytes has no rows.
    """
    names, rows = _read(path)
    if not any(names) and not rows:
        return rows
    name = next((n for n in names if n.casefold() == key), None)
    if name is None:
        apart = next((word for sign, word in _OTHERS.items() if sign in " ".join(names)), None)
        raise DataError(
            f"The table has no column {key}",
            where=str(path),
            got=", ".join(names),
            hint=f"Cells are separated by tabs in BIDS, not by {apart}."
            if apart
            else f"Call the column of labels {key}.",
        )
    return rows if name == key else [{key: row[name], **row} for row in rows]


_OTHERS = {",": "commas", ";": "semicolons", "  ": "blanks"}


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Names of columns, and rows."""
    text = read_text(path, holds="table")
    lines = io.StringIO(text, newline="")
    if text.lstrip().startswith('"'):
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_MINIMAL)
    else:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        named = (names for names in reader if any(name.strip() for name in names))
        header = [name.strip() for name in next(named, [])]
        rows = []
        for cells in reader:
            if not cells:
                continue
            if len(cells) > len(header):
                raise DataError(
                    "A row has more cells than the table has columns",
                    where=f"{path}, line {reader.line_num}",
                    hint="Separate cells by tabs.",
                )
            cells = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
            rows.append(_row(header, cells, f"{path}, line {reader.line_num}"))
    except csv.Error as error:
        raise DataError(
            "The table is not tab-separated text", where=str(path), got=str(error)
        ) from error
    return header, rows


def _row(header: list[str], cells: list[str], where: str) -> dict[str, str]:
    row: dict[str, str] = {}
    for name, cell in zip(header, cells, strict=True):
        if name and row.setdefault(name, cell) != cell:
            raise DataError(
                f"Two columns are called {name}",
                where=where,
                got=f"{row[name]} and {cell}",
                hint="Give each column a name of its own.",
            )
    return row
