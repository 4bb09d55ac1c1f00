"""Tab-separated tables of BIDS, read as text."""

from __future__ import annotations

import csv
from pathlib import Path

from bids_harmony.exceptions import DataError, MissingInput

__all__ = ["read_tsv"]


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Rows of a BIDS table as text by column name; blanks around cells are dropped.

    Raises
    ------
    MissingInput
        When the file is not there or is a link to annexed content that was not fetched.
    DataError
        When it is not text or a row has more cells than there are columns.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = []
            for row in reader:
                if None in row:
                    raise DataError(
                        "A row has more cells than the table has columns",
                        where=f"{path}, line {reader.line_num}",
                        hint="Separate cells by tabs.",
                    )
                rows.append({name.strip(): (value or "").strip() for name, value in row.items()})
            return rows
    except FileNotFoundError as error:
        hint = f"Fetch it: datalad get {path}" if Path(path).is_symlink() else ""
        raise MissingInput("The table does not exist", where=str(path), hint=hint) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            "The table is not tab-separated UTF-8 text", where=str(path), got=str(error)
        ) from error
