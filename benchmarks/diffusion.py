"""Travelling subjects with diffusion series: what harmonizing does to FA, MD, NDI, ODI.

    python benchmarks/diffusion.py            about half an hour on one core
    python benchmarks/diffusion.py --people 1 --modes rish --no-noddi
    python benchmarks/diffusion.py --cohort real-sized --modes rish

Simulated people and scanners: those of `diffusion_scanner`, whose target is COI, or those of
`real_sized_sites`, which differ as real ones do. Five people of each site, whom no other site has
scanned, show its look; other people were scanned by all sites. Maps are fitted to every fourth
voxel of white matter. `floor` are scans by the target itself; what they scatter is noise.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diffusion_cohort import (
    COHORTS,
    SIMULATED,
    TRAVELLING,
    Cohort,
    Scan,
    bank_scans,
    simulate,
    travelling_scans,
)
from diffusion_combat import add_combat
from diffusion_maps import MAPS, cubes_of, fit_maps, region_means, white_voxels
from measure import provenance
from tqdm import tqdm

from bids_harmony.diffusion.calibration import QUANTILES
from bids_harmony.diffusion.features import DWI_MODES, DWI_VOXEL_MM, prepare_series
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.base import Harmonizer
from bids_harmony.methods.series import harmonize_series
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.quality.diffusion import angle_between
from bids_harmony.sites.profile_cache import ProfileCache
from bids_harmony.sites.series_profile import SeriesProfile, build_series_profiles

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SITES = SIMULATED.others
_PACKAGES = ("torch", "numpy", "scipy", "dipy", "dmri-amico")

Array = np.ndarray


def main() -> None:
    """Simulate, harmonize, fit, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=TRAVELLING)
    parser.add_argument("--cohort", choices=COHORTS, default=SIMULATED.name)
    parser.add_argument("--sites", nargs="+", help="default: all but the target")
    parser.add_argument("--modes", nargs="+", choices=DWI_MODES, default=list(DWI_MODES))
    parser.add_argument("--no-noddi", action="store_true")
    parser.add_argument("--no-combat", action="store_true")
    parser.add_argument("--folder", type=Path, help="default: the cohort's, in build")
    parser.add_argument("--result", type=Path, help="default: the cohort's, in results")
    options = parser.parse_args()
    cohort = COHORTS[options.cohort]
    options.sites = options.sites or list(cohort.others)
    if unknown := sorted(set(options.sites) - set(cohort.others)):
        parser.error(f"sites of this cohort are {', '.join(cohort.others)}; got {unknown}")
    options.folder = options.folder or ROOT / "build" / cohort.file_name
    options.result = options.result or RESULTS / f"{cohort.file_name}.json"
    start = time.monotonic()
    scans = options.folder / "scans"
    simulate(scans, cohort)
    harmonizer, looks = load_profiles(options.folder, (cohort.target, *options.sites))
    people = [f"T{number + 1:02d}" for number in range(options.people)]
    rows, regions = [], []
    visits = [(person, site) for person in people for site in options.sites]
    for person, site in tqdm(visits, "series", disable=None):
        own = travelling_scans(scans, person, site)
        for row, means in _visit(own, person, harmonizer, looks, cohort, options):
            rows.append({"cohort": cohort.name} | row)
            regions += means
    if not options.no_combat:
        add_combat(regions, scans, cohort.target, options.sites)
    record = {
        "name": cohort.file_name,
        "cohort": cohort.name,
        "command": f"python benchmarks/diffusion.py --cohort {cohort.name} "
        f"--modes {' '.join(options.modes)}"
        + f" --people {options.people}" * (options.people != TRAVELLING)
        + " --no-combat" * options.no_combat,
        "people": options.people,
        "sites": options.sites,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "looks": {s: {"water": looks[s].water, "noise": looks[s].noise} for s in looks},
        "table": _table(rows, regions),
        "rows": rows,
    } | provenance(_PACKAGES)
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    text = _markdown(record)
    options.result.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def load_profiles(work: Path, sites: Sequence[str]) -> tuple[Harmonizer, dict[str, SeriesProfile]]:
    """The shipped model, and what five people of each site show; made where they are missing."""
    scans, folder = work / "scans", work / "banks"
    cache = ProfileCache(folder, DWI_VOXEL_MM)
    folder.mkdir(parents=True, exist_ok=True)
    harmonizer = load_harmonizer("ihf", SHIPPED_MODEL, cache, batch_size=2)
    encoder, grid = load_encoder("mri"), reference_grid(DWI_VOXEL_MM)
    looks = {}
    for site in tqdm(sites, "looks", disable=None):
        path = folder / f"{site}.json"
        if not path.is_file():
            prepared = [
                (s.label, prepare_series(s.series, s.gradients, s.brain, s.world, grid, "volume"))
                for s in bank_scans(scans, site)
            ]
            cells = harmonizer.network.config.aan.grid
            look, profiles = build_series_profiles(
                site, prepared, encoder, cells=cells, voxel_mm=DWI_VOXEL_MM
            )
            for profile in profiles:
                cache.write(profile, {})
            look.write(path)
        looks[site] = SeriesProfile.read(path)
    return harmonizer, looks


