"""The travelling-subject benchmark: what every method makes of one person at many sites.

    python benchmarks/travelling.py --quick          every part once: 20 minutes on two cores
    python benchmarks/travelling.py --form reduced   one seed, all sites: hours on two cores
    python benchmarks/travelling.py                  three seeds, six heads: wants an accelerator

Simulated scanners on anatomies of the template, of whole-head label maps and of real scans; the
target is COI. Prints the tables and writes JSON, Markdown and figures to ``benchmarks/results``.
Parts that are run alone replace their section of an earlier result.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import provenance
from travelling_choices import choices, losses
from travelling_cohort import TARGET
from travelling_forms import FORMS, Form
from travelling_proofs import density_curves, proofs
from travelling_real import real_pairs
from travelling_report import write_report
from travelling_run import Work, draw_folder, fit_models, score_methods

from bids_harmony.methods.registry import REGISTRY

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PARTS = ("methods", "varied", "adapted", "choices", "losses", "proofs", "real")
#: Result of each form. The reduced one is the record that the documentation quotes.
_NAMES = {"quick": "travelling_quick", "reduced": "travelling", "full": "travelling_full"}
VGG = ROOT.parent / "shared" / "weights" / "vgg16_oxford_relu4_1.fp16.safetensors"
_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "scikit-learn", "antspyx")


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--form", choices=list(FORMS), default="full", help=_sizes())
    size.add_argument("--quick", dest="form", action="store_const", const="quick")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--methods", nargs="+", choices=list(REGISTRY))
    parser.add_argument("--label", help="name of the rows of a single method; part varied only")
    parser.add_argument("--steps", type=int, help="optimizer steps of every choice and loss")
    parser.add_argument("--paired-steps", type=int, help="slices shown to cgan and simix")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "travelling")
    parser.add_argument("--result", type=Path, help="default: one file per form")
    options = parser.parse_args()
    start = time.monotonic()
    form = FORMS[options.form]
    result = options.result or RESULTS / f"{_NAMES[form.name]}.json"
    record = _earlier(result)
    work = Work(
        options.folder,
        workers=options.workers,
        paired_steps=options.paired_steps or form.paired_steps,
        paired_width=form.paired_width,
    )
    seeds = options.seeds or list(form.seeds)
    for part in options.parts:
        began = time.monotonic()
        record |= _PARTS[part](form, options, work, seeds, record)
        record.setdefault("minutes", {})[part] = round((time.monotonic() - began) / 60, 1)
        record |= _about(form, seeds)
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    minutes = round((time.monotonic() - start) / 60, 1)
    if list(options.parts) == list(PARTS):
        record["minutes"]["all parts in one go"] = minutes
        result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    write_report(record, result.parent)
    print(f"{minutes} minutes; result: {result}")


def _sizes() -> str:
    return "; ".join(f"{form.name}: {form.about}" for form in FORMS.values())


def _about(form: Form, seeds: Sequence[int]) -> dict[str, Any]:
    option = {"quick": " --quick", "full": ""}.get(form.name, f" --form {form.name}")
    about = {"name": _NAMES[form.name], "command": f"python benchmarks/travelling.py{option}"}
    return about | {"seeds": list(seeds), "form": form.name} | provenance(_PACKAGES)


def _earlier(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _methods(
    form: Form,
    options: argparse.Namespace,
    work: Work,
    seeds: Sequence[int],
    record: dict[str, Any],
) -> dict[str, Any]:
    names = options.methods or [m for m in REGISTRY if m != "ihf"] + ["ihf"]
    rows = _other_rows(record, form, _made_with(names), seeds)
    for seed in seeds:
        for fields in (True, False):
            plan = form.plan(seed, fields=fields)
            for chosen, part in form.scored(names, plan):
                models = fit_models(plan, work, chosen)
                rows += _by_site(score_methods(part, work, models))
            _print(rows, seed, fields)
    made = {"rows": rows, "curves": record.get("curves", {})}
    if "ihf" in names:
        plan = form.plan(seeds[0])
        models = {"ihf": ("ihf", draw_folder(plan, work) / "models" / "ihf")}
        made["curves"] = {m: density_curves(plan, work, models, m) for m in plan.modalities}
    return made


def _varied(
    form: Form,
    options: argparse.Namespace,
    work: Work,
    seeds: Sequence[int],
    record: dict[str, Any],
) -> dict[str, Any]:
    """People who differ as real people do; another build of the program may add its rows."""
    names = options.methods or [m for m in form.without_fields if not REGISTRY[m].supervised]
    made_now = {options.label} if options.label else _made_with(names)
    old = {"form": record.get("form"), "rows": record.get("varied", [])}
    rows = _other_rows(old, form, made_now, seeds)
    for seed in seeds:
        plan = form.varied_plan(seed)
        found = _by_site(score_methods(plan, work, fit_models(plan, work, names)))
        rows += [r | {"method": options.label or r["method"]} for r in found]
    return {"varied": rows}


def _other_rows(
    record: dict[str, Any],
    form: Form,
    made_now: Collection[str],
    seeds: Sequence[int],
) -> list[dict[str, Any]]:
    """Rows of an earlier run of the same form that this one does not make again."""
    kept = record.get("rows", []) if record.get("form") == form.name else []
    return [r for r in kept if r["method"] not in made_now or r["seed"] not in seeds]


def _adapted(
    form: Form,
    options: argparse.Namespace,
    work: Work,
    seeds: Sequence[int],
    record: dict[str, Any],
) -> dict[str, Any]:
    """The shipped weights after `train` on the cohort's own sites, five scans each."""
    rows = _other_rows(record, form, {"ihf-adapted"}, seeds)
    told = []
    for seed in seeds:
        plan = form.plan(seed)
        start = time.monotonic()
        steps: dict[str, Any] = {
            "twin_people": form.twin_people,
            "twin_scanners": form.twin_scanners,
            "twin_steps": options.steps or form.twin_steps,
            "adapt_steps": form.adapt_steps,
            "train_minutes": 0.0,
        }
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
    form: Form,
    options: argparse.Namespace,
    work: Work,
    seeds: Sequence[int],
    record: dict[str, Any],
) -> dict[str, Any]:
    rows = []
    for seed in seeds:
        rows += choices(
            work,
            groups=form.choices,
            people=form.choice_people,
            scanners=form.choice_scanners,
            steps=options.steps or form.choice_steps,
            vgg=VGG if VGG.is_file() else None,
            seed=seed,
            pairs=form.choice_pairs,
        )
    return {"ablation": rows}


