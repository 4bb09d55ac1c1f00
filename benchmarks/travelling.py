"""The travelling-subject benchmark: what every method makes of one person at many sites.

    python benchmarks/travelling.py --quick        about 20 minutes on two cores
    python benchmarks/travelling.py                three seeds, all sites, all people: hours

Simulated scanners on anatomies of the template, of whole-head label maps and of real scans; the
target is COI. Prints the tables and writes JSON, Markdown and figures to ``benchmarks/results``.
Parts that are run alone replace their section of an earlier result.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from anatomies import source_names
from measure import provenance
from travelling_choices import choices, losses
from travelling_cohort import TARGET, Plan
from travelling_proofs import density_curves, proofs
from travelling_real import real_pairs
from travelling_report import write_report
from travelling_run import Work, draw_folder, fit_models, score_methods

from bids_harmony.methods import METHOD_NEEDS
from bids_harmony.phantom.scanner import SITES

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PARTS = ("methods", "adapted", "choices", "losses", "proofs", "real")
#: Whether label maps and real scans are there; the benchmark runs without.
HAS_DATA = bool(source_names("labels"))
VGG = ROOT.parent / "shared" / "weights" / "vgg16_oxford_relu4_1.fp16.safetensors"
_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "scikit-learn", "antspyx")


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, few people")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--methods", nargs="+", choices=list(METHOD_NEEDS))
    parser.add_argument("--steps", type=int, help="optimizer steps of every choice and loss")
    parser.add_argument("--paired-steps", type=int, help="slices shown to cgan and simix")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "travelling")
    parser.add_argument("--result", type=Path, default=RESULTS / "travelling.json")
    options = parser.parse_args()
    start = time.monotonic()
    record = _earlier(options.result)
    work = Work(
        options.folder,
        workers=options.workers,
        paired_steps=options.paired_steps or (300 if options.quick else 4000),
        paired_width=8 if options.quick else 64,
    )
    seeds = options.seeds or ([0] if options.quick else [0, 1, 2])
    for part in options.parts:
        began = time.monotonic()
        record |= _PARTS[part](options, work, seeds, record)
        record.setdefault("minutes", {})[part] = round((time.monotonic() - began) / 60, 1)
        record |= _about(options, seeds)
        options.result.parent.mkdir(parents=True, exist_ok=True)
        options.result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    write_report(record, options.result.parent)
    print(f"{(time.monotonic() - start) / 60:.1f} minutes; result: {options.result}")


def _about(options: argparse.Namespace, seeds: Sequence[int]) -> dict[str, Any]:
    command = "python benchmarks/travelling.py" + (" --quick" if options.quick else "")
    about = {"name": "travelling", "command": command, "seeds": list(seeds)}
    return about | {"quick": options.quick} | provenance(_PACKAGES)


def _earlier(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def plan_of(quick: bool, seed: int, *, fields: bool = True) -> Plan:
    """The cohort of one seed."""
    if quick:
        return Plan(
            sites=tuple(SITES),
            paired=2,
            # Real brains; without fields one of them is enough.
            test=(("phantom", 0 if HAS_DATA else 1), ("labels", 1), ("scans", int(fields))),
            fields=fields,
            seed=seed,
        )
    return Plan(
        sites=tuple(SITES),
        test=(("phantom", 2), ("labels", 2), ("scans", 2)),
        fields=fields,
        seed=seed,
    )


def _methods(
    options: argparse.Namespace, work: Work, seeds: Sequence[int], record: dict[str, Any]
) -> dict[str, Any]:
    names = options.methods or [m for m in METHOD_NEEDS if m != "ihf"] + ["ihf"]
    rows = _other_rows(record, options, _made_with(names), seeds)
    for seed in seeds:
        for fields in (True, False):
            plan = plan_of(options.quick, seed, fields=fields)
            for chosen, part in _budgets(names, plan, options.quick):
                models = fit_models(plan, work, chosen)
                rows += _by_site(score_methods(part, work, models))
            _print(rows, seed, fields)
    made = {"rows": rows, "curves": record.get("curves", {})}
    if "ihf" in names:
        plan = plan_of(options.quick, seeds[0])
        models = {"ihf": ("ihf", draw_folder(plan, work) / "models" / "ihf")}
        made["curves"] = {m: density_curves(plan, work, models, m) for m in plan.modalities}
    return made


def _budgets(names: Sequence[str], plan: Plan, quick: bool) -> list[tuple[list[str], Plan]]:
    """Methods and the plan they are scored on.

    N4 takes 17 s of processor for a scan at 2 mm, paired networks take long to train: the quick
    form scores these with receive fields only, and N4 at four sites.
    """
    slow = ("histogram-n4", *(m for m in METHOD_NEEDS if METHOD_NEEDS[m].supervised))
    if not quick:
        return [(list(names), plan)]
    parts = [([m for m in names if m not in slow], plan)]
    if plan.fields:
        parts.append(([m for m in names if m in slow[1:]], plan))
        few = replace(plan, scored=plan.sources[:4])
        parts.append(([m for m in names if m == "histogram-n4"], few))
    return [part for part in parts if part[0]]


def _other_rows(
    record: dict[str, Any],
    options: argparse.Namespace,
    made_now: Collection[str],
    seeds: Sequence[int],
) -> list[dict[str, Any]]:
    """Rows of an earlier run of the same form that this one does not make again."""
    kept = record.get("rows", []) if record.get("quick") == options.quick else []
    return [r for r in kept if r["method"] not in made_now or r["seed"] not in seeds]


def _adapted(
    options: argparse.Namespace, work: Work, seeds: Sequence[int], record: dict[str, Any]
) -> dict[str, Any]:
    """The shipped weights after `train` on the cohort's own sites, five scans each."""
    rows = _other_rows(record, options, {"ihf-adapted"}, seeds)
    told = []
    for seed in seeds[:1] if options.quick else seeds:
        plan = plan_of(options.quick, seed)
        start = time.monotonic()
        steps = {"twin_steps": options.steps or 200, "adapt_steps": 100, "train_minutes": 0.0}
        models = fit_models(plan, work, ["ihf"], label="ihf-adapted", **steps)
        minutes = (time.monotonic() - start) / 60
        told.append({"seed": seed, "minutes": round(minutes, 1), **steps})
        rows += _by_site(score_methods(plan, work, models))
        _print(rows, seed, True)
    return {"rows": rows, "adaptations": told}


