"""Never worse than nothing: harmonization by small and by bad evidence of what a site looks like.

    python benchmarks/small_evidence.py --quick              one seed, two scanners: minutes
    python benchmarks/small_evidence.py                      three seeds, four scanners
    python benchmarks/small_evidence.py --build OTHER/.venv/bin/python --label ihf-before

The third adds rows of another build's ``ihf``, for the very same scans.

Profiles of sites are of 1, 2, 5 and 20 people, of another age, of ill people or of another
scanner; source and target are one scanner under two names; and the real pairs of
`travelling_real`, whose source is known from the scan itself. Simulated people differ as real ones
do (`phantom.biology`). Each row is one case at one source scanner and seed: mean PSNR (dB) of its
scans to their true twins inside the brain, each image scaled by its own 99.5th percentile, as they
are and harmonized, and how much the method changed them (RMS inside the brain, percent of the
scan's scale). Parts are kept in ``build/evidence``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence_result import RESULTS, ROOT, kept, merged, write_result
from from_the_box import BOX_METHODS, known_sites, methods_digest
from small_evidence_cells import TARGET, Draw, draw_evidence
from small_evidence_report import draw_figure, page
from tqdm import tqdm
from travelling_real import PAIRS, has_scan, prepared_alone, prepared_pair

from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.quality.image_metrics import psnr

Array = np.ndarray
Row = dict[str, Any]

MODALITIES = ("T1w", "T2w", "FLAIR")
SITES = ("SKYRA", "GE", "PHILIPS", "SIEMENS")
SEEDS = (0, 1, 2)
VOXEL_MM = 2.0
_PERCENTILE = 99.5


def simulated_rows(
    draw: Draw, work: Path, names: Mapping[str, str], python: Path | None
) -> Iterator[Row]:
    """One row per cell and method.

    Parameters
    ----------
    draw : Draw
    work : Path
        Of cached anatomies.
    names : mapping of method to the name of its rows
    python : Path, optional
        Interpreter of another build.
    """
    evidence = draw_evidence(draw, work / "people")
    with known_sites(draw.modality, evidence.profiles, python=python) as known:
        for cell in evidence.cells:
            for method, name in names.items():
                route = {"source": cell.source, "target": cell.target}
                scores = [
                    _score(known.apply(method, scan, modality=draw.modality, **route), scan, twin)
                    for scan, twin in zip(cell.scans, cell.twins, strict=True)
                ]
                yield {
                    "method": name,
                    "modality": draw.modality,
                    "case": cell.case,
                    "profile_people": cell.people,
                    "site": draw.site,
                    "target": draw.site if cell.case == "two names" else TARGET,
                    "seed": draw.seed,
                    **_together(scores),
                }


def real_rows(
    modality: str, work: Path, names: Mapping[str, str], python: Path | None
) -> Iterator[Row]:
    """The same of pairs of real scans; every pair's two sites count as two."""
    grid, cache = reference_grid(VOXEL_MM), work / "real"
    cache.mkdir(parents=True, exist_ok=True)
    for pair in PAIRS:
        stems = (pair.source, pair.target, *pair.profile)
        if modality not in pair.modalities or not all(has_scan(s, modality) for s in stems):
            continue
        source, target = prepared_pair(pair, modality, grid, cache)
        profile = [(_name(s), prepared_alone(s, modality, grid, cache)) for s in pair.profile]
        profiles = {"source": [(_name(pair.source), source)], "target": profile}
        people = len({name.split("_")[0] for name, _ in profile})
        with known_sites(modality, profiles, python=python) as known:
            for method, name in names.items():
                route = {"source": "source", "target": "target"}
                data = known.apply(method, source, modality=modality, **route)
                both = source.mask & target.mask
                yield {
                    "method": name,
                    "modality": modality,
                    "case": f"real: {pair.name}",
                    "profile_people": people,
                    "site": pair.source_site,
                    "target": pair.target_site,
                    "person": pair.person,
                    **_together([_score(data, source, target.data, both)]),
                }


def _name(stem: str) -> str:
    return stem.rpartition("/")[2]


def _score(
    data: Array, scan: Prepared, twin: Array, inside: Array | None = None
) -> dict[str, float]:
    mask = scan.mask if inside is None else inside

    def to_twin(image: Array) -> float:
        ours, goal = (d / np.percentile(d[mask], _PERCENTILE) for d in (image, twin))
        return psnr(goal, ours, data_range=1.0, mask=mask)

    change = float(np.sqrt(np.square((data - scan.data)[scan.mask], dtype=np.float64).mean()))
    return {
        "psnr_db_raw": to_twin(scan.data),
        "psnr_db": to_twin(data),
        "rms_change_percent": 100 * change,
    }


def _together(scores: Sequence[Mapping[str, float]]) -> Row:
    means = {k: round(float(np.mean([s[k] for s in scores])), 3) for k in scores[0]}
    gains = [s["psnr_db"] - s["psnr_db_raw"] for s in scores]
    return {"scans": len(scores), **means, "least_gain_db": round(min(gains), 3)}


def main() -> None:
    """Run what is not there yet, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, two scanners")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--modalities", nargs="+", default=list(MODALITIES), choices=MODALITIES)
    parser.add_argument("--methods", nargs="+", default=list(BOX_METHODS), choices=BOX_METHODS)
    parser.add_argument("--build", type=Path, help="interpreter of another build, for ihf alone")
    parser.add_argument("--label", default="ihf-before", help="name of its rows")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "evidence")
    options = parser.parse_args()
    torch.set_num_threads(1)
    label = options.label if options.build else "now"
    names = {"ihf": label} if options.build else {m: m for m in options.methods}
    sites = SITES[:2] if options.quick else SITES
    seeds = options.seeds[:1] if options.quick else options.seeds
    parts = options.work / "small" / label
    asked = {"methods": list(names.values()), "digest": methods_digest(options.build)}
    draws = [
        Draw(seed, modality, site, SITES[(number + 1) % len(SITES)], voxel_mm=VOXEL_MM)
        for seed in seeds
        for number, site in enumerate(sites)
        for modality in options.modalities
    ]
    rows: list[Row] = []
    for draw in tqdm(draws, "draws", disable=None):
        part = parts / f"seed-{draw.seed}_{draw.site}_{draw.modality}.json"
        make = partial(simulated_rows, draw, options.work, names, options.build)
        rows += kept(part, asked | asdict(draw), make)
    for modality in options.modalities:
        part = parts / f"real_{modality}.json"
        make = partial(real_rows, modality, options.work, names, options.build)
        rows += kept(part, asked, make)
    name = "small_evidence_quick" if options.quick else "small_evidence"
    record = merged(name, rows, label=label, python=options.build)
    write_result(name, record, page(record["rows"], name))
    draw_figure(record["rows"], RESULTS / "figures" / f"{name}.png")


if __name__ == "__main__":
    main()
