"""Many scans, one after the other in one process: memory, open files and time of each.

    python benchmarks/soak.py [--scans 200] [--world FOLDER]

One run of the level participant with one process over a dataset of small simulated scans (6 mm),
whose masks and transforms are there already, as a resubmitted job finds them. After every scan the
resident memory, the open file handles and the threads of the process are read. A line fitted to
what comes after the first scans says how much each grows. Results go to
``benchmarks/results/soak.json``, and from there (``--figure-only`` makes it again) into a figure
and a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import ROOT, provenance, put_into_page

sys.path.insert(0, str(ROOT))

from tests.faults.warm import Warm
from tests.faults.world import World

RESULT = ROOT / "benchmarks" / "results" / "soak.json"
FIGURE = ROOT / "benchmarks" / "results" / "figures" / "soak.png"
#: Imports, the model and caches come with the first scans.
WARM_UP = 20
TEMPLATE = "SIEMENS01"
PACKAGES = ("nipype", "nibabel", "numpy", "torch", "matplotlib")
MEASURES = {
    "resident_mib": "resident memory, MiB",
    "open_files": "open file handles",
    "threads": "threads",
    "cpu_seconds": "processor seconds per scan",
    "seconds": "wall seconds per scan",
}


def make_dataset(world: World, folder: Path, n: int) -> None:
    """The scan of one person and its fits under many names."""
    bids, out = folder / "bids", folder / "out"
    bids.mkdir()
    images, trained = world.bids("participant"), world.models.parent
    shutil.copy(images / "dataset_description.json", bids)
    for k in range(n):
        for source, target in ((images, bids), (trained, out)):
            for path in (source / f"sub-{TEMPLATE}" / "anat").iterdir():
                if "harmonized" in path.name or "_T2w" in path.name:
                    continue
                name = path.name.replace(TEMPLATE, f"{k:03d}")
                copy = target / f"sub-{k:03d}" / "anat" / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)


def run(world: World, folder: Path, n: int) -> list[dict[str, Any]]:
    """Harmonize all; gives one row for each scan."""
    import psutil
    from nipype.pipeline.engine.nodes import Node

    from bids_harmony.cli.main import main

    rows: list[dict[str, Any]] = []
    process, real = psutil.Process(), Node.run
    last, last_cpu = time.perf_counter(), time.process_time()

    def watched(node: Any, *words: Any, **more: Any) -> Any:
        nonlocal last, last_cpu
        result = real(node, *words, **more)
        if node.name == "write_harmonized":
            now, now_cpu = time.perf_counter(), time.process_time()
            rows.append(
                {
                    "scan": len(rows) + 1,
                    "resident_mib": round(process.memory_info().rss / 2**20, 2),
                    "open_files": process.num_fds(),
                    "threads": process.num_threads(),
                    "cpu_seconds": round(now_cpu - last_cpu, 3),
                    "seconds": round(now - last, 3),
                }
            )
            last, last_cpu = now, now_cpu
            if len(rows) % 10 == 0:
                print(rows[-1], flush=True)
        return result

    Node.run = watched
    code = main(
        [
            str(folder / "bids"), str(folder / "out"), "participant", "-w", str(folder / "work"),
            "--target-site", "COI", "--model", str(world.models),
            "--sloppy", "--device", "cpu", "--nprocs", "1", "--omp-nthreads", "1",
        ]
    )  # fmt: skip
    Node.run = real
    if code or len(rows) != n:
        raise SystemExit(f"the run ended with {code} after {len(rows)} of {n} scans")
    return rows


def slopes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each measure its first and last level and its growth over a hundred scans.

    The line is Theil's and Sen's, which a busy neighbour on the machine does not turn.
    """
    from scipy.stats import theilslopes

    later = rows[WARM_UP:]
    numbers = [row["scan"] for row in later]
    found = []
    for name in MEASURES:
        values = [row[name] for row in later]
        slope, _, low, high = theilslopes(values, numbers)
        found.append(
            {
                "measure": name,
                "first": float(np.median(values[:20])),
                "last": float(np.median(values[-20:])),
                "per_100_scans": round(100 * slope, 3),
                "per_100_scans_min": round(100 * low, 3),
                "per_100_scans_max": round(100 * high, 3),
            }
        )
    return found


def table(record: dict[str, Any]) -> str:
    lines = [
        f"| measure | scans {WARM_UP + 1} to {WARM_UP + 20} | last 20 scans "
        "| growth over 100 scans (95 %) |",
        "|---|---:|---:|---:|",
    ]
    for row in record["slopes"]:
        between = f"{row['per_100_scans_min']:g} to {row['per_100_scans_max']:g}"
        lines.append(
            f"| {MEASURES[row['measure']]} | {row['first']:.4g} | {row['last']:.4g} "
            f"| {row['per_100_scans']:g} ({between}) |"
        )
    return "\n".join(lines) + "\n"


def draw(record: dict[str, Any]) -> None:
    """One panel for each measure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.5), layout="constrained")
    rows = record["rows"]
    scans = [row["scan"] for row in rows]
    panels = figure.subplots(2, 3, sharex=True).flat
    for axes, (name, label) in zip(panels, MEASURES.items(), strict=False):
        axes.plot(scans, [row[name] for row in rows], ".", markersize=3)
        axes.set_ylim(0, 1.15 * max(row[name] for row in rows[WARM_UP:]))
        axes.set(ylabel=label, xlabel="scan")
    FIGURE.parent.mkdir(exist_ok=True)
    panels[-1].remove()
    figure.savefig(FIGURE, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--world", type=Path, help="folder of cohort and model, kept")
    parser.add_argument("--figure-only", action="store_true")
    options = parser.parse_args()
    if not options.figure_only:
        soak(options)
    record = json.loads(RESULT.read_text())
    text = table(record)
    RESULT.with_suffix(".md").write_text(text)
    put_into_page("soak", text)
    draw(record)


def soak(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        warm = Warm()
        world = World.make(options.world or Path(temporary, "world"), warm)
        warm.close()
        make_dataset(world, Path(temporary), options.scans)
        rows = run(world, Path(temporary), options.scans)
    record = {
        "name": "soak", "command": f"python benchmarks/soak.py --scans {options.scans}",
        **provenance(PACKAGES),
        "seeds": [0], "slopes": slopes(rows), "rows": rows,
    }  # fmt: skip
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
