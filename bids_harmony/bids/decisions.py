"""What people decided about scans after they had looked at the pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from bids_harmony.bids.table import keyed_rows
from bids_harmony.exceptions import DataError
from bids_harmony.io.names import file_stem
from bids_harmony.io.pointers import is_named

__all__ = [
    "AGAIN",
    "EXCLUDE",
    "KEEP",
    "Decision",
    "about_no_scan",
    "excluded_among",
    "excluded_scans",
    "read_decisions",
]

KEEP, AGAIN, EXCLUDE = "keep", "look again", "exclude"
_PATTERN = "*_decisions.tsv"


@dataclass(frozen=True)
class Decision:
    """A decision about a scan.

    Attributes
    ----------
    scan : str
        Stem of the source such as ``sub-01_T1w``.
    decision : {"keep", "look again", "exclude"}
    remark : str
        In the words of who decided.
    decided : str
        When, as ISO 8601 in UTC.
    """

    scan: str
    decision: str
    remark: str = ""
    decided: str = ""

    @property
    def words(self) -> str:
        """The decision with its remark."""
        return self.decision + (f": {self.remark}" if self.remark else "")


def read_decisions(output_dir: Path) -> Mapping[str, Decision]:
    """Decisions in ``OUT/*_decisions.tsv``, which pages of participants export.

    A process reads the tables once, until one of them changes.

    Parameters
    ----------
    output_dir : Path

    Returns
    -------
    mapping of scan to Decision
        Of several about one scan the latest.

    Raises
    ------
    DataError
        On another word than the three, or a table without the columns.
    MissingInput, InputOutputError
        A table cannot be read.
    """
    paths = (p for p in sorted(Path(output_dir).glob(_PATTERN)) if not p.name.startswith("."))
    return _read(tuple((path, *_state(path)) for path in paths))


def excluded_scans(output_dir: Path) -> dict[str, Decision]:
    """Decisions that pass over a scan, by the scan; raises as `read_decisions`."""
    decisions = read_decisions(output_dir)
    return {scan: one for scan, one in decisions.items() if one.decision == EXCLUDE}


def excluded_among(images: Iterable[str], output_dir: Path) -> list[str]:
    """Those of some images that decisions pass over, as labels, sorted; raises as
    `read_decisions`."""
    excluded = excluded_scans(output_dir)
    return sorted(label for image in images if (label := file_stem(image)) in excluded)


def about_no_scan(bids_dir: Path, output_dir: Path) -> list[str]:
    """What to say of decisions about scans that the dataset does not have.

    Raises as `read_decisions`.
    """
    lost = [s for s in read_decisions(output_dir) if not _is_there(Path(bids_dir), s)]
    return [
        f"The decision about {scan} counts for nothing: {bids_dir} has no such scan. Scans are "
        "named as their files, sub-01_ses-1_T1w."
        for scan in lost
    ]


def _is_there(bids_dir: Path, scan: str) -> bool:
    """Whether an image of that name lies in the folder that BIDS gives it."""
    parts = scan.split("_")
    folders = [part for part in parts[:2] if part.startswith(("sub-", "ses-"))]
    place = bids_dir.joinpath(*folders, "dwi" if parts[-1] == "dwi" else "anat")
    return any(is_named(place / f"{scan}{kind}") for kind in (".nii.gz", ".nii"))


def _state(path: Path) -> tuple[int, int]:
    """What changes with a file; of one that cannot be read its reader says so."""
    try:
        state = path.stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns


@lru_cache(maxsize=4)
def _read(tables: tuple[tuple[Path, int, int], ...]) -> Mapping[str, Decision]:
    found: dict[str, Decision] = {}
    for path, *_ in tables:
        for row in keyed_rows(path, "scan"):
            word = " ".join(row.get("decision", "").casefold().split())
            if word in ("", "n/a"):
                continue
            if word not in (KEEP, AGAIN, EXCLUDE):
                raise DataError(
                    "Not a decision",
                    where=f"{path}, {row['scan']}",
                    expected=f"{KEEP}, {AGAIN} or {EXCLUDE} in the column decision",
                    got=row["decision"],
                )
            remark = "" if row.get("remark") == "n/a" else row.get("remark", "")
            # People also write the name of the file.
            one = Decision(file_stem(row["scan"]), word, remark, row.get("decided", ""))
            before = found.get(one.scan)
            if before is None or before.decided <= one.decided:
                found[one.scan] = one
    return MappingProxyType(found)
