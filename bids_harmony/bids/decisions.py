"""What people decided about scans after they had looked at the pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bids_harmony.bids.table import keyed_rows
from bids_harmony.exceptions import DataError

__all__ = ["AGAIN", "EXCLUDE", "KEEP", "Decision", "read_decisions"]

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


def read_decisions(output_dir: Path) -> dict[str, Decision]:
    """Decisions in ``OUT/*_decisions.tsv``, which pages of participants export.

    Parameters
    ----------
    output_dir : Path

    Returns
    -------
    dict of scan to Decision
        Of several about one scan the latest.

    Raises
    ------
    DataError
        On another word than the three, or a table without the columns.
    MissingInput, InputOutputError
        A table cannot be read.
    """
    found: dict[str, Decision] = {}
    for path in sorted(Path(output_dir).glob(_PATTERN)):
        if path.name.startswith("."):
            continue
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
            remark = row.get("remark", "")
            one = Decision(
                row["scan"], word, "" if remark == "n/a" else remark, row.get("decided", "")
            )
            before = found.get(one.scan)
            if before is None or before.decided <= one.decided:
                found[one.scan] = one
    return found
