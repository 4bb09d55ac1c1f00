"""The page of one participant or session: ``sub-X[_ses-Y].html``, one file, no network.

It is made from what is on disk in the output folder and can be made again at any time. Everything
that comes from a dataset or a run is escaped: a site may be called anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bids_harmony.bids.decisions import Decision, read_decisions
from bids_harmony.bids.derivative import write_text
from bids_harmony.bids.naming import change_paths, report_path, sidecar_path
from bids_harmony.bids.run_records import RunRecord, Unit, failed_scans
from bids_harmony.bids.scan_records import ScanRecord, read_descriptions, read_scans
from bids_harmony.io.names import file_stem
from bids_harmony.reports.album import Embedded, embedded, inline_pictures, link_to
from bids_harmony.reports.explanations import Finding, quality_findings, scan_warnings
from bids_harmony.reports.methods_text import done_by_scans, methods_text
from bids_harmony.reports.page import filled
from bids_harmony.reports.site_evidence import evidence_drawing, evidence_sentence

__all__ = ["PAGE_BYTES", "SLACK", "Shown", "shown_scans", "subject_page", "write_subject_page"]

PAGE_BYTES = 5_000_000
# What the frame of a picture that is there takes more than that of one that was left out.
SLACK = 50_000
_MASK_WORDS = {
    "deepbet": "made by deepbet",
    "skull-stripped": "the scan's own foreground",
    "given": "taken from an earlier derivative",
    "T1w": "taken from the T1w scan",
    "template": "that of the template",
    "person": "shared by all sessions of the person",
}


@dataclass(frozen=True)
class Shown:
    """A scan with everything that its section says."""

    scan: ScanRecord
    anchor: str
    findings: Sequence[Finding]
    more: Sequence[Finding]
    warnings: Sequence[str]
    files: Sequence[str]
    decision: Decision | None = None
    pictures: Mapping[str, Embedded] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Where links from the group page lead."""
        return file_stem(self.scan.image)

    @property
    def title(self) -> str:
        return f"{self.scan.label} to {self.scan.sidecar.get('HarmonizationTarget')}"

    @property
    def scanner(self) -> str:
        source = self.scan.source
        strength = source.get("MagneticFieldStrength")
        parts = [source.get("Vendor"), source.get("Model")]
        return " ".join(
            str(part) for part in [*parts, f"{strength} T" if strength else ""] if part
        )

    @property
    def target_scans(self) -> list[str]:
        found = self.scan.sidecar.get("TargetSiteScans")
        return [str(label) for label in found] if isinstance(found, list) else []

    @property
    def evidence(self) -> str:
        return evidence_sentence(self.scan.sidecar)

    @property
    def evidence_drawing(self) -> str:
        return evidence_drawing(self.scan.sidecar)

    @property
    def mask_words(self) -> str:
        return _MASK_WORDS.get(str(self.scan.mask.get("MaskKind")), "")


def write_subject_page(
    output_dir: Path, unit: Unit, runs: Sequence[RunRecord], *, level: str = "root"
) -> Path:
    """Write the page of a unit, unless it says the same already.

    Parameters
    ----------
    output_dir : Path
    unit : Unit
    runs : sequence of RunRecord
        All of the output folder, the oldest first (`runs.read_runs`).
    level : {"root", "subject", "session"}
        Folder of the page, as in ``--report-output-level``.

    Returns
    -------
    Path
    """
    path = report_path(output_dir, unit.subject, unit.session, level=level)
    write_text(path, subject_page(output_dir, unit, runs, path.parent))
    return path


def subject_page(output_dir: Path, unit: Unit, runs: Sequence[RunRecord], folder: Path) -> str:
    """The page as text, at most `PAGE_BYTES` long; its links are relative to `folder`."""
    shown = shown_scans(output_dir, unit, runs, folder)
    scans = [one.scan for one in shown]
    paths = [path for scan in scans for path in scan.pictures.values()]
    context = _context(unit, scans, runs)
    bare = _render(context, shown, {}, folder)
    addresses = inline_pictures(paths, PAGE_BYTES - len(bare.encode()) - SLACK)
    return _render(context, shown, addresses, folder)


def shown_scans(
    output_dir: Path, unit: Unit, runs: Sequence[RunRecord], folder: Path
) -> list[Shown]:
    """The images of a unit with all that is told of each; its links are relative to `folder`."""
    described = read_descriptions(output_dir, unit)
    decisions = read_decisions(output_dir)
    return [
        replace(_shown(n, scan, described, folder), decision=decisions.get(scan.label))
        for n, scan in enumerate(read_scans(output_dir, unit, runs), start=1)
    ]


def _context(unit: Unit, scans: Sequence[ScanRecord], runs: Sequence[RunRecord]) -> dict[str, Any]:
    import tomli_w

    failed = failed_scans(unit, runs)
    ids = {scan.run.run_id for scan in scans if scan.run} | {scan.run_id for scan in failed}
    told = [
        {
            "run_id": run.run_id,
            "started": run.started,
            "provenance": run.provenance,
            "settings_text": tomli_w.dumps(run.settings),
        }
        for run in runs
        if run.run_id in ids
    ]
    return {
        "unit": unit,
        "failed": failed,
        "harmonized": {scan.label for scan in scans},
        "targets": _unique(scan.sidecar.get("HarmonizationTarget") for scan in scans),
        "methods": methods_text(done_by_scans(scans)),
        "runs": told,
    }


def _shown(number: int, scan: ScanRecord, described: Mapping[str, Any], folder: Path) -> Shown:
    findings, more = quality_findings(scan.sidecar, scan.transform, described)
    images = (scan.image, *scan.others)
    files = [file for image in images for file in (image, sidecar_path(image))]
    files += [path for path in change_paths(scan.image).values() if path.is_file()]
    warnings = scan_warnings(scan.sidecar, scan.mask)
    if scan.run and scan.run.settings.get("sloppy") is True:
        warnings.append(
            "Registration was coarse (--sloppy), for quick tests only. Harmonize again without it."
        )
    return Shown(
        scan, f"scan-{number}", findings, more, warnings, [link_to(file, folder) for file in files]
    )


def _render(
    context: Mapping[str, Any],
    shown: Sequence[Shown],
    addresses: Mapping[Path, str],
    folder: Path,
) -> str:
    whole = [
        replace(one, pictures=embedded(one.scan.pictures, addresses, folder)) for one in shown
    ]
    marks = sum(f.beyond for one in shown for f in one.findings)
    notes = sum(len(one.warnings) for one in shown)
    counts = ((marks, "number"), (notes, "note"))
    told = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in counts if n)
    return filled(
        "subject.html",
        **context,
        images=[one for one in whole if one.scan.modality != "dwi"],
        series=[one for one in whole if one.scan.modality == "dwi"],
        sites=_unique(one.scan.source.get("Site") for one in shown),
        to_check=told or "nothing stands out",
    )


def _unique(values: Any) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value))
