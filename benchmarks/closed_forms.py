"""Closed forms beside histogram matching, pair by pair: what bend and blur bring, and where not.

    python benchmarks/closed_forms.py

Pairs of one head at two scanners: simulated scanners like real ones and of wide ranges, on heads
of label maps that no training saw, and the few real pairs there are, in both directions. What is
known of the two sites is the pair's own scans (the best case, "itself"), or five other people
each. The reference is the target's own scan, noise included. Noise deep in white matter rises
where it is a tenth above that of both scans of a pair. Writes
``benchmarks/results/closed_forms.json`` and a table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from anatomies import DATA, load_people
from measure import provenance
from travelling_real import PAIRS, prepared_pair
from travelling_tables import markdown

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.noise import deep_noise
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.io.atomic import write_atomically
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.site_forms import site_evidence, tissue_match
from bids_harmony.methods.tissue_form import relate_tissues
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.presets import DEFAULT_PRESET, preset
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.phantom.anatomy import Anatomy
from bids_harmony.phantom.biology import draw_biology, with_biology
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.real_scanners import real_scanner
from bids_harmony.phantom.scanner import Scanner, acquire
from bids_harmony.quality.travelling import score_against_twin
from bids_harmony.sites.image_profile import ImageProfile, build_profile
from bids_harmony.sites.profile_cache import ProfileCache
from bids_harmony.sites.tissue_profile import tissue_profile

RESULTS = Path(__file__).resolve().parent / "results"
SEED = 910_000
OTHERS = 5
#: Name, scanners, modality, spacing in mm, pairs.
SETS = (
    ("like real", real_scanner, "T1w", 2.0, 8),
    ("like real", real_scanner, "T2w", 2.0, 6),
    ("wide", random_scanner, "T1w", 2.0, 10),
    ("wide", random_scanner, "T2w", 2.0, 6),
    ("wide", random_scanner, "FLAIR", 2.0, 6),
    ("like real", real_scanner, "T1w", 1.0, 4),
)
MAPS = tuple(f"anat-0{number}" for number in (5, 6, 7, 8))

Array = np.ndarray
Scans = Sequence[tuple[str, Array, Array]]
#: PSNR and noise over the larger of both scans', by method.
Made = dict[str, tuple[float, float]]
_RISES = 1.1


@dataclass(frozen=True, eq=False)
class Case:
    """A pair of scaled scans on one grid, and what is known of the two sites."""

    of: str
    modality: str
    voxel_mm: float
    known_from: str
    scan: Prepared
    there: Array
    source: Scans
    target: Scans


def main() -> None:
    """Score all pairs, or those of some sets."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("build/closed_forms"))
    options = parser.parse_args()
    scores: dict[tuple[str, str, float, str], list[Made]] = {}
    for case in _cases(options.work):
        most = max(_noise(data, case) for data in (case.scan.data, case.there))
        made = {
            name: (_psnr(data, case), _noise(data, case) / most)
            for name, data in _methods(case, options.work)
        }
        key = case.of, case.modality, case.voxel_mm, case.known_from
        scores.setdefault(key, []).append(made)
        print(*key, {name: round(psnr, 2) for name, (psnr, _) in made.items()}, flush=True)
    rows = [row for key, pairs in scores.items() for row in _rows(key, pairs)]
    record = {
        "name": "closed_forms",
        "command": "python benchmarks/closed_forms.py",
        "seeds": [SEED],
        **provenance(("numpy", "scipy", "torch")),
        "rows": rows,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = json.dumps(record, indent=1) + "\n"
    write_atomically(RESULTS / "closed_forms.json", content.encode())
    write_atomically(RESULTS / "closed_forms.md", _page(rows).encode())
    print(_page(rows))


def _rows(key: tuple[str, str, float, str], pairs: Sequence[Made]) -> Iterator[dict[str, Any]]:
    names = dict(zip(("set", "modality", "voxel_mm", "known_from"), key, strict=True))
    for method in pairs[0]:
        behind = min(pair[method][0] - pair["histogram"][0] for pair in pairs)
        yield names | {
            "method": method,
            "n": len(pairs),
            "psnr_db": round(float(np.mean([pair[method][0] for pair in pairs])), 2),
            "worst_against_histogram_db": round(behind, 2),
            "noise_rises": sum(pair[method][1] > _RISES for pair in pairs),
        }


def _page(rows: Sequence[dict[str, Any]]) -> str:
    heads = {
        "set": "set", "modality": "contrast", "known_from": "sites known from",
        "method": "method", "voxel_mm": "mm", "n": "pairs", "psnr_db": "PSNR, dB",
        "worst_against_histogram_db": "worst against histogram, dB", "noise_rises": "noise rises",
    }  # fmt: skip
    about = (__doc__ or "").split("\n\n")[2].strip()
    body = [[str(row[name]) for name in heads] for row in rows]
    table = "\n".join(markdown(list(heads.values()), body, words=4))
    return f"# Closed forms pair by pair\n\n{about}\n\n{table}\n"


def _psnr(data: Array, case: Case) -> float:
    return score_against_twin(data, case.there, case.scan.mask)["psnr_db"]


def _noise(data: Array, case: Case) -> float:
    mask = case.scan.mask
    return deep_noise(data / robust_scale(data, mask), mask, case.voxel_mm)


def _methods(case: Case, work: Path) -> Iterator[tuple[str, Array]]:
    data, mask, voxel_mm = case.scan.data, case.scan.mask, case.voxel_mm
    source, target = (_profile(n, s, case) for n, s in (("S", case.source), ("T", case.target)))
    known = site_evidence(source, target)
    yield "none", data
    yield "histogram", landmark_map(data, landmarks(data, mask), target.landmarks)
    yield "histogram-tissue", tissue_match(data, mask, source, target, voxel_mm)
    own = tissue_profile(data, mask, voxel_mm)
    for name, changes in (
        ("histogram-relative", {}),
        ("without bend", {"bend": None}),
        ("without blur", {"blur": np.zeros(3)}),
    ):
        yield name, relate_tissues(
            data, mask, own, source.scan_measures, target.scan_measures,
            replace(known, **changes), case.modality, voxel_mm,
        )  # fmt: skip
    cache = ProfileCache(work / "profiles", voxel_mm)
    for profile in (source, target):
        cache.write(profile, {})
    applied = load_harmonizer("ihf", SHIPPED_MODEL, cache).apply(
        case.scan, modality=case.modality, source_site="S", target_site="T"
    )
    yield "ihf", applied.data


def _profile(name: str, scans: Scans, case: Case) -> ImageProfile:
    made = [(f"{name} {label}", data, mask, 1.0) for label, data, mask in scans]
    return build_profile(
        name, case.modality, made, load_encoder("mri"),
        cells=preset(DEFAULT_PRESET).aan.grid, voxel_mm=case.voxel_mm,
    )  # fmt: skip


def _cases(work: Path) -> Iterator[Case]:
    for pair in PAIRS:
        for modality in pair.modalities:
            grid, cache = reference_grid(2.0), work / "real"
            cache.mkdir(parents=True, exist_ok=True)
            one, other = prepared_pair(pair, modality, grid, cache)
            mask = one.mask & other.mask
            for source, target in ((one, other), (other, one)):
                yield _case(f"real, {pair.name}", modality, 2.0, source.data, target.data, mask)
    for name, draw, modality, voxel_mm, count in SETS:
        people = _people(voxel_mm, work)
        scanners = [draw(SEED + number) for number in range(2 * count)]
        for number in range(count):
            person = people[number % len(people)]
            both = scanners[number], scanners[count + number]
            here, there = (_scan(person, s, modality, 10 * number) for s in both)
            yield _case(name, modality, voxel_mm, here, there, person.mask)
            strangers = [p for p in people if p.source != person.source]
            known = [_known(strangers, s, modality, 10 * number + 1) for s in both]
            yield _case(name, modality, voxel_mm, here, there, person.mask, known)


def _case(
    of: str,
    modality: str,
    voxel_mm: float,
    here: Array,
    there: Array,
    mask: Array,
    known: Sequence[Scans] | None = None,
) -> Case:
    here, there = (np.where(mask, data, np.float32(0)) for data in (here, there))
    scan = Prepared(here, mask, 1.0, np.eye(4), reference_grid(voxel_mm))
    source, target = known or ([("itself", here, mask)], [("itself", there, mask)])
    known_from = "others" if known else "itself"
    return Case(of, modality, voxel_mm, known_from, scan, there, source, target)


def _people(voxel_mm: float, work: Path) -> list[Anatomy]:
    found = load_people(
        "labels", reference_grid(voxel_mm), work / "people", [0, 1],
        folder=DATA / "labels", names=MAPS,
    )  # fmt: skip
    return [with_biology(person, draw_biology(person.seed)) for person in found]


def _known(people: Sequence[Anatomy], scanner: Scanner, modality: str, seed: int) -> Scans:
    """Scans of five people, not the same at both sites."""
    rng = np.random.default_rng([seed, scanner.bias_seed])
    drawn = rng.choice(len(people), OTHERS, replace=False)
    return [
        (str(i), _scan(people[i], scanner, modality, seed + int(i)), people[i].mask) for i in drawn
    ]


def _scan(person: Anatomy, scanner: Scanner, modality: str, seed: int) -> Array:
    data = acquire(person, scanner, modality, scan_seed=SEED + seed)
    return np.asarray(data / robust_scale(data, person.mask), np.float32)


if __name__ == "__main__":
    main()
