"""The article's own experiment (IHF-Harmony, arXiv 2602.21536), at a size for a processor.

    python benchmarks/article.py                      what is not done yet, in order
    python benchmarks/article.py --minutes 60         the same, as far as an hour of one core goes
    python benchmarks/article.py --parts table1       one part; --list says which there are
    python benchmarks/article.py --table-only         tables and figures from the record again

Its method (``--preset paper``), its rivals and the shipped weights on a simulated cohort in the
manner of SRPBS-TS. Each part is one training of at most half an hour of one core, whose row goes
into ``benchmarks/results/article.json`` as soon as it is done; what broke off goes on from its
checkpoint in ``build/article``. Several processes may work at the same record.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from article_cohort import ARTICLE_PLAN, Cohort
from article_parts import PARTS, Part, all_parts, flattened, is_done, pending, with_result
from article_report import write_report
from article_scores import DENSITY_GRID, Scores, as_rows, density, rounded, score_travellers
from article_training import BUDGETS, Trained, train_paper, train_rival
from filelock import FileLock
from measure import provenance
from travelling import VGG
from travelling_cohort import TARGET
from travelling_methods import images

from bids_harmony.io.atomic import write_atomically
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.base import Harmonizer
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.sites.profile_files import write_profiles
from bids_harmony.training.adapt import train_model
from bids_harmony.training.ssimh import fit_ssimh

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "article.json"
FOLDER = ROOT / "build" / "article"
_PACKAGES = ("torch", "numpy", "scipy", "scikit-image")
#: Methods without a training; with ``none`` come the oracle and the ceiling.
_UNTRAINED = (
    "none", "histogram", "ssimh", "histogram-ratio", "histogram-fit", "histogram-tissue",
    "histogram-relative", "ihf",
)  # fmt: skip
#: Names of rows that are not names of methods.
_NAMES = {"none": "raw", "ihf": "local"}

Result = tuple[list[dict[str, Any]], dict[str, Any]]


def main() -> None:
    """Work through what is not done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--methods", nargs="+", help="of the parts; all by default")
    parser.add_argument("--modalities", nargs="+", default=["T1w", "T2w"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of this sitting")
    parser.add_argument("--list", action="store_true", help="parts, their minutes, which are done")
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument(
        "--vgg", type=Path, default=VGG, help="weights of a VGG-16; without, its parts are left"
    )
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()

    def read() -> dict[str, Any]:
        there = options.result.is_file()
        return json.loads(options.result.read_text(encoding="utf-8")) if there else {}

    wanted = [
        part
        for part in all_parts()
        if part.part in options.parts
        and part.modality in options.modalities
        and part.seed in options.seeds
        and (not options.methods or part.method in options.methods)
        and (options.vgg.is_file() or part.method != "paper-vgg")
    ]
    if options.list:
        _list(wanted, read())
        return
    for part in () if options.table_only else pending(wanted, read, options.minutes):
        print(f"{time.strftime('%H:%M')} {part.key}, some {part.minutes:g} minutes", flush=True)
        made_by = provenance(_PACKAGES)
        # A process of its own: its memory is that of the part.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as worker:
            rows, about = worker.submit(run_part, part, options.folder, options.vgg).result()
        about |= made_by
        with FileLock(options.folder / "record.lock"):
            record = with_result(read(), part, rows, about) | _about()
            write_atomically(options.result, _text(record).encode())
        print(*(f"  {row['method']:20s} {row['psnr_db']:.2f} dB" for row in rows), sep="\n")
    write_report(read(), options.result.parent)


def _text(record: dict[str, Any]) -> str:
    """JSON with lists of numbers on a line each."""
    text = json.dumps(record, indent=1) + "\n"
    return re.sub(r"\[[\s\d.,e+-]+\]", lambda found: " ".join(found[0].split()), text)


def _list(parts: Sequence[Part], record: dict[str, Any]) -> None:
    for part in parts:
        done = "done" if is_done(record, part) else f"{part.minutes:g} minutes"
        print(f"{part.key:45s} {done}")
    left = sum(part.minutes for part in parts if not is_done(record, part))
    print(f"{left / 60:.1f} hours of one core are left")


def _about() -> dict[str, Any]:
    plan = asdict(ARTICLE_PLAN) | {"sources": ARTICLE_PLAN.sources}
    return {
        "name": "article",
        "command": "python benchmarks/article.py",
        "cohort": plan,
        "budgets": {name: asdict(budget) for name, budget in BUDGETS.items()},
        "density_grid": rounded(DENSITY_GRID),
    }


def run_part(part: Part, folder: Path, vgg: Path) -> Result:
    """Run one part: its rows, and what else there is to keep of it."""
    torch.set_num_threads(1)
    cohort = Cohort(ARTICLE_PLAN, folder)
    where = folder / "parts" / part.key
    rows, about = _RUNNERS[part.method](part, cohort, where, vgg)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return rows, about | {"peak_mib": round(peak)}


def _untrained(part: Part, cohort: Cohort, folder: Path, vgg: Path) -> Result:
    """All methods that need no training, oracle and ceiling."""
    encoder, modality = load_encoder("mri"), part.modality
    profiles = cohort.profiles(modality, encoder).values()
    models: dict[str, tuple[str, Path]] = {}
    for method in _UNTRAINED:
        own = folder / ("sites" if method not in ("ssimh", "ihf") else method)
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        if method == "ihf":
            shutil.copytree(SHIPPED_MODEL, own, dirs_exist_ok=True)
        if method == "ssimh":
            fit_ssimh(cohort.loaded("training", modality), TARGET, own)
        write_profiles(own, profiles, cohort.plan.voxel_mm)
        models[_NAMES.get(method, method)] = (method, own)
    # `images` adds the bounds where it finds this name.
    models["none"] = models.pop("raw")
    scores: dict[str, Scores] = {}
    target = []
    for case in cohort.cases(modality):
        for name, variant, data in images(case, models):
            if variant == "sharp":
                own_scores = scores.setdefault(_NAMES.get(name, name), Scores())
                own_scores.add(data, case.twin, case.prepared.mask, case.site)
        target.append(density(case.target_scan, case.prepared.mask))
    rows = as_rows(part, scores, slices_seen=0, hours=0.0, flattened=None)
    about = {name: own.about for name, own in scores.items()}
    return rows, {"scores": about, "target_density": rounded(sum(target) / len(target))}


def _trained(train: Callable[..., Trained]) -> Callable[[Part, Cohort, Path, Path], Result]:
    def run(part: Part, cohort: Cohort, folder: Path, vgg: Path) -> Result:
        wants_vgg = part.method in ("paper-vgg", "simix") and vgg.is_file()
        budget = BUDGETS[part.method]
        trained = train(part, cohort, folder, budget, vgg if wants_vgg else None)
        hours = trained.curve.hours
        model = load_harmonizer(trained.method, trained.folder)
        scores = score_travellers(cohort, part.modality, _applied(model, part.modality))
        rows = as_rows(
            part,
            {part.method: scores},
            slices_seen=trained.slices,
            hours=round(hours, 3),
            flattened=flattened(trained.curve.points) if trained.slices else None,
        )
        about = {"scores": {part.method: scores.about}, "curve": trained.curve.points}
        return rows, about | trained.about

    return run


def _applied(model: Harmonizer, modality: str) -> Callable[..., Any]:
    def apply(prepared: Any, site: str) -> Any:
        return model.apply(prepared, modality=modality, source_site=site, target_site=TARGET).data

    return apply


def _local_trained(part: Part, cohort: Cohort, folder: Path, vgg: Path) -> Result:
    """The shipped weights after the level train on the cohort, with its defaults."""
    settings = Settings(
        folder, folder, "train", target_site=TARGET, voxel_mm=cohort.plan.voxel_mm, nprocs=1,
        random_seed=part.seed, training=TrainingSettings(),
    )  # fmt: skip
    start = time.process_time()
    extra = train_model(cohort.scans("training", part.modality), settings, folder)
    hours = (time.process_time() - start) / 3600
    model = load_harmonizer("ihf", folder)
    scores = score_travellers(cohort, part.modality, _applied(model, part.modality))
    steps = extra["twins"]["steps"]
    rows = as_rows(
        part, {part.method: scores}, slices_seen=steps * settings.training.batch,
        hours=round(hours, 3), flattened=None,
    )  # fmt: skip
    return rows, {
        "scores": {part.method: scores.about},
        "kept": extra["twins"]["kept"],
        "twins": {name: extra["twins"][name] for name in ("own_before", "own_unseen")},
    }


_RUNNERS: dict[str, Callable[[Part, Cohort, Path, Path], Result]] = {
    "untrained": _untrained,
    "paper": _trained(train_paper),
    "paper-vgg": _trained(train_paper),
    "cgan": _trained(train_rival),
    "simix": _trained(train_rival),
    "local-trained": _local_trained,
}


if __name__ == "__main__":
    main()
