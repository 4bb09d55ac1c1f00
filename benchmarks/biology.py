"""Is what a study looks for still there when scans are harmonized, and only the scanner gone?

    python benchmarks/biology.py --quick   ten people, one seed, a few methods: half an hour
    python benchmarks/biology.py           24 people at each site, three seeds: a day

Simulated people who differ as real people do, with planted effects (T1 of grey and of white
matter, T2 of deep grey matter, atrophy, lesions), every one scanned at four sites and harmonized
to COI. For each method: how much of every effect is left, in measures with the true tissues of the
person and in volumes of a segmentation that is not ours, and how much of the site.

Goes on where it was stopped. Another build of the program, whose Python runs this file with
``--parts apply --methods ihf --label ihf-before``, adds its rows to the same cohort.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from biology_apply import CEILING, TRUTH, Part, apply_parts, fitted, program_key
from biology_people import read_cohort
from measure import provenance

from bids_harmony.methods.registry import REGISTRY

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PARTS = ("cohort", "apply", "volumes", "report")
#: Supervised methods need travelling subjects; N4 takes 17 s of processor for each scan.
_USUAL = tuple(m for m, needs in REGISTRY.items() if not needs.supervised and m != "histogram-n4")
_QUICK = {"seeds": [0], "people": 10, "methods": ["none", "histogram-tissue", "ihf"]}
_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "antspyx")


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--methods", nargs="+", choices=(*_USUAL, "histogram-n4"))
    parser.add_argument("--label", help="name of the rows; for a single method")
    parser.add_argument("--modalities", nargs="+", default=["T1w", "T2w", "FLAIR"])
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--people", type=int, help="tested, each at all sites")
    parser.add_argument("--volume-people", type=int, default=12, help="segmented, of each seed")
    parser.add_argument(
        "--only-missing", action="store_true", help="keep what other states of the program made"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "biology")
    parser.add_argument("--result", type=Path)
    options = parser.parse_args()
    usual = {"seeds": [0, 1, 2], "people": 24, "methods": list(_USUAL)}
    for name, value in (_QUICK if options.quick else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.label and len(options.methods) > 1:
        parser.error("--label is for a single method")
    name = "biology_quick" if options.quick else "biology"
    options.result = options.result or RESULTS / f"{name}.json"
    folders = {s: options.folder / f"seed-{s}-{options.people}-people" for s in options.seeds}
    for part in ("cohort", "apply", "volumes"):
        for seed, folder in folders.items():
            if part in options.parts:
                _PARTS[part](options, seed, folder)
    if "report" in options.parts:
        _report(options, folders)


def _cohort(options: argparse.Namespace, seed: int, folder: Path) -> None:
    # Builds to compare with have no such people.
    from biology_cohort import Draw, write_cohort

    write_cohort(Draw(seed, options.people), folder, options.folder / "people")


def _apply(options: argparse.Namespace, seed: int, folder: Path) -> None:
    models = fitted(folder, options.methods, options.workers)
    for modality in options.modalities:
        rows: list[tuple[str, tuple[str, Path] | None]] = [(TRUTH, None), (CEILING, None)]
        rows += [(options.label or method, models[method]) for method in options.methods]
        for label, model in rows:
            cohort = read_cohort(folder)
            key = f"{cohort['key']} {model[0]} {program_key()}" if model else cohort["key"]
            parts = [
                Part(folder, label, model, modality, p["person"], key, options.only_missing)
                for p in cohort["people"]
            ]
            apply_parts(parts, options.workers)


def _volumes(options: argparse.Namespace, seed: int, folder: Path) -> None:
    from biology_volumes import segment_parts

    labels = [TRUTH, CEILING, *([options.label] if options.label else options.methods)]
    names = [p["person"] for p in read_cohort(folder)["people"]][: options.volume_people]
    for label in labels:
        segment_parts(folder, label, names, options.workers)


def _report(options: argparse.Namespace, folders: dict[int, Path]) -> None:
    from biology_report import write_report
    from biology_tables import tables

    earlier = json.loads(options.result.read_text()) if options.result.is_file() else {}
    record: dict[str, Any] = {
        "name": options.result.stem,
        # What somebody wrote there by hand.
        "note": earlier.get("note", ""),
        "command": "python benchmarks/biology.py" + (" --quick" if options.quick else ""),
        "seeds": list(folders),
        **provenance(_PACKAGES),
        **tables({s: f for s, f in folders.items() if (f / "cohort.json").is_file()}),
    }
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    write_report(record, options.result)


_PARTS = {"cohort": _cohort, "apply": _apply, "volumes": _volumes}


if __name__ == "__main__":
    main()