def _made_with(names: Sequence[str]) -> set[str]:
    return {*names, *(("oracle", "ceiling") if "none" in names else ())}


def _by_site(scans: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the people of a site; single scans would make a file of megabytes."""
    keys = ("method", "variant", "seed", "fields", "modality", "site")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in scans:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    rows = []
    for group, own in groups.items():
        figures = [k for k, v in own[0].items() if isinstance(v, float)]
        means = {k: round(float(np.mean([row[k] for row in own])), 5) for k in figures}
        rows.append(dict(zip(keys, group, strict=True)) | {"scans": len(own)} | means)
    return rows


def _print(rows: Sequence[dict[str, Any]], seed: int, fields: bool) -> None:
    own = [r for r in rows if (r["seed"], r["fields"]) == (seed, fields) and r["site"] != TARGET]
    print(f"seed {seed}, {'with' if fields else 'without'} receive fields")
    for key in dict.fromkeys((r["modality"], r["method"], r["variant"]) for r in own):
        same = [r for r in own if (r["modality"], r["method"], r["variant"]) == key]
        psnr, free, lpips = (
            float(np.mean([r[name] for r in same]))
            for name in ("psnr_db", "psnr_gain_free_db", "lpips")
        )
        name = f"{key[1]}{', blurred' if key[2] == 'blurred' else ''}"
        print(f"  {key[0]} {name:26s} {psnr:6.2f} dB  {free:6.2f} dB  LPIPS {lpips:.4f}")


def _choices(
    options: argparse.Namespace, work: Work, seeds: Sequence[int], record: dict[str, Any]
) -> dict[str, Any]:
    steps = options.steps or (20 if options.quick else 2000)
    vgg = VGG if VGG.is_file() else None
    pairs = 8 if options.quick else 24
    shared: dict[str, Any] = {"steps": steps, "vgg": vgg, "pairs": pairs}
    rows = [row for s in seeds for row in choices(work, seed=s, heavy=not options.quick, **shared)]
    return {"ablation": rows}


def _losses(
    options: argparse.Namespace, work: Work, seeds: Sequence[int], record: dict[str, Any]
) -> dict[str, Any]:
    steps = options.steps or (10 if options.quick else 2000)
    small = replace(plan_of(True, seeds[0]), sites=tuple(SITES)[:4])
    if options.quick:
        # The literal preset takes some twenty times as long as the default.
        head = (("labels", 1),) if HAS_DATA else (("phantom", 1),)
        small = replace(small, sites=tuple(SITES)[:3], modalities=("T1w",), test=head)
    return {"losses": losses(small, work, steps=steps)}


def _proofs(
    options: argparse.Namespace, work: Work, seeds: Sequence[int], record: dict[str, Any]
) -> dict[str, Any]:
    """On a cohort of its own: many people, a few methods, T1w and (full form) T2w."""
    rows: list[dict[str, Any]] = []
    full = plan_of(options.quick, seeds[0])
    count = 6 if options.quick else 13
    test = (("labels", 4), ("scans", count - 4)) if HAS_DATA else (("phantom", count),)
    plan = Plan(sites=full.sites, paired=0, test=test, seed=seeds[0])
    models = fit_models(plan, work, ["none", "blur", "histogram-tissue", "ihf"])
    for modality in ("T1w",) if options.quick else plan.modalities:
        rows += proofs(plan, work, models, modality)
    return {"proofs": rows}


def _real(
    options: argparse.Namespace, work: Work, seeds: Sequence[int], record: dict[str, Any]
) -> dict[str, Any]:
    return {"real": real_pairs(work.folder)}


_PARTS = {
    "methods": _methods,
    "adapted": _adapted,
    "choices": _choices,
    "losses": _losses,
    "proofs": _proofs,
    "real": _real,
}


if __name__ == "__main__":
    main()
