"""The one writer of a derivative dataset's text files: atomic, and only when something changes.

Many jobs may share one output folder. A file is written under a temporary name in its own folder
and renamed, so that a reader sees the old file or the new one and never half of it; a file that
already says the same is left alone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_harmony.bids.naming import scans_table_path
from bids_harmony.bids.table import read_tsv
from bids_harmony.exceptions import (
    BidsHarmonyError,
    CannotCreateOutput,
    DataError,
    InputOutputError,
    TryAgain,
)
from bids_harmony.io.atomic import link_atomically, write_atomically
from bids_harmony.io.locks import locked
from bids_harmony.io.pointers import check_content, is_named
from bids_harmony.io.reading import object_or_empty

__all__ = [
    "HASH_FIELD",
    "LOCK",
    "check_numbers",
    "is_complete",
    "link_file",
    "merge_table",
    "read_table",
    "resume_hash",
    "write_bytes",
    "write_json",
    "write_scans_rows",
    "write_text",
]

#: Lock file at the root of a derivative, held while tables change.
LOCK = ".lock"
# Sidecar field that says from what an image was made; see `resume_hash`.
HASH_FIELD = "HarmonizationHash"
# A row that another job overwrote between our reading and our renaming is added again, this often
# at most.
_MERGE_TRIES = 5


def write_text(path: Path, text: str) -> bool:
    """Write a text file atomically, unless it says the same already; see `write_bytes`."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> bool:
    """Write a small file atomically, unless it holds the same already.

    Parameters
    ----------
    path : Path
        Its folder is made if need be.
    content : bytes

    Returns
    -------
    bool
        Whether the file was written.

    Raises
    ------
    MissingInput
        When the file is there but its content was not fetched: nothing is overwritten unread.
    TryAgain
        When the disk is full; nothing is left behind.
    CannotCreateOutput
        When the folder cannot be made or written.
    InputOutputError
        On any other failure.
    """
    path = Path(path)
    try:
        if is_named(path):
            check_content(path)
            if path.is_file() and path.read_bytes() == content:
                return False
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if isinstance(error, BidsHarmonyError):
            raise
        raise _own_error(path, error) from error
    write_atomically(path, content)
    return True


