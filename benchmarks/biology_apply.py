"""Methods of the biology benchmark applied to its scans, and what is measured on the results.

Results are kept person by person with a hash of what they depend on, so that a run goes on where
it was stopped and does again only what has changed.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import biology_measures
import numpy as np
import torch
from biology_measures import measures
from biology_people import Person, read_cohort, read_person
from tqdm import tqdm
from travelling_cohort import TARGET, Plan
from travelling_run import Work, fit_scans

import bids_harmony
from bids_harmony.io.atomic import write_atomically
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.base import Harmonizer
from bids_harmony.methods.registry import REGISTRY
from bids_harmony.sites.prepared_scans import TrainingScan

__all__ = [
    "CEILING",
    "TRUTH",
    "Part",
    "apply_parts",
    "fitted",
    "for_each_person",
    "image_of",
    "measured_rows",
    "part_folder",
    "program_key",
]

Array = np.ndarray
Task = TypeVar("Task")

#: The person's noise-free twin in the place of a result: the truth.
TRUTH = "truth"
#: The person's own noisy scan at the target in the place of a result: what noise alone costs.
CEILING = "ceiling"
#: Parts of the package that results depend on; others (reports, levels, phantoms) do not matter.
_CODE = (
    "io",
    "methods",
    "imaging",
    "model",
    "sites",
    "training",
    "data/model",
    "data",
)


@dataclass(frozen=True)
class Part:
    """One method on one person in one modality.

    Attributes
    ----------
    folder : Path
        Of the draw.
    label : str
        Name of the rows.
    model : tuple of (method, folder) or None
        None for `TRUTH` and `CEILING`.
    modality, person : str
    key : str
        Hash of cohort and program.
    any_program : bool
        What another state of the program made of the same cohort counts as done.
    """

    folder: Path
    label: str
    model: tuple[str, Path] | None
    modality: str
    person: str
    key: str
    any_program: bool = False


def program_key(*more: str) -> str:
    """Hash of the code and weights of the program that runs; of `more` parts, too."""
    package = Path(bids_harmony.__file__).parent
    total = hashlib.sha256()
    files: set[Path] = set()
    for name in (*_CODE, *more):
        at = package / name
        pattern = "*" if name.startswith("data") else "**/*.py"
        files |= {at} if at.is_file() else {p for p in at.glob(pattern) if p.is_file()}
    for file in sorted(files):
        total.update(str(file.relative_to(package)).encode() + file.read_bytes())
    return total.hexdigest()[:16]


def fitted(folder: Path, methods: Sequence[str], workers: int) -> dict[str, tuple[str, Path]]:
    """Fit methods to the scans of the profiles, unless this program has done so.

    Parameters
    ----------
    folder : Path
        Of the draw.
    methods : sequence of str
        None that learns from travelling subjects: there are none.
    workers : int

    Returns
    -------
    mapping of method to (method, model folder)
    """
    cohort = read_cohort(folder)
    draw = cohort["draw"]
    plan = Plan(
        sites=(TARGET, *draw["sources"]),
        modalities=tuple(draw["modalities"]),
        training_per_site=draw["profile_people"],
        paired=0,
        voxel_mm=draw["voxel_mm"],
        seed=draw["seed"],
    )
    scans = [
        TrainingScan(b["label"], b["subject"], b["modality"], b["site"], folder / b["file"])
        for b in cohort["banks"]
    ]
    everyone = {s.subject for s in scans}
    models = {}
    # Most methods have nothing but the profiles, and the shipped network takes them, too.
    groups = [[m for m in REGISTRY if m == "ihf" or not REGISTRY[m].trained]]
    groups[0].sort(key=lambda m: m != "none")
    groups += [[m] for m in REGISTRY if m not in groups[0]]
    for group in groups:
        if not set(group) & set(methods):
            continue
        out = folder / "fitted" / f"{cohort['key']}-{program_key()}-{group[0]}"
        known = out / "models.json"
        if not known.is_file():
            found = fit_scans(scans, everyone, plan, Work(folder, workers=workers), out, group)
            text = json.dumps({m: [n, str(f.relative_to(out))] for m, (n, f) in found.items()})
            write_atomically(known, text.encode())
        found = json.loads(known.read_text(encoding="utf-8"))
        models |= {m: (n, out / f) for m, (n, f) in found.items() if m in methods}
    return models


def part_folder(folder: Path, label: str) -> Path:
    """Where the parts of a method lie."""
    return folder / "parts" / label


def apply_parts(parts: Sequence[Part], workers: int) -> None:
    """Apply and measure what is not there yet."""
    open_parts = [p for p in parts if not _done(p)]
    for_each_person(_apply, open_parts, workers, f"{parts[0].label} {parts[0].modality}")


def for_each_person(
    work: Callable[[Task], None], tasks: Sequence[Task], workers: int, label: str
) -> None:
    """Do a task a person in processes of their own, or here where there is one worker."""
    shown = {"desc": label, "unit": "person", "disable": None, "total": len(tasks)}
    if workers == 1:
        for task in tqdm(tasks, **shown):
            work(task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        list(tqdm(pool.map(work, tasks), **shown))


def image_of(part: Part, person: Person, site: str) -> Array | None:
    """A kept result, (X, Y, Z) float32, or None where there is none."""
    path = _images(part)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as kept:
        return person.volume(kept[site].astype(np.float32)) if site in kept else None


def _images(part: Part) -> Path:
    return part_folder(part.folder, part.label) / f"{part.modality}-{part.person}.npz"


def _rows_file(part: Part) -> Path:
    return _images(part).with_suffix(".json")


@lru_cache(maxsize=1)
def _measure_key() -> str:
    return hashlib.sha256(Path(biology_measures.__file__).read_bytes()).hexdigest()[:16]


def _kept(part: Part) -> dict[str, Any]:
    path = _rows_file(part)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _fresh(part: Part) -> bool:
    """Whether the kept result is what the part asks for."""
    made = _kept(part).get("key", "")
    return made == part.key or (part.any_program and made.split()[:1] == part.key.split()[:1])


def _done(part: Part) -> bool:
    return _fresh(part) and _kept(part).get("measures") == _measure_key()


@lru_cache(maxsize=4)
def _harmonizer(method: str, folder: Path) -> Harmonizer:
    return load_harmonizer(method, folder)


def _apply(part: Part) -> None:
    torch.set_num_threads(1)
    sources = read_cohort(part.folder)["draw"]["sources"]
    person = read_person(part.folder, part.person)
    sites = [TARGET] if part.model is None else sources
    fresh = _fresh(part)
    images, rows = {}, []
    for site in sites:
        data = image_of(part, person, site) if fresh else None
        if data is None:
            data = _result(part, person, site)
        images[site] = data[person.mask].astype(np.float16)
        rows.append({"site": site, **measures(person, data, person.image(part.modality, "twin"))})
    part_folder(part.folder, part.label).mkdir(parents=True, exist_ok=True)
    if not fresh:
        partial = _images(part).with_suffix(".partial.npz")
        np.savez(partial, **images)
        partial.replace(_images(part))
    made = _kept(part)["key"] if fresh else part.key
    record = {"key": made, "measures": _measure_key(), "rows": rows}
    write_atomically(_rows_file(part), (json.dumps(record) + "\n").encode())


def _result(part: Part, person: Person, site: str) -> Array:
    if part.model is None:
        return person.image(part.modality, "twin" if part.label == TRUTH else TARGET)
    return (
        _harmonizer(*part.model)
        .apply(
            person.prepared(part.modality, site),
            modality=part.modality,
            source_site=site,
            target_site=TARGET,
        )
        .data
    )


def measured_rows(folder: Path, label: str, modality: str) -> Iterable[dict[str, Any]]:
    """Kept measures of a method, one row a scan, whatever program made them."""
    for name in (p["person"] for p in read_cohort(folder)["people"]):
        path = part_folder(folder, label) / f"{modality}-{name}.json"
        if path.is_file():
            for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
                yield {"person": name, **row}
