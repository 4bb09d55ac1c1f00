"""Other programs beside this one, on the same scan and machine, in one run.

    python benchmarks/peers.py --peers PYTHON [--repeats 5] [--only structural diffusion ...]

``PYTHON`` is an interpreter with the peers installed, apart from bids_harmony so that neither
dictates the other's versions:

    python -m venv PEERS
    PEERS/bin/pip install intensity-normalization neuroCombat dmri-harmonization antspyx

Every row is a process of its own, from start to the written result, as a user would run it; the
median of the repeats counts. Peers are given a brain mask, which bids_harmony makes itself: its
row holds mask, registration, network, quality, figures and page, too. Diffusion is a simulated
series of 4 mm: bids_harmony makes its profiles of two and harmonizes one; dmri-harmonization
learns its dictionary from two and makes both anew, for which it has ``--limit`` minutes. Each part
is kept when it is measured; rows say their commit. Results go to ``benchmarks/results/peers.json``
and a Markdown table beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measure import made_by, measured_command, measured_process, provenance
from participant import DATA, TARGET, make_dataset
from peer_job import MAPS_PER_SITE

RESULT = Path(__file__).resolve().parent / "results" / "peers.json"
JOB = Path(__file__).resolve().with_name("peer_job.py")
SCANS = tuple(DATA / f"{s}/anat/{s}_T1w.nii.gz" for s in ("sub-philips01", "sub-uih01"))
SITES = ("COI", "GE")
THREADS = 2
OWN = "bids_harmony"
PEERS = {
    "fcm": "intensity-normalization, FCM",
    "whitestripe": "intensity-normalization, WhiteStripe",
    "nyul": "intensity-normalization, Nyul of two scans",
    "ants-histogram": "ANTs, histogram matching",
    "ants-n4": "ANTs, N4 only",
    "combat": f"neuroCombat, {2 * MAPS_PER_SITE} maps of two sites",
}
DICTIONARY = "dmri-harmonization, two series"
PACKAGES = ("intensity-normalization", "antspyx", "neuroCombat", "dmri-harmonization", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, required=True, help="interpreter with the peers")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--limit", type=float, default=20, help="minutes for the dictionary")
    options = parser.parse_args()
    for part in options.only:
        before = os.getloadavg()
        with tempfile.TemporaryDirectory() as name:
            store(part, PARTS[part](Path(name), options), options, before)
    print(RESULT.with_suffix(".md").read_text())


def store(
    part: str,
    rows: list[dict[str, Any]],
    options: argparse.Namespace,
    before: tuple[float, float, float],
) -> None:
    """Put a part's rows among those of the others."""
    earlier = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    own = provenance(("torch", "numpy", "antspyx", "nipype"))
    rows = [{"part": part, "commit": own["commit"]} | row for row in rows]
    rows += [row for row in earlier if row["part"] != part]
    result = {
        "name": "peers",
        "command": "python benchmarks/peers.py --peers PYTHON",
        **own,
        "peers": versions(options.peers),
        "load_average": {"before": before, "after": os.getloadavg()},
        "threads": THREADS,
        "seeds": [0],
        "rows": sorted(rows, key=lambda row: list(PARTS).index(row["part"])),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    RESULT.with_suffix(".md").write_text(table(result))


def structural(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One T1w of 1 mm, and maps of a cohort inside its brain."""
    for path in SCANS:
        if not path.is_file():
            raise SystemExit(f"There is no scan {path}")
    make_dataset(folder / "bids", *SCANS)
    out = ["--voxel-mm", "1", "--nprocs", str(THREADS), "--omp-nthreads", str(THREADS)]
    out += ["--device", "cpu", "-w", str(folder / "work")]
    measured_command(
        str(folder / "bids"), str(folder / "trained"), "train", *out,
        "--twin-steps", "0", "--adapt-steps", "0", "--no-start", log=folder / "train.log",
    )  # fmt: skip
    for name, path, label in zip(("scan", "target"), SCANS, ("01", "02"), strict=True):
        (folder / f"{name}.nii.gz").write_bytes(path.read_bytes())
        mask = f"sub-{label}/anat/sub-{label}_desc-brain_mask.nii.gz"
        where = {"scan": "mask", "target": "target_mask"}[name]
        (folder / f"{where}.nii.gz").write_bytes((folder / "trained" / mask).read_bytes())
    rows = [peer(name, folder, options.repeats, options) for name in PEERS]
    known = ["--model", str(folder / "trained" / "models")]
    for method, profiles in (("ihf", known), ("histogram", [])):
        words = [str(folder / "bids"), str(folder / "out"), "participant", *out, *profiles]
        words += ["--participant-label", "01", "--target-site", TARGET, "--method", method]
        title = f"{OWN}, T1w, --method {method}" + ("" if profiles else ", its profiles included")
        rows.append(own(title, words, folder, options.repeats))
    return rows


def diffusion(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A simulated series of another site; the profiles are made, too."""
    write_series_of_sites(folder)
    words = [str(folder / "bids"), str(folder / "out"), "participant", "--device", "cpu"]
    words += ["--participant-label", f"{SITES[1]}01", "--target-site", SITES[0]]
    words += ["--bank-scans", "1", "-w", str(folder / "work"), "--nprocs", str(THREADS)]
    return [own(f"{OWN}, diffusion series", words, folder, options.repeats)]


def dictionary(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The same two series, once."""
    write_series_of_sites(folder)
    for site in SITES:
        stem = folder / "bids" / f"sub-{site}01" / "dwi" / f"sub-{site}01_dwi"
        series = folder / "series" / site
        series.mkdir(parents=True)
        image = nib.load(f"{stem}.nii.gz")
        data = np.asanyarray(image.dataobj)
        nib.save(image, series / "dwi.nii.gz")
        inside = (data[..., 0] > 0.2 * np.percentile(data[..., 0], 99)).astype(np.uint8)
        nib.save(nib.Nifti1Image(inside, image.affine), series / "dwi_brain_mask.nii.gz")
        for kind in ("bval", "bvec"):
            (series / f"dwi.{kind}s").write_bytes(Path(f"{stem}.{kind}").read_bytes())
    return [peer("dictionary", folder, 1, options, limit=60 * options.limit)]


def write_series_of_sites(folder: Path) -> None:
    """A dataset with one series of each site."""
    from bids_harmony.phantom.cohort import CohortPlan
    from lab.diffusion_cohort import write_diffusion_cohort

    plan = CohortPlan(
        sites=SITES, target=SITES[0], training_per_site=1, travelling=0, voxel_scale=4.0
    )
    write_diffusion_cohort(folder, plan)


def peer(
    name: str,
    folder: Path,
    repeats: int,
    options: argparse.Namespace,
    limit: float | None = None,
) -> dict[str, Any]:
    """Median of another program."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"OMP_NUM_THREADS": str(THREADS)}
    environment |= {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(THREADS)}
    words = [str(options.peers.absolute()), str(JOB), name, str(folder)]
    log = folder / f"{name}.log"
    runs = [measured_process(words, environment, log=log, limit=limit) for _ in range(repeats)]
    return median(PEERS.get(name, DICTIONARY), runs)


def own(title: str, words: list[str], folder: Path, repeats: int) -> dict[str, Any]:
    """Median of whole runs of the level participant, each with an output folder of its own."""
    runs = []
    for number in range(repeats):
        words[1] = str(folder / f"out-{len(os.listdir(folder))}-{number}")
        runs.append(measured_command(*words, log=folder / "own.log"))
    return median(title, runs)


def median(title: str, runs: list[dict[str, float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"program": title, "repeats": len(runs)}
    row |= {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}
    row |= {f"seconds_{f.__name__}": f(run["seconds"] for run in runs) for f in (min, max)}
    print(f"{title:45s} {row['seconds']:8.1f} s {row['cpu_seconds']:8.1f} CPU s", flush=True)
    return row


PARTS: dict[str, Callable[[Path, argparse.Namespace], list[dict[str, Any]]]] = {
    "structural": structural,
    "diffusion": diffusion,
    "dictionary": dictionary,
}


def versions(python: Path) -> dict[str, str]:
    """Versions of the peers' packages."""
    code = "import sys, json; from importlib.metadata import version as v; "
    code += "print(json.dumps({p: v(p) for p in sys.argv[1:]}))"
    words = [str(python), "-c", code, *PACKAGES]
    return json.loads(subprocess.check_output(words, text=True))


def table(result: dict[str, Any]) -> str:
    """Markdown: each program, and how many times our whole run's time it takes."""
    ours = {
        row["part"]: row["seconds"]
        for row in result["rows"]
        if row["program"] in (f"{OWN}, T1w, --method ihf", f"{OWN}, diffusion series")
    }
    if "diffusion" in ours:
        ours["dictionary"] = ours["diffusion"]
    lines = [
        "# peers",
        "",
        f"{made_by(result)} Versions: "
        + ", ".join(f"{name} {number}" for name, number in result["peers"].items())
        + ".",
        "",
        "| program | wall s (min to max) | CPU s | peak MiB | wall / ours |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        stopped = "stopped after " if row.get("stopped") else ""
        ratio = f"{row['seconds'] / ours[row['part']]:.2f}" if row["part"] in ours else ""
        lines.append(
            f"| {row['program']} | {stopped}{row['seconds']:.1f} ({row['seconds_min']:.1f} to "
            f"{row['seconds_max']:.1f}) | {row['cpu_seconds']:.1f} | {row['tree_peak_mib']} "
            f"| {stopped and '> '}{ratio} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