def _losses(
    form: Form,
    options: argparse.Namespace,
    work: Work,
    seeds: Sequence[int],
    record: dict[str, Any],
) -> dict[str, Any]:
    steps = options.steps or form.loss_steps
    return {"losses": losses(form.loss_plan(seeds[0]), work, steps=steps)}


def _proofs(
    form: Form,
    options: argparse.Namespace,
    work: Work,
    seeds: Sequence[int],
    record: dict[str, Any],
) -> dict[str, Any]:
    """On a cohort of its own: many people, a few methods."""
    rows: list[dict[str, Any]] = []
    plan = form.proof_plan(seeds[0])
    models = fit_models(plan, work, ["none", "blur", "histogram-tissue", "ihf"])
    for modality in plan.modalities:
        rows += proofs(plan, work, models, modality)
    return {"proofs": rows}


def _real(
    form: Form,
    options: argparse.Namespace,
    work: Work,
    seeds: Sequence[int],
    record: dict[str, Any],
) -> dict[str, Any]:
    return {"real": real_pairs(work.folder)}


_PARTS = {
    "methods": _methods,
    "varied": _varied,
    "adapted": _adapted,
    "choices": _choices,
    "losses": _losses,
    "proofs": _proofs,
    "real": _real,
}


if __name__ == "__main__":
    main()