def _visit(
    own: dict[str, Scan],
    person: str,
    harmonizer: Harmonizer,
    looks: dict[str, SeriesProfile],
    cohort: Cohort,
    options: argparse.Namespace,
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    scan = own["scan"]
    chosen = white_voxels(scan.mask, scan.truth["fr"][1])
    cubes = cubes_of(scan, chosen)
    truth = fit_maps(own["twin"], own["twin"].voxels(), chosen, noddi=False)
    true = truth.maps | {k: _of_mask(scan, scan.truth[k], chosen) for k in ("ndi", "odi")}
    source, target = looks[scan.site], looks[cohort.target]
    raw = fit_maps(scan, scan.voxels(), chosen, noddi=False)
    ways: dict[str, Callable[[], Array]] = {
        "floor": own["rescan"].voxels,
        "none": scan.voxels,
        "histogram": lambda: _histogram(scan, target),
    }
    for mode in options.modes:
        ways[mode] = lambda mode=mode: harmonized_voxels(scan, harmonizer, source, target, mode)
    for name, make in ways.items():
        begin = time.monotonic()
        voxels = make()
        seconds = time.monotonic() - begin
        fitted = fit_maps(scan, voxels, chosen, noddi=not options.no_noddi)
        row = {"way": name, "person": person, "site": scan.site, "seconds": round(seconds, 1)}
        row["v1_deg"] = _turn(fitted.v1, truth.v1)
        # Against the scan as it came; of the floor, against another scan of the person.
        row["v1_turn_deg"] = _turn(fitted.v1, raw.v1)
        for key, values in fitted.maps.items():
            row[f"{key}_bias"] = float(np.mean(values - true[key]))
            row[f"{key}_rmse"] = float(np.sqrt(np.mean(np.square(values - true[key]))))
        yield row, region_means(fitted, cubes, {"way": name, "person": person, "site": scan.site})


def harmonized_voxels(
    scan: Scan, harmonizer: Harmonizer, source: SeriesProfile, target: SeriesProfile, mode: str
) -> Array:
    result = harmonize_series(
        scan.series, scan.gradients, scan.brain, scan.world, harmonizer,
        source=source, target=target, mode=mode,
    )  # fmt: skip
    return result.raw[scan.mask].astype(np.float32)


def _histogram(scan: Scan, target: SeriesProfile) -> Array:
    """Each shell's S/S0 of the scan itself to the target's distribution."""
    voxels = scan.voxels()
    mean = np.maximum(voxels[:, scan.gradients.b0].mean(1), 1)[:, None]
    for shell in scan.gradients.shells:
        ratio = voxels[:, shell.volumes] / mean
        own = np.percentile(ratio[::4], QUANTILES)
        matched = np.interp(ratio, own, target.quantiles(shell.nominal))
        voxels[:, shell.volumes] = matched * mean
    return voxels


def _turn(first: Array, second: Array) -> float:
    """Median angle between directions, degrees; signs mean nothing."""
    return float(np.nanmedian(angle_between(first, second)))


def _of_mask(scan: Scan, values: Array, chosen: Array) -> Array:
    return values[np.searchsorted(np.flatnonzero(scan.mask), chosen)]


def _table(rows: list[dict[str, Any]], regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    table = []
    for way in dict.fromkeys(r["way"] for r in regions):
        own = [r for r in rows if r["way"] == way]
        line: dict[str, Any] = {"way": way}
        for key in MAPS:
            line[f"{key}_cov_percent"] = _cov([r for r in regions if r["way"] == way], key)
            errors = [r[f"{key}_rmse"] for r in own if f"{key}_rmse" in r]
            line[f"{key}_rmse"] = float(np.mean(errors)) if errors else None
        for key in ("v1_deg", "v1_turn_deg", "seconds"):
            line[key] = float(np.mean([r[key] for r in own])) if own else None
        table.append(line)
    return table


def _cov(regions: list[dict[str, Any]], key: str) -> float | None:
    """Coefficient of variation over sites in percent, mean over people and cubes."""
    groups: dict[tuple[str, int], list[float]] = {}
    for row in regions:
        if key in row:
            groups.setdefault((row["person"], row["cube"]), []).append(row[key])
    most = max((len(values) for values in groups.values()), default=0)
    if most < 2:
        return None
    full = [np.array(values) for values in groups.values() if len(values) == most]
    return float(np.mean([100 * v.std(ddof=1) / v.mean() for v in full]))


def _markdown(record: dict[str, Any]) -> str:
    lines = [
        f"# Diffusion: {record['people']} people at {len(record['sites'])} sites "
        f"({record['cohort']})",
        "",
        f"`{record['command']}`, {record['minutes']} minutes, {record['machine']['processor']}."
        if isinstance(record.get("machine"), dict) and "processor" in record["machine"]
        else f"`{record['command']}`, {record['minutes']} minutes.",
        "CoV: between sites in regions of white matter, %. RMSE: to the truth, per voxel; MD in",
        "1e-3 mm2/s. V1: median angle to the truth, degrees; turned: to the scan as it came",
        "(floor: to another scan).",
        "",
        "| way | CoV FA | MD | NDI | ODI | RMSE FA | MD | NDI | ODI | V1 | turned | s |",
        "|---|" + "---:|" * 11,
    ]
    for row in record["table"]:
        keys = [f"{k}_cov_percent" for k in MAPS] + [f"{k}_rmse" for k in MAPS]
        digits = [2] * 4 + [4] * 4
        cells = [
            "" if row[k] is None else f"{row[k]:.{d}f}" for k, d in zip(keys, digits, strict=True)
        ]
        cells += [
            "" if row[k] is None else f"{row[k]:.1f}" for k in ("v1_deg", "v1_turn_deg", "seconds")
        ]
        lines.append(f"| {row['way']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
