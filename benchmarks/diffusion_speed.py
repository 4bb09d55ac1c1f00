"""Time and memory of harmonizing one large diffusion series, by stage.

    python benchmarks/diffusion_speed.py

The series has the size of an ABCD acquisition (Casey et al. 2018): 140 x 140 x 81 voxels of
1.7 mm, 103 volumes with b = 500, 1000, 2000 and 3000 s/mm2, simulated. Fits are reported apart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from measure import Meter, provenance

from bids_harmony.diffusion.calibration import SeriesMeasures
from bids_harmony.diffusion.features import DWI_MODES, DWI_VOXEL_MM, prepare_series
from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import open_series, write_series
from bids_harmony.diffusion.tensor import fit_tensor
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.series import harmonize_series
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.cohort import place
from bids_harmony.sites.profile_cache import ProfileCache
from bids_harmony.sites.series_profile import SeriesProfile, build_series_profiles
from lab.diffusion import acquire_series
from lab.diffusion_scanner import DIFFUSION_SITES, gradient_scheme
from lab.microstructure import make_microstructure, placed

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SHAPE, VOXEL_MM = (140, 140, 81), 1.7
SHELLS = ((500.0, 6), (1000.0, 15), (2000.0, 15), (3000.0, 60))


def main() -> None:
    """Make the series, harmonize it, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--modes", nargs="+", choices=DWI_MODES, default=["rish"])
    parser.add_argument("--result", type=Path, default=RESULTS / "diffusion_speed.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = _measured(Path(folder), options)
    record = {
        "name": "diffusion_speed", "command": "python benchmarks/diffusion_speed.py",
        "shape": [*SHAPE, 103], "threads": options.threads, "stages": rows,
    } | provenance(("torch", "numpy", "scipy", "dipy", "nibabel"))  # fmt: skip
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# One diffusion series of 140 x 140 x 81 voxels and 103 volumes",
        "",
        f"`{record['command']}`, {options.threads} threads.",
        "",
        "| stage | wall s | CPU s | peak MiB |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {r['stage']} | {r['seconds']:.1f} | {r['cpu_seconds']:.1f} | {r['peak_mib']} |"
        for r in rows
    ]
    options.result.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"result: {options.result}")


def _measured(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    gradients, mask, world = write_large_series(folder / "dwi.nii.gz")
    meter = Meter()
    with meter.stage("prepare one series and make its profiles"):
        harmonizer, looks = looks_of(folder, gradients, mask, world)
    for mode in options.modes:
        with meter.stage(f"read, check ({mode})"):
            series = open_series(folder / "dwi.nii.gz")
        with meter.stage(f"harmonize ({mode})"):
            result = harmonize_series(
                series, gradients, mask, world, harmonizer,
                source=looks["A"], target=looks["B"], mode=mode,
            )  # fmt: skip
        with meter.stage(f"write ({mode})"):
            write_series(series, result.raw, folder / "out.nii.gz")
    series = open_series(folder / "dwi.nii.gz")
    with meter.stage("tensor fit of one series"):
        fit_tensor(series.signal(...), mask.data, gradients)
    return meter.rows


def looks_of(
    folder: Path, gradients: Gradients, mask: BrainMask, world: np.ndarray
) -> tuple[Any, dict[str, SeriesProfile]]:
    """The shipped model and the profiles A and B of two sites that scanned ``dwi.nii.gz``."""
    grid, encoder = reference_grid(DWI_VOXEL_MM), load_encoder("mri")
    cache = ProfileCache(folder, DWI_VOXEL_MM)
    harmonizer = load_harmonizer("ihf", SHIPPED_MODEL, cache, batch_size=2)
    prepared = prepare_series(
        open_series(folder / "dwi.nii.gz"), gradients, mask, world, grid, "volume"
    )
    looks = {}
    for site, water in (("A", 3.1e-3), ("B", 3.0e-3)):
        cells = harmonizer.network.config.aan.grid
        look, profiles = build_series_profiles(
            site, [("a", prepared)], encoder, cells=cells, voxel_mm=DWI_VOXEL_MM
        )
        for profile in profiles:
            cache.write(profile, {})
        # Two scans that differ a little, so that every part of the model has work to do.
        twice = [("a", _with(look, water)), ("b", _with(look, 1.001 * water))]
        looks[site] = SeriesProfile(site, tuple(twice))
    return harmonizer, looks


def _with(look: SeriesProfile, water: float) -> SeriesMeasures:
    return replace(look.scans[0][1], water=water)


def write_large_series(
    path: Path, shells: tuple[tuple[float, int], ...] = SHELLS
) -> tuple[Gradients, BrainMask, np.ndarray]:
    """Simulate a series of the large shape; gives its gradients, mask and world."""
    scanner = replace(DIFFUSION_SITES["GE"], shells=shells, b0_every=14, voxel_mm=(VOXEL_MM,) * 3)
    scheme = gradient_scheme(scanner)
    anatomy = make_anatomy(reference_grid(VOXEL_MM), 1)
    person, affine = place(anatomy, scanner.voxel_mm, np.eye(4))
    truth = placed(make_microstructure(anatomy), person)
    found = acquire_series(person, truth, scanner, scheme, 1)
    series = np.zeros((*SHAPE, found.shape[3]), dtype=np.int16)
    mask = np.zeros(SHAPE, dtype=bool)
    own, new = _overlap(found.shape[:3])
    series[new], mask[new] = np.rint(found[own]), person.mask[own]
    affine = affine.copy()
    affine[:3, 3] += VOXEL_MM * np.array(
        [a.start - b.start for a, b in zip(own, new, strict=True)]
    )
    nib.save(nib.Nifti1Image(series, affine), path)
    gradients = Gradients(scheme.b_values, scheme.directions)
    return gradients, BrainMask(mask, "given"), np.eye(4)


def _overlap(shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Middle of an array, and where it goes in one of `SHAPE`."""
    own, new = [], []
    for have, want in zip(shape, SHAPE, strict=True):
        count = min(have, want)
        own.append(slice((have - count) // 2, (have - count) // 2 + count))
        new.append(slice((want - count) // 2, (want - count) // 2 + count))
    return tuple(own), tuple(new)


if __name__ == "__main__":
    main()
