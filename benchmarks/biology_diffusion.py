"""Diffusion in the biology benchmark: are neurite density and dispersion of people kept?

    python benchmarks/biology_diffusion.py --quick    ten people, two sites
    python benchmarks/biology_diffusion.py            24 people, four sites: hours

People of the cohort of `biology.py`, with planted neurite density and dispersion of white matter,
scanned at sites of two shells and harmonized to COI. Medians of FA, MD, NDI and ODI in white
matter by its true fractions. Every scan is kept as it is done; `biology.py --parts report` takes
the rows along.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from biology_apply import TRUTH, program_key
from biology_diffusion_data import EFFECTS, MAPS, PLANTED, part_file
from diffusion import ROOT, harmonized_voxels, load_profiles
from diffusion_cohort import TARGET, Scan, keep_series, load_series
from scipy.stats import qmc
from tqdm import tqdm

from bids_harmony.diffusion.noddi import fit_noddi
from bids_harmony.diffusion.tensor import fit_tensor
from bids_harmony.io.atomic import write_atomically
from bids_harmony.phantom.anatomy import Anatomy
from bids_harmony.phantom.cohort import place
from lab.diffusion import acquire_series
from lab.diffusion_scanner import DIFFUSION_SITES, gradient_scheme
from lab.microstructure import Microstructure, make_microstructure, placed

Array = np.ndarray

#: Two shells each: NODDI can be fitted.
SOURCES = ("GE", "PHILIPS", "PRISMA", "SKYRA")
WHITE = 0.9
#: Voxels of white matter that are fitted.
VOXELS = 3000


def main() -> None:
    """Simulate what is missing, harmonize it and fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--modes", nargs="+", default=["rish"])
    parser.add_argument("--label", help="name of the rows; for a single mode")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--people", type=int)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "biology")
    options = parser.parse_args()
    people = options.people or (10 if options.quick else 24)
    sites = SOURCES[:2] if options.quick else SOURCES
    for seed in options.seeds or ([0] if options.quick else [0, 1, 2]):
        folder = options.folder / f"seed-{seed}-{people}-people" / "diffusion"
        _simulate(folder, options.folder / "people", seed, people, sites)
        harmonizer, looks = load_profiles(folder, (TARGET, *sites))
        for mode in ("none", *options.modes):
            label = options.label if options.label and mode != "none" else mode
            shown = tqdm(sorted((folder / "scans").glob("t_*.npz")), label, disable=None)
            for path in shown:
                _measure(folder, label, mode, load_series(path), harmonizer, looks)
        for path in sorted((folder / "scans").glob("w_*.npz")):
            _measure(folder, TRUTH, "none", load_series(path), None, {})


def _simulate(folder: Path, cache: Path, seed: int, people: int, sites: Sequence[str]) -> None:
    # Builds to compare with have no such people.
    from biology_cohort import Draw, profile_people, tested_people

    scans = folder / "scans"
    scans.mkdir(parents=True, exist_ok=True)
    draw = Draw(seed, people, sources=tuple(sites))
    for number, banker in enumerate(profile_people(draw, cache)):
        site = (TARGET, *sites)[number // draw.profile_people]
        person = banker.anatomy
        _scan(scans, "b", site, person, make_microstructure(person, age=banker.biology.age))
    levels = qmc.LatinHypercube(len(PLANTED), rng=1000 + seed).random(people)
    low, high = np.transpose(list(PLANTED.values()))
    true = {}
    everyone = zip(tested_people(draw, cache), low + levels * (high - low), strict=True)
    for tested, shift in tqdm(everyone, "series", total=people, disable=None):
        person = tested.anatomy
        micro = _shifted(person, make_microstructure(person, age=tested.biology.age), *shift)
        white = person.fractions[1] > WHITE
        values = [float(np.median(getattr(micro, name)[white])) for name in PLANTED]
        true[str(person.seed)] = dict(zip(EFFECTS, values, strict=True))
        _scan(scans, "w", TARGET, person, micro)
        for site in sites:
            _scan(scans, "t", site, person, micro)
    write_atomically(folder / "people.json", (json.dumps(true, indent=1) + "\n").encode())


def _shifted(person: Anatomy, micro: Microstructure, ndi: float, odi: float) -> Microstructure:
    grey, white, _ = person.fractions
    share = white / np.maximum(grey + white, 1e-6)
    return replace(
        micro,
        ndi=np.clip(micro.ndi + ndi * share, 0.02, 0.98).astype(np.float32),
        odi=np.clip(micro.odi + odi * share, 0.02, 0.98).astype(np.float32),
    )


def _scan(folder: Path, kind: str, site: str, person: Anatomy, micro: Microstructure) -> None:
    """Write a series unless it is there; of kind ``w`` it is free of noise."""
    path = folder / f"{kind}_{site}_{person.seed}.npz"
    if path.is_file():
        return
    scanner = DIFFUSION_SITES[site]
    scheme = gradient_scheme(scanner)
    pose = np.eye(4)
    lying, affine = place(person, scanner.voxel_mm, pose)
    seed = int(np.random.default_rng([person.seed, scanner.bias_seed, 9]).integers(1 << 40))
    real = kind != "w"
    series = acquire_series(
        lying, placed(micro, lying), scanner, scheme, seed, real, scan_field=real
    )
    # Whole numbers would round a series without noise too coarsely.
    gain = 1 if real else 4
    white = lying.fractions[:, lying.mask].astype(np.float16)
    partial = path.with_name(f"partial-{path.name}")
    keep_series(partial, gain * series, lying.mask, affine, pose, scheme, fr=white)
    partial.replace(path)


def _measure(
    folder: Path, label: str, mode: str, scan: Scan, harmonizer: Any, looks: dict[str, Any]
) -> None:
    """Fit one scan and keep its medians, unless this program has done so."""
    person = scan.label.partition("-")[2]
    path = part_file(folder.parent, label, scan.site, person)
    parts = mode if mode == "none" else f"{mode} {program_key('diffusion')}"
    key = hashlib.sha256(parts.encode()).hexdigest()[:16]
    if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["key"] == key:
        return
    voxels = scan.voxels()
    if mode != "none":
        voxels = harmonized_voxels(scan, harmonizer, looks[scan.site], looks[TARGET], mode)
    white = np.flatnonzero(scan.truth["fr"][1] > WHITE)
    some = voxels[white[:: max(1, len(white) // VOXELS)]][:, None, None]
    everywhere = np.ones(some.shape[:3], bool)
    tensor = fit_tensor(some, everywhere, scan.gradients)
    with tempfile.TemporaryDirectory() as work:
        noddi = fit_noddi(some, everywhere, scan.gradients, Path(work))
    values = (tensor.fa, tensor.md * 1e3, noddi.ndi, noddi.odi)
    medians = {name: float(np.median(v)) for name, v in zip(MAPS, values, strict=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"key": key, "row": {"person": person, "site": scan.site, **medians}}
    write_atomically(path, (json.dumps(record) + "\n").encode())


if __name__ == "__main__":
    main()
