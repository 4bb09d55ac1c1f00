"""Real scans of several vendors, each harmonized to each other, by the shipped model.

    python benchmarks/multivendor.py --work build/multivendor

Nothing was trained on them; a site is one person, known from one scan. There is no truth to
compare with: the figure is to be looked at, and the table says whether intensities moved to the
target's and whether anything was invented (checkerboard, halo, moved edges). Prints the table,
writes ``benchmarks/results/multivendor.{json,md}`` and a figure.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from anatomies import DATA, REAL_SCANS
from measure import provenance
from scipy.ndimage import binary_erosion, gaussian_gradient_magnitude
from tqdm import tqdm
from travelling_tables import markdown

from bids_harmony.imaging.mask import brain_mask
from bids_harmony.imaging.prepared import Prepared, prepare
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import register_to_reference
from bids_harmony.imaging.volume import read_volume
from bids_harmony.methods.ihf import IHF
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.quality.distributions import wasserstein
from bids_harmony.quality.image_metrics import nyquist_share
from bids_harmony.reports.mosaic import mosaic_figure
from bids_harmony.sites.image_profile import build_profile
from bids_harmony.sites.profile_cache import ProfileCache

RESULTS = Path(__file__).resolve().parent / "results"
#: Six scanners; cs19 is a stripped scan of a patient.
PEOPLE = ("ge01", "philips01", "philips03", "siemens01", "uih01", "cs19")
_RIM_MM = 4.0
_FIGURES = {
    "wasserstein_before": "Wasserstein to the target's scan, before",
    "wasserstein_after": "after",
    "change_rms": "RMS change",
    "nyquist_share": "Nyquist share",
    "rim_ratio": "RMS change at the rim / inside",
    "edge_correlation": "edges, correlation with the source",
    "out_of_distribution": "out-of-distribution score",
}


def main() -> None:
    """Harmonize every scan to every look."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("build/multivendor"))
    parser.add_argument("--voxel-mm", type=float, default=1.0)
    options = parser.parse_args()
    start = time.monotonic()
    scans = {person: _prepared(person, options) for person in tqdm(PEOPLE, "prepare")}
    cache = ProfileCache(options.work / f"profiles-{options.voxel_mm:g}mm", options.voxel_mm)
    encoder = load_encoder("mri")
    for person, scan in scans.items():
        profile = build_profile(
            person, "T1w", [(person, scan.data, scan.mask, scan.scale)], encoder,
            cells=8, voxel_mm=options.voxel_mm,
        )  # fmt: skip
        cache.write(profile, {})
    model = IHF(SHIPPED_MODEL, cache)
    rows, pictures = [], {}
    for person, scan in tqdm(scans.items(), "harmonize"):
        cuts = {"source": _cut(scan, scan.data)}
        for look in PEOPLE:
            made = model.apply(scan, modality="T1w", source_site=person, target_site=look).data
            cuts[f"to {look}"] = _cut(scan, made)
            if look != person:
                about = {"person": person, "target": look}
                rows.append(about | _figures(scan, made, scans[look]))
            elif not np.array_equal(made, np.where(scan.mask, scan.data, 0)):
                raise SystemExit(f"{person} to its own look is not the scan itself")
        novelty = model.novelty(scan, "T1w")
        for row in rows[-(len(PEOPLE) - 1) :]:
            row["out_of_distribution"] = novelty
        pictures[person] = cuts
    _write(rows, pictures, options, (time.monotonic() - start) / 60)


def _prepared(person: str, options: argparse.Namespace) -> Prepared:
    (name,) = (n for n in REAL_SCANS if f"sub-{person}" in n)
    kept = options.work / f"{person}-{options.voxel_mm:g}mm.npz"
    grid = reference_grid(options.voxel_mm)
    if not kept.is_file():
        volume = read_volume(DATA / name)
        mask = brain_mask(volume)
        world = register_to_reference(volume, mask, modality="T1w").world
        made = prepare(volume, mask, world, grid)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, data=made.data, mask=made.mask, scale=made.scale)
    with np.load(kept, allow_pickle=False) as file:
        return Prepared(file["data"], file["mask"], float(file["scale"]), np.eye(4), grid)


def _figures(scan: Prepared, made: np.ndarray, target: Prepared) -> dict[str, float]:
    change = np.where(scan.mask, made - scan.data, 0)
    steps = max(1, round(_RIM_MM / scan.grid.voxel_mm))
    inside = binary_erosion(scan.mask, iterations=steps)
    rim = scan.mask & ~inside
    goal = target.data[target.mask]
    edges = [gaussian_gradient_magnitude(d, 1.0)[inside] for d in (scan.data, made)]
    return {
        "wasserstein_before": wasserstein(scan.data, goal, scan.mask),
        "wasserstein_after": wasserstein(made, goal, scan.mask),
        "change_rms": _rms(change[scan.mask]),
        "nyquist_share": nyquist_share(change),
        "rim_ratio": _rms(change[rim]) / _rms(change[inside]),
        "edge_correlation": float(np.corrcoef(*edges)[0, 1]),
    }


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _cut(scan: Prepared, data: np.ndarray) -> np.ndarray:
    k = round(0.52 * scan.data.shape[2])
    return data[:, :, k] / np.percentile(data[scan.mask], 99.5)


def _write(
    rows: list[dict[str, Any]],
    pictures: Mapping[str, Mapping[str, np.ndarray]],
    options: argparse.Namespace,
    minutes: float,
) -> None:
    figure = RESULTS / "figures" / "multivendor.png"
    figure.parent.mkdir(parents=True, exist_ok=True)
    mosaic_figure(pictures, figure, title="Every scan harmonized to every other")
    body = [
        [row["person"], row["target"], *(_cell(row[name]) for name in _FIGURES)] for row in rows
    ]
    table = markdown(["scan", "harmonized to", *_FIGURES.values()], body)
    better = sum(row["wasserstein_after"] < row["wasserstein_before"] for row in rows)
    command = f"python benchmarks/multivendor.py --voxel-mm {options.voxel_mm:g}"
    lines = [
        "# Real scans of several vendors, each harmonized to each other", "",
        f"`{command}`: T1w, the shipped model, no training; a profile is of one scan of one "
        "person. Research software, not for diagnosis.", "",
        f"Intensities move towards the target's in {better} of {len(rows)} pairs. People differ: "
        "a distance of 0 is not to be expected.", "",
        f"![Every scan with every look](figures/{figure.name})", "", *table,
    ]  # fmt: skip
    (RESULTS / "multivendor.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    packages = ("torch", "numpy", "scipy", "antspyx")
    record = {"name": "multivendor", "command": command, "minutes": round(minutes, 1),
              "seeds": [], **provenance(packages), "rows": rows}  # fmt: skip
    (RESULTS / "multivendor.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table))
    print(f"{better} of {len(rows)} pairs closer; {RESULTS / 'multivendor.md'}")


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    main()
