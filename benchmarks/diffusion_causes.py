"""What makes scanners differ in FA, MD, NDI and ODI: each cause alone, all together, real ones.

    python benchmarks/diffusion_causes.py --tables FOLDER        about 15 minutes on one quiet core

Simulated scanners (`lab.real_sized_sites`), means over white matter in cubes of 30 mm. A cause
alone: one person in one pose is scanned by a scanner with the middle values of all, that takes
one cause's values from each scanner in turn; noise is drawn alike, and 24 directions a shell do.
All together: people in another pose at each scanner, twice. Maps are fitted to every fourth
voxel, or every eighth where a cause is alone. The real table is ON-Harmony's
(`benchmarks/real_combat.py` tells what FOLDER holds). All three are
`quality.diffusion_sites.coefficient_of_variation`, median over regions. What was measured lies in
``build/diffusion_causes`` and is not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from diffusion_cohort import Scan
from diffusion_maps import EVERY, MAPS, cubes_of, fit_maps, region_means, white_voxels
from measure import provenance
from real_combat import MEASURES, between_and_repeated
from tqdm import tqdm
from travelling_tables import markdown

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import Series
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.io.atomic import write_atomically
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.cohort import draw_pose, place
from bids_harmony.quality.diffusion_sites import coefficient_of_variation
from lab.diffusion import acquire_series
from lab.diffusion_scanner import DIFFUSION_SITES, DiffusionScanner, gradient_scheme
from lab.microstructure import Microstructure, make_microstructure, placed
from lab.real_sized_sites import NEURITE_T2_RATIO, REAL_SIZED_SITES

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
WORK = ROOT / "build" / "diffusion_causes"
SEED, REPEATS = 7100, 2
#: Directions of a shell where they are not the cause.
FEW = 24
_PACKAGES = ("numpy", "scipy", "dipy", "dmri-amico")

#: Fields of `DiffusionScanner` that belong together.
CAUSES = {
    "voxel size and point spread": ("voxel_mm", "blur_mm"),
    "k-space: matrix, partial Fourier, filter": ("acquired_mm", "partial_fourier", "taper"),
    "noise": ("noise",),
    "channels and place of noise": ("channels", "noise_growth"),
    "echo and repetition time, field": ("echo_ms", "repetition_ms", "field_tesla"),
    "excess at b=0": ("b0_excess",),
    "gradient scale": ("b_scale",),
    "gradient non-linearity": ("nonlinearity",),
    "distortion left over": ("distortion_mm",),
    "drift": ("drift",),
    "directions and b=0": ("shells", "b0_every"),
    "pulsation": ("pulsation",),
    "denoised": ("denoised",),
}

#: Scans that were measured by this run, and those that were before.
_TALLY: Counter[str] = Counter()

Array = np.ndarray
Means = dict[int, dict[str, float]]


def main() -> None:
    """Simulate, fit, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--people", type=int, default=2, help="of the rows of all causes")
    parser.add_argument("--only-all", action="store_true", help="no cause alone; prints only")
    options = parser.parse_args()
    start = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    rows = [_all(options, "all together", REAL_SIZED_SITES, NEURITE_T2_RATIO)]
    if not options.only_all:
        rows.append(_all(options, "`DIFFUSION_SITES`, all together", DIFFUSION_SITES, 1.0))
        rows += [_alone(cause) for cause in tqdm(CAUSES, "causes", disable=None)]
    rows += _real(options.tables)
    record = {
        "name": "diffusion_causes",
        "command": "python benchmarks/diffusion_causes.py --tables FOLDER",
        "seeds": [SEED + n for n in range(options.people)],
        "minutes": round((time.monotonic() - start) / 60, 1),
        "scans_measured": _TALLY["measured"],
        "scans_read": _TALLY["read"],
        "scanners": [asdict(s) for s in REAL_SIZED_SITES.values()],
        "rows": rows,
    } | provenance(_PACKAGES)  # fmt: skip
    page = _page(record)
    print(page)
    if not options.only_all:
        text = json.dumps(record, indent=1) + "\n"
        write_atomically(RESULTS / "diffusion_causes.json", text.encode())
        write_atomically(RESULTS / "diffusion_causes.md", page.encode())


def _alone(cause: str) -> dict[str, Any]:
    """Scanners that differ by one cause."""
    middle = middle_scanner(list(REAL_SIZED_SITES.values()))
    if "shells" not in CAUSES[cause]:
        middle = replace(middle, shells=tuple((b, FEW) for b, _ in middle.shells))
    found = []
    for site in REAL_SIZED_SITES.values():
        own = replace(middle, **{name: getattr(site, name) for name in CAUSES[cause]})
        found.append(_measured(own, NEURITE_T2_RATIO, SEED, np.eye(4), 1, 2 * EVERY))
    return {"cause": cause, "scanners": len(found)} | _between([found])


def _all(
    options: argparse.Namespace, name: str, sites: dict[str, DiffusionScanner], t2_ratio: float
) -> dict[str, Any]:
    """Travelling people, each twice at each scanner."""
    rng = np.random.default_rng(SEED)
    people: list[list[list[Means]]] = []
    for person in range(options.people):
        visits = []
        for scanner in tqdm(sites.values(), f"{name}, person {person + 1}", disable=None):
            visits.append(
                [
                    _measured(scanner, t2_ratio, SEED + person, draw_pose(rng), again + 1, EVERY)
                    for again in range(REPEATS)
                ]
            )
        people.append(visits)
    row = {"cause": name, "scanners": len(sites)}
    row |= _between([[scans[0] for scans in visits] for visits in people])
    again = _between([scans for visits in people for scans in visits])
    return row | {f"{key}_repeat": again[key] for key in MAPS}


