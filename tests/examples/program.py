"""The plan of a dataset, as the program prints it."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """Exit code, site of each scan that will be harmonized, refused scans, number of notes."""

    code: int
    scans: dict[str, str]
    refused: tuple[str, ...]
    n_passed_over: int
    text: str


def plan(bids: Path, folder: Path, *words: str) -> Plan:
    """Run ``--dry-run`` in this process."""
    from bids_harmony.cli.main import main

    command = [str(bids), str(folder / "out"), "participant", "-w", str(folder / "work")]
    with redirect_stdout(io.StringIO()) as shown, redirect_stderr(io.StringIO()) as told:
        code = int(main([*command, *words, "--dry-run"]))
    text = shown.getvalue()
    rows = re.findall(r"^(sub-\S+)  +(.*?)  +", text, re.MULTILINE)
    reasons = re.findall(r"^  (\S+(?:, \S+)*): ", _part(text, "Cannot be used:"), re.MULTILINE)
    refused = tuple(label for labels in reasons for label in labels.split(", "))
    passed = len(re.findall(r"^  \S", _part(text, "Passed over:"), re.MULTILINE))
    scans = {label: site for label, site in rows if label not in refused}
    return Plan(code, scans, refused, passed, text + told.getvalue())


def _part(text: str, head: str) -> str:
    return text.partition(f"{head}\n")[2].partition("\n\n")[0]
