"""Lesions put into real scans: how much of their signal is left at every other site.

    python benchmarks/lesions_real.py
    python benchmarks/lesions_real.py --build OTHER/.venv/bin/python --label ihf-before

The second adds rows of another build's ``ihf``, for the very same scans.

Fifteen lesions of known contrast go into the white matter of every real T1w, T2w and FLAIR of the
shared data. The scan is harmonized with and without them to every site there that has the
contrast, known from all its scans, and to every single one of them, as by ``--target-image``.

``signal_kept`` is, over the cores of all lesions, the mean of (output with - output without) over
the mean of (input with - input without), both in the scan's stored units, over the change of gain:
the least-squares factor between the scan and its output, both without lesions, over the brain.
``contrast_before`` and ``contrast_after`` are those of the lesions to the white matter round them.
With lesions, all scans of the source's site have theirs, those of its profile too: nobody knows
how these scans would look without.

Lesions are our own (`quality.lesion_signal`), put into the prepared scan on the reference grid,
and not those of bidsgate 0.3.0, whose placement is sound: that adds to FLAIR and T1w alone, wants
both on one grid (ms01 and ms12 are not) and a whole head or a given mask, and states contrasts
relative to the median of all white matter, where a receive field makes another contrast of it.
Masks and registration are those of the scan without lesions.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence_result import ROOT, kept, merged, write_result
from from_the_box import BOX_METHODS, KnownSites, known_sites, methods_digest
from real_scans import Visit, prepared_scans
from tqdm import tqdm

from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.imaging.tissues import segment_tissues
from bids_harmony.quality.contrast import contrast_kept_by_tissue
from lab.lesion_signal import place_lesions, prepared_with_lesions, signal_kept
from lab.lesions import Lesion

Array = np.ndarray
Row = dict[str, Any]

#: Lesion over the white matter round it, minus 1: black holes in T1w, bright else.
CONTRASTS = {"T1w": -0.25, "T2w": 0.5, "FLAIR": 0.55}
LESIONS = 15
#: What is asked of every scan.
BOUNDS = (0.8, 1.25)
_WHITE = 2


@dataclass(frozen=True, eq=False)
class Patient:
    """One scan without and with lesions."""

    visit: Visit
    plain: Prepared
    ill: Prepared
    lesions: tuple[Lesion, ...]


def white_matter(t1w: Prepared) -> Array:
    """White matter of a prepared T1w, (X, Y, Z) bool."""
    tissues = segment_tissues(t1w.data, t1w.mask, reference_tissues(t1w.grid))
    return tissues.labels == _WHITE


def patients(modality: str, work: Path, voxel_mm: float) -> list[Patient]:
    """Everyone with the contrast."""
    grid = reference_grid(voxel_mm)
    anatomies = {v: white_matter(t1w) for v, t1w in prepared_scans("T1w", grid, work / "real")}
    found = []
    for number, (visit, scan) in enumerate(prepared_scans(modality, grid, work / "real")):
        # In the brain that this contrast covers.
        white = anatomies[visit] & scan.mask
        lesions = place_lesions(white, voxel_mm, LESIONS, seed=100 * number)
        ill = prepared_with_lesions(scan, lesions, CONTRASTS[modality])
        found.append(Patient(visit, scan, ill, tuple(lesions)))
    return found


def profiles(everyone: Sequence[Patient]) -> dict[str, list[tuple[str, Prepared]]]:
    """Scans behind every profile: sites, those without one person, single visits, sites with
    lesions."""
    found: dict[str, list[tuple[str, Prepared]]] = {}
    for patient in everyone:
        own = patient.visit.site
        found.setdefault(own, []).append((patient.visit.label, patient.plain))
        found.setdefault(_with_lesions(own), []).append((patient.visit.label, patient.ill))
        for target, there in targets(patient, everyone).items():
            found.setdefault(target, [(p.visit.label, p.plain) for p in there])
    return found


def targets(patient: Patient, everyone: Sequence[Patient]) -> dict[str, list[Patient]]:
    """Other sites, and single visits of sites that have several; of other people if there are."""
    sites: dict[str, list[Patient]] = {}
    for other in everyone:
        if other.visit.site != patient.visit.site:
            sites.setdefault(other.visit.site, []).append(other)
    found = {}
    for site, there in sites.items():
        others = [p for p in there if p.visit.person != patient.visit.person] or there
        missing = f" without {patient.visit.person}" if len(others) < len(there) else ""
        found[f"{site}{missing}"] = others
        if len(others) > 1:
            found |= {f"{site}: {p.visit.label}": [p] for p in others}
    return found


def _with_lesions(site: str) -> str:
    return f"{site} with lesions"


def kept_rows(
    modality: str,
    patient: Patient,
    everyone: Sequence[Patient],
    names: Mapping[str, str],
    known: KnownSites,
) -> Iterator[Row]:
    """One row per target and method.

    Parameters
    ----------
    modality : str
    patient : Patient
    everyone : sequence of Patient
    names : mapping of method to the name of its rows
    known : KnownSites
        With all `profiles`.
    """
    own, scans = patient.visit.site, (patient.plain, patient.ill)
    before, before_with = (scan.data * np.float32(scan.scale) for scan in scans)
    for target, there in targets(patient, everyone).items():
        for method, name in names.items():
            after, after_with = (
                known.apply(method, scan, modality=modality, source=source, target=target)
                * np.float32(scan.scale)
                for scan, source in zip(scans, (own, _with_lesions(own)), strict=True)
            )
            checked = contrast_kept_by_tissue(
                before, after, patient.plain.mask, modality, patient.plain.grid.voxel_mm
            )
            left = signal_kept(
                before, before_with, after, after_with, patient.lesions, patient.plain.mask
            )
            yield {
                "method": name,
                "person": patient.visit.person,
                "scan": patient.visit.label,
                "modality": modality,
                "source": own,
                "target": target,
                "source_people": len({p.visit.person for p in everyone if p.visit.site == own}),
                "target_people": len({p.visit.person for p in there}),
                "lesions": len(patient.lesions),
                # What the program does by default: nothing then changes, whatever stands here.
                "left_as_it_is": "; ".join(checked.losses()),
                **{figure: round(value, 4) for figure, value in asdict(left).items()},
            }


def modality_rows(
    modality: str, work: Path, names: Mapping[str, str], python: Path | None, voxel_mm: float
) -> Iterator[Row]:
    """All rows of a contrast; none without the data."""
    everyone = patients(modality, work, voxel_mm)
    if not everyone:
        return
    with known_sites(modality, profiles(everyone), python=python) as known:
        for patient in tqdm(everyone, modality, disable=None):
            yield from kept_rows(modality, patient, everyone, names, known)


def table(rows: Sequence[Row]) -> str:
    """Markdown: every method and modality, all pairs."""
    lines = [
        "| contrast | method | pairs | median kept | least | most | within 0.8 to 1.25 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for modality, method in dict.fromkeys((r["modality"], r["method"]) for r in rows):
        share = np.array(
            [r["signal_kept"] for r in rows if (r["modality"], r["method"]) == (modality, method)]
        )
        inside = (share >= BOUNDS[0]) & (share <= BOUNDS[1])
        lines.append(
            f"| {modality} | {method} | {share.size} | {np.median(share):.2f} | {share.min():.2f} "
            f"| {share.max():.2f} | {inside.mean():.0%} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not there yet, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modalities", nargs="+", default=list(CONTRASTS), choices=CONTRASTS)
    parser.add_argument("--methods", nargs="+", default=list(BOX_METHODS), choices=BOX_METHODS)
    parser.add_argument("--build", type=Path, help="interpreter of another build, for ihf alone")
    parser.add_argument("--label", default="ihf-before", help="name of its rows")
    parser.add_argument("--voxel", type=float, default=2.0)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "evidence")
    options = parser.parse_args()
    torch.set_num_threads(1)
    label = options.label if options.build else "now"
    names = {"ihf": label} if options.build else {m: m for m in options.methods}
    parts = options.work / "lesions" / label
    asked = {"methods": list(names.values()), "digest": methods_digest(options.build)}
    asked["voxel_mm"] = options.voxel
    rows: list[Row] = []
    for modality in options.modalities:
        make = partial(modality_rows, modality, options.work, names, options.build, options.voxel)
        rows += kept(parts / f"{modality}.json", asked, make)
    if not rows:
        raise SystemExit("lesions_real: the shared data are not beside the repository")
    record = merged("lesions_real", rows, label=label, python=options.build)
    write_result("lesions_real", record, _TITLE + table(record["rows"]))


_TITLE = """# Lesions put into real scans

Signal that 15 lesions per scan keep, for every scan and every other site (`signal_kept`, relative
to the change of gain; 1 is all of it). The rows of single pairs are in `lesions_real.json`.

"""


if __name__ == "__main__":
    main()