def middle_scanner(sites: list[DiffusionScanner]) -> DiffusionScanner:
    """The first scanner with the median of every number; voxels are the first one's."""
    chosen: dict[str, Any] = {}
    for field in fields(DiffusionScanner):
        values = [getattr(s, field.name) for s in sites]
        # Of words, shells and seeds there is no middle.
        if isinstance(values[0], bool | int | float) and field.name != "bias_seed":
            middle = sorted(values)[len(values) // 2]
            chosen[field.name] = middle
    return replace(sites[0], **chosen)


def _measured(
    scanner: DiffusionScanner, t2_ratio: float, person: int, pose: Array, scan: int, every: int
) -> Means:
    """Means of a scan's maps by cube; read where they were measured before."""
    about = json.dumps([asdict(scanner), t2_ratio, person, pose.tolist(), scan, every])
    path = WORK / f"{hashlib.sha256(about.encode()).hexdigest()[:20]}.json"
    _TALLY["read" if path.is_file() else "measured"] += 1
    if not path.is_file():
        anatomy, truth = _person(person, t2_ratio)
        found = _scan_means(scanner, anatomy, truth, pose, 100 * person + scan, every)
        write_atomically(path, json.dumps(found).encode())
    return {int(k): v for k, v in json.loads(path.read_text(encoding="utf-8")).items()}


@lru_cache(maxsize=1)
def _person(seed: int, t2_ratio: float) -> tuple[Anatomy, Microstructure]:
    anatomy = make_anatomy(reference_grid(2.0), seed)
    return anatomy, replace(make_microstructure(anatomy), t2_ratio=t2_ratio)


def _scan_means(
    scanner: DiffusionScanner,
    anatomy: Anatomy,
    truth: Microstructure,
    pose: Array,
    seed: int,
    every: int,
) -> Means:
    lying, affine = place(anatomy, scanner.voxel_mm, pose)
    scheme = gradient_scheme(scanner)
    data = acquire_series(lying, placed(truth, lying), scanner, scheme, seed)
    series = Series(data, 1.0, 0.0, nib.Nifti1Image(data, affine), WORK / "series.nii.gz")
    gradients = Gradients(scheme.b_values, scheme.directions)
    scan = Scan("scan", scanner.site, series, gradients, lying.mask, np.linalg.inv(pose), {})
    chosen = white_voxels(lying.mask, lying.fractions[1][lying.mask])[:: every // EVERY]
    fitted = fit_maps(scan, scan.voxels(), chosen, noddi=True)
    rows = region_means(fitted, cubes_of(scan, chosen), {})
    return {r["cube"]: {key: round(r[key], 6) for key in MAPS if key in r} for r in rows}


def _between(people: list[list[Means]], maps: Sequence[str] = MAPS) -> dict[str, float]:
    """CoV of each map in percent over scans of the same person, median over cubes that all saw."""
    found = {}
    for key in maps:
        seen = [[m for m in scans if any(key in v for v in m.values())] for scans in people]
        seen = [scans for scans in seen if len(scans) > 1]
        cubes = sorted(set.intersection(*(set(m) for scans in seen for m in scans)))
        values = [[[m[c][key] for c in cubes] for m in scans] for scans in seen]
        most = max(len(v) for v in values)
        padded = [v + [[np.nan] * len(cubes)] * (most - len(v)) for v in values]
        found[key] = round(100 * float(np.median(coefficient_of_variation(padded))), 3)
    return found


def _real(folder: Path) -> list[dict[str, Any]]:
    """ON-Harmony: medians and quartiles over regions."""
    people = pd.read_csv(folder / "phaseAB_120sessions_idps_iqms.csv", low_memory=False)
    repeats = pd.read_csv(folder / "phaseA_80sessions_1022idps.csv", low_memory=False)
    rows = []
    for atlas, title in (("TBSS", "48 regions of TBSS"), ("xtract", "42 tracts of XTRACT")):
        row: dict[str, Any] = {"cause": f"real scanners, {title}", "scanners": 8}
        for name, key in MEASURES.items():
            if key in MAPS:
                between, again = between_and_repeated(name, people, repeats, atlas)
                row[key] = round(100 * float(np.nanmedian(between)), 3)
                row[f"{key}_repeat"] = round(100 * float(np.nanmedian(again)), 3)
                row[f"{key}_quartiles"] = np.round(
                    100 * np.nanquantile(between, (0.25, 0.75)), 3
                ).tolist()
        rows.append(row)
    return rows


def _page(record: dict[str, Any]) -> str:
    heads = ["", "scanners", *(f"{key.upper()} %" for key in MAPS)]
    heads += [f"repeat {key.upper()}" for key in MAPS]

    def number(row: dict[str, Any], key: str) -> str:
        return f"{row[key]:.2f}" if key in row else ""

    body = [
        [row["cause"], str(row["scanners"])]
        + [number(row, key) for key in MAPS]
        + [number(row, f"{key}_repeat") for key in MAPS]
        for row in record["rows"]
    ]
    about = (__doc__ or "").split("\n\n")[2].strip()
    head = (
        f"`{record['command']}`, {record['minutes']} minutes for {record['scans_measured']} scans"
        f" ({record['scans_read']} more had been measured before)."
    )
    return f"# Causes of differences between scanners\n\n{head}\n{about}\n\n" + "\n".join(
        [*markdown(heads, body), ""]
    )


if __name__ == "__main__":
    main()
