"""Time and memory against slices, volumes, people and workers: they should lie on straight lines.

    python benchmarks/scaling.py [--only slices volumes people workers]

Slices: the default network alone on parts of one stack. Volumes: `harmonize_series` on simulated
series of 140 x 140 x 81 voxels with more and more directions. People: the level participant on
the command line over 1, 2, 4 and 8 simulated people (2 mm grid, one worker, profiles ready).
Workers: the same eight people with one and with two. Results go to
``benchmarks/results/scaling.json``, and from there (``--table-only``) into a Markdown table and a
figure.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import ROOT, Meter, made_by, measured_command, provenance

RESULT = ROOT / "benchmarks" / "results" / "scaling.json"
FIGURE = ROOT / "benchmarks" / "results" / "figures" / "scaling.png"
THREADS = 2
SLICES, SLICE_SIZE = (24, 48, 96, 144, 192), (182, 218)
DIRECTIONS = (12, 24, 48, 96)
PEOPLE = (1, 2, 4, 8)
SITES = ("COI", "SIEMENS")
PACKAGES = ("torch", "numpy", "nipype", "antspyx")

Rows = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--table-only", action="store_true", help="from the stored JSON")
    options = parser.parse_args()
    if not options.table_only:
        measure(options.only)
    record = json.loads(RESULT.read_text())
    text = table(record)
    RESULT.with_suffix(".md").write_text(text)
    draw(record)
    print(text)


def measure(parts: list[str]) -> None:
    """Measure some parts, each kept when it is done; rows of the others stay."""
    before = os.getloadavg()
    for part in parts:
        rows: Rows = []
        if RESULT.exists():
            rows = [r for r in json.loads(RESULT.read_text())["rows"] if r["part"] != part]
        with tempfile.TemporaryDirectory() as name:
            rows += [{"part": part} | row for row in PARTS[part](Path(name))]
        rows.sort(key=lambda row: list(PARTS).index(row["part"]))
        record = {
            "name": "scaling", "command": "python benchmarks/scaling.py",
            **provenance(PACKAGES), "threads": THREADS, "seeds": [0],
            "load_average": {"before": before, "after": os.getloadavg()},
            "rows": rows, "lines": [line(kind, rows) for kind in LINES],
        }  # fmt: skip
        RESULT.write_text(json.dumps(record, indent=1) + "\n")


def slices(_: Path) -> Rows:
    """The network alone, on parts of a stack."""
    import torch
    from participant import network_job

    torch.set_num_threads(THREADS)
    change = network_job(max(SLICES), SLICE_SIZE)
    meter = Meter()
    change(SLICES[0])
    for n in SLICES:
        with meter.stage(f"{n} slices") as row:
            row["x"] = n
            change(n)
    return meter.rows


def volumes(folder: Path) -> Rows:
    """A diffusion series of more and more volumes; profiles are those of the first."""
    import torch
    from diffusion_speed import looks_of, write_large_series

    from bids_harmony.diffusion.series import open_series
    from bids_harmony.methods.series import harmonize_series

    torch.set_num_threads(THREADS)
    meter = Meter()
    for n in DIRECTIONS:
        own = folder / str(n)
        own.mkdir()
        known = write_large_series(own / "dwi.nii.gz", ((1000.0, n // 2), (2000.0, n // 2)))
        harmonizer, looks = looks_of(own, *known)
        series = open_series(own / "dwi.nii.gz")
        with meter.stage(f"{series.shape[3]} volumes") as row:
            row["x"] = series.shape[3]
            harmonize_series(
                series, *known, harmonizer, source=looks["A"], target=looks["B"], mode="rish"
            )
    return meter.rows


def people(folder: Path) -> Rows:
    """The command line over more and more people, one worker."""
    run = _cohort_job(folder)
    return [{"x": n, "stage": f"{n} people"} | run(n, 1) for n in PEOPLE]


def workers(folder: Path) -> Rows:
    """The same people with one worker and with two."""
    run = _cohort_job(folder)
    return [{"x": w, "stage": f"{w} workers"} | run(PEOPLE[-1], w) for w in (1, 2)]


def _cohort_job(folder: Path) -> Callable[[int, int], dict[str, float]]:
    from bids_harmony.phantom.cohort import CohortPlan, write_cohort

    plan = CohortPlan(
        sites=SITES, target=SITES[0], training_per_site=PEOPLE[-1], travelling=0, voxel_scale=1.5
    )
    write_cohort(folder, plan)
    words = ["--device", "cpu", "--voxel-mm", "2", "--omp-nthreads", "1", "--modalities", "T1w"]
    labels = [f"{SITES[1]}{n + 1:02d}" for n in range(PEOPLE[-1])]
    measured_command(
        str(folder / "bids"), str(folder / "trained"), "train", "-w", str(folder / "work"),
        *words, "--participant-label", f"{SITES[0]}01", labels[0], "--nprocs", "1",
        "--twin-steps", "0", "--adapt-steps", "0", "--no-start", log=folder / "train.log",
    )  # fmt: skip

    def run(count: int, nprocs: int) -> dict[str, float]:
        out = folder / f"out-{count}-{nprocs}"
        return measured_command(
            str(folder / "bids"), str(out), "participant", "-w", str(folder / f"w{out.name}"),
            *words, "--participant-label", *labels[:count], "--nprocs", str(nprocs),
            "--target-site", SITES[0], "--model", str(folder / "trained" / "models"),
            log=folder / f"{out.name}.log",
        )  # fmt: skip

    return run


PARTS: dict[str, Callable[[Path], Rows]] = {
    "slices": slices,
    "volumes": volumes,
    "people": people,
    "workers": workers,
}
LINES = ("slices", "volumes", "people")


def line(part: str, rows: Rows) -> dict[str, Any]:
    """Least-squares line of seconds, the largest distance from it, and growth of memory."""
    own = [row for row in rows if row["part"] == part]
    if not own:
        return {"part": part}
    x, y, memory = (np.array([row[k] for row in own], float) for k in ("x", "seconds", "peak_mib"))
    slope, start = np.polyfit(x, y, 1)
    return {
        "part": part,
        "seconds_each": round(slope, 4),
        "seconds_at_zero": round(start, 2),
        "largest_distance": round(float(np.abs(y - start - slope * x).max() / y.max()), 3),
        "mib_each": round(float(np.polyfit(x, memory, 1)[0]), 3),
    }


def table(record: dict[str, Any]) -> str:
    """Markdown of the rows and of the lines through them."""
    lines = [
        "# scaling",
        "",
        made_by(record),
        "",
        "| against | wall s | CPU s | peak MiB |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {r['part']}: {r['x']} | {r['seconds']:.2f} | {r['cpu_seconds']:.2f} "
        f"| {r['peak_mib']} |"
        for r in record["rows"]
    ]
    lines += [
        "",
        "| line through | s each | s at zero | farthest point / longest time | MiB each |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {f['part']} | {f['seconds_each']} | {f['seconds_at_zero']} "
        f"| {100 * f['largest_distance']:.1f} % | {f['mib_each']} |"
        for f in record["lines"]
        if "seconds_each" in f
    ]
    return "\n".join(lines) + "\n"


def draw(record: dict[str, Any]) -> None:
    """Seconds and memory of each part with its line."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(LINES), figsize=(9, 4.5), layout="constrained")
    for column, fit in zip(axes.T, record["lines"], strict=True):
        own = [row for row in record["rows"] if row["part"] == fit["part"]]
        x = [row["x"] for row in own]
        column[0].plot(x, [row["seconds"] for row in own], "o", color="#0b5fa5")
        if own:
            ends = np.array([0, max(x)])
            column[0].plot(ends, fit["seconds_at_zero"] + fit["seconds_each"] * ends, color="0.6")
        column[1].plot(x, [row["peak_mib"] for row in own], "o-", color="#b5541c")
        column[1].set_xlabel(fit["part"])
        for axis in column:
            axis.set_ylim(0, 1.1 * axis.dataLim.y1)
            axis.set_xlim(left=0)
    axes[0, 0].set_ylabel("wall seconds")
    axes[1, 0].set_ylabel("peak memory, MiB")
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