def link_file(source: Path, path: Path) -> bool:
    """Give a file a second name (see `io.atomic.link_atomically`); its folder is made."""
    if is_named(path):
        check_content(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _own_error(path, error) from error
    return link_atomically(source, path)


def write_json(path: Path, record: Mapping[str, Any]) -> bool:
    """Write a JSON object atomically, unless it says the same already; key order is kept.

    Raises
    ------
    DataError
        On NaN or infinity, which JSON does not know.
    """
    check_numbers(record, str(path))
    return write_text(
        path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


def check_numbers(record: Mapping[str, Any], where: str) -> None:
    """Refuse numbers that no sidecar can hold; to be asked before the image is written.

    Raises
    ------
    DataError
        On NaN or infinity; the field is named.
    """
    for name, value in record.items():
        inner = value.items() if isinstance(value, Mapping) else ()
        values = value if isinstance(value, list | tuple) else (value,)
        check_numbers({f"{name}.{key}": one for key, one in inner}, where)
        if any(isinstance(one, float) and not math.isfinite(one) for one in values):
            raise DataError(
                "A number that was measured is not finite",
                where=where,
                expected=f"a finite {name}",
                got=str(value),
                hint="Intensities in the brain or around it are too large, or no numbers; look at "
                "the image.",
            )


def merge_table(
    path: Path, rows: Sequence[Mapping[str, Any]], *, key: str, lock: Path | None = None
) -> bool:
    """Add rows to a BIDS table, replacing those with the same key; other rows and columns stay.

    Jobs that share the lock do this one after the other. Where a file system knows no locks, rows
    that another job wrote over meanwhile are added again; what still slips through is mended by
    the next run.

    Parameters
    ----------
    path : Path
    rows : sequence of mapping
        Cells by column; None and NaN become ``n/a``.
    key : str
        Column that identifies a row; it stands first and the table is sorted by it.
    lock : Path, optional
        Lock file; by default ``.lock`` beside the table.

    Returns
    -------
    bool
        Whether the file was written.

    Raises
    ------
    MissingInput, CannotCreateOutput
        When the table that is there cannot be read as one with this key; see `read_table`.
    TryAgain
        When other jobs keep overwriting the table.
    """
    new = {str(row[key]): {name: _cell(value) for name, value in row.items()} for row in rows}
    with locked(lock or path.with_name(LOCK)):
        return _merge(path, new, key)


def read_table(path: Path, key: str) -> dict[str, dict[str, str]]:
    """Rows of a table of the output by their key; none where there is no table yet.

    Raises
    ------
    MissingInput
        When its content was not fetched.
    CannotCreateOutput
        When it is no table with this key, so that no row can be added to it.
    """
    if not is_named(path):
        return {}
    try:
        rows = read_tsv(path)
        if all(key in row for row in rows):
            return {row[key]: row for row in rows}
        reason: DataError | None = None
    except DataError as error:
        reason = error
    raise CannotCreateOutput(
        "Rows cannot be added to this table of the output",
        where=str(path),
        expected=f"a table with the column {key}",
        got=str(reason) if reason else "",
        hint="Move it away, or choose another output folder.",
    ) from reason


def _merge(path: Path, new: Mapping[str, Mapping[str, str]], key: str) -> bool:
    written = False
    for _ in range(_MERGE_TRIES):
        present = read_table(path, key)
        if written and all(
            present.get(name, {}).items() >= row.items() for name, row in new.items()
        ):
            return True
        merged = present | {name: present.get(name, {}) | dict(row) for name, row in new.items()}
        columns = list(dict.fromkeys([key, *(name for row in merged.values() for name in row)]))
        lines = ["\t".join(columns)]
        lines += [
            "\t".join(merged[name].get(column, "n/a") for column in columns)
            for name in sorted(merged)
        ]
        if not write_text(path, "\n".join(lines) + "\n"):
            return written
        written = True
    raise TryAgain(
        "Other jobs keep overwriting this table",
        where=str(path),
        hint="Run the same command again.",
    )


def write_scans_rows(
    output_dir: Path,
    subject: str,
    session: str | None,
    rows: Mapping[Path, Mapping[str, Any]],
    descriptions: Mapping[str, Mapping[str, Any]],
) -> Path:
    """Add rows to ``sub-X[_ses-Y]_scans.tsv`` and describe its columns in the JSON beside it.

    Parameters
    ----------
    output_dir : Path
    subject, session : str, str or None
        Labels without prefix.
    rows : mapping of Path to mapping
        Of each image (absolute path) its extra columns.
    descriptions : mapping
        Of each extra column its description (``Description``, ``Units``, ...); those of columns
        that the table does not have are left out.

    Returns
    -------
    Path
        The table.
    """
    table = scans_table_path(output_dir, subject, session)
    merge_table(
        table,
        [
            {"filename": image.relative_to(table.parent).as_posix(), **row}
            for image, row in rows.items()
        ],
        key="filename",
        # One for the whole derivative instead of one per person: inodes are scarce on clusters.
        lock=output_dir / LOCK,
    )
    # Other rows may have columns that these have not: an earlier run's, of another modality.
    columns = read_tsv(table)[0]
    write_json(
        table.with_suffix(".json"),
        {
            "filename": {"Description": "Image, relative to the folder of this table"},
            **{name: text for name, text in descriptions.items() if name in columns},
        },
    )
    return table


def resume_hash(parts: Mapping[str, Any]) -> str:
    """A sha256 over everything that an output depends on; the order of keys does not count.

    Leave out what must not change the result: processors, threads, batch size, device, folders.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def is_complete(sidecar: Path, wanted: str) -> bool:
    """Whether an image is there and its sidecar says that it was made from exactly this.

    The sidecar is written after the image, so a sidecar with the hash vouches for the image beside
    it.
    """
    image = sidecar.with_name(sidecar.name.removesuffix(".json") + ".nii.gz")
    try:
        # Not there, cut off or not JSON: then it is simply not complete and will be made again.
        return object_or_empty(sidecar).get(HASH_FIELD) == wanted and image.stat().st_size > 0
    except OSError:
        return False


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "n/a"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split()) or "n/a"


def _own_error(path: Path, error: OSError) -> Exception:
    got = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TryAgain(
            "No space left",
            where=str(path),
            got=got,
            hint="Make room and run the same command again.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return CannotCreateOutput("The file cannot be written", where=str(path), got=got)
    return InputOutputError("Writing failed", where=str(path), got=got)
