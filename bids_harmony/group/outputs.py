"""What the participant level left of a cohort: one record for each harmonized image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_harmony.bids.inventory import list_subjects
from bids_harmony.bids.naming import summary_path
from bids_harmony.bids.redaction import without_folders
from bids_harmony.bids.run_records import Unit, failed_scans, read_runs, runs_of_units
from bids_harmony.bids.scan_records import (
    ScanRecord,
    file_of,
    find_units,
    read_scans,
    sources_of,
)
from bids_harmony.exceptions import DataError
from bids_harmony.io.pointers import is_named
from bids_harmony.quality.summary import ScanSummary, SeriesSummary, load_summary

__all__ = ["Missing", "Output", "find_outputs", "per_page"]


@dataclass(frozen=True, eq=False)
class Output:
    """One harmonized image.

    Attributes
    ----------
    scan : ScanRecord
    participant, session : str
        Labels without prefix; the session is empty where there is none.
    site, target : str
        Where the scan was made, and to which site it was harmonized.
    source, mask, transform : Path or None
        Files it was made from, where the sidecar names them.
    summary : ScanSummary, SeriesSummary or None
    """

    scan: ScanRecord
    participant: str
    session: str
    site: str
    target: str
    source: Path | None
    mask: Path | None
    transform: Path | None
    summary: ScanSummary | SeriesSummary | None

    @property
    def label(self) -> str:
        """Stem of the source such as ``sub-01_T1w``."""
        return self.scan.label

    @property
    def same_site(self) -> bool:
        """Made at the target site: nothing had to change."""
        return self.site == self.target


@dataclass(frozen=True)
class Missing:
    """What a page cannot show, and why."""

    label: str
    reason: str


def find_outputs(
    output_dir: Path, bids_dir: Path, participants: Sequence[str] = ()
) -> tuple[list[Output], list[Missing]]:
    """Read sidecars and summaries of all harmonized images.

    Parameters
    ----------
    output_dir : Path
        Of the participant level.
    bids_dir : Path
        The dataset, to see who is missing altogether.
    participants : sequence of str
        Labels without prefix; empty means all.

    Returns
    -------
    outputs, missing
        Sorted by label.

    Raises
    ------
    NotFetched
        The content of a sidecar or summary is not here: without it, others would be compared.
    """
    runs = read_runs(output_dir)
    units = find_units(output_dir, runs, participants)
    own_runs = runs_of_units(runs)
    outputs: list[Output] = []
    missing: list[Missing] = []
    for unit in units:
        tried = own_runs.get(unit, [])
        scans = read_scans(output_dir, unit, tried)
        for scan in scans:
            output, reason = _output(scan, unit, output_dir, bids_dir)
            outputs.append(output)
            missing += [Missing(scan.label, reason)] if reason else []
        made = {scan.label for scan in scans}
        missing += [
            Missing(f.label, f.message.partition(" [")[0] or f.meaning)
            for f in failed_scans(unit, tried)
            if f.label not in made
        ]
    there = {unit.subject for unit in units}
    wanted = set(participants) or set(list_subjects(bids_dir))
    missing += [
        Missing(f"sub-{subject}", "the participant level has not been run")
        for subject in sorted(wanted - there)
    ]
    return outputs, missing


def per_page(outputs: Iterable[Output]) -> dict[tuple[str, str], list[Output]]:
    """Outputs by suffix (T1w, ...) and target site; each is a chapter of its own."""
    found: dict[tuple[str, str], list[Output]] = {}
    for output in outputs:
        found.setdefault((output.scan.modality, output.target), []).append(output)
    return dict(sorted(found.items()))


def _output(scan: ScanRecord, unit: Unit, output_dir: Path, bids_dir: Path) -> tuple[Output, str]:
    """The record, and why it has no summary."""
    summary, reason = None, ""
    path = summary_path(scan.image)
    if is_named(path):
        try:
            summary = load_summary(path)
        except DataError as error:
            folders = {str(output_dir): "<output_dir>", str(bids_dir): "<bids_dir>"}
            reason = without_folders(str(error), folders)
    else:
        reason = (
            "there is no summary of it: it was harmonized by an earlier version, or without fits; "
            "remove its sidecar and run the participant level again"
        )
    target = str(scan.sidecar["HarmonizationTarget"])
    # One site may be spelt in two ways.
    site = target if scan.same_site else str(scan.source.get("Site", ""))
    files = [
        file_of(uri, output_dir if uri.startswith("bids::") else bids_dir)
        for uri in sources_of(scan.sidecar)
    ]
    named = {ending: _ending(files[1:], ending) for ending in ("_mask.", "_xfm.")}
    return (
        Output(
            scan, unit.subject, unit.session or "", site or "not known", target,
            files[0] if files else None, named["_mask."], named["_xfm."], summary,
        ),
        reason,
    )  # fmt: skip


def _ending(files: Iterable[Path | None], part: str) -> Path | None:
    return next((file for file in files if file and part in file.name), None)
