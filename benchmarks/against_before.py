"""This build beside an earlier one: the same jobs in turn, in one run on one machine.

    python benchmarks/against_before.py --before PYTHON [--repeats N] [--cases NAME ...]

PYTHON is the interpreter of an environment with the earlier build. Cases: ``help`` and ``dry-run``
(one person of a thousand); ``start``, from the command to the first step of a scan; ``first``, one
T1w of 1 mm with profiles that are known; ``second``, what a second scan adds to that job;
``unknown-sites``, a first job that makes the profiles of two sites of three scans; and
``eight-people``, simulated T1w on a grid of 2 mm, two workers, profiles known.

Builds take turns, so that whatever else the machine does falls on both. Each row has medians of
wall seconds, of processor seconds of all processes (exact: they are waited for), and of the
largest sum of memory over all processes. On a machine with other work the processor's seconds say
more than the clock's; the load is part of the result. The images of both builds are compared voxel
by voxel.
Results go to ``benchmarks/results/against_before.json``, with a Markdown table beside it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measure import ROOT, made_by, measured_process, provenance
from participant import DATA, PACKAGES, TARGET, make_dataset

RESULT = ROOT / "benchmarks" / "results" / "against_before.json"
SCANS = [DATA / f"sub-{s}/anat/sub-{s}_T1w.nii.gz" for s in ("philips01", "uih01", "philips02")]
CASES = ("help", "dry-run", "start", "first", "second", "unknown-sites", "eight-people")
#: What the issue that asked for speed wants of time and of memory, as shares of the earlier build.
AIMS = {"first": 0.5, "second": 0.5, "unknown-sites": 0.5, "eight-people": 0.55}
AIM_MEMORY = 0.7
PEOPLE, IN_ALL = 8, 1000
_SUBREAPER = 36  # prctl

Found = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="interpreter with the earlier build")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=CASES)
    parser.add_argument("--table-only", action="store_true", help="table from the stored JSON")
    options = parser.parse_args()
    if not options.table_only:
        if options.before is None:
            parser.error("--before is needed")
        # Whoever is left by its parent becomes ours, and its seconds are counted.
        ctypes.CDLL(None).prctl(_SUBREAPER, 1)
        measure(options)
    result = json.loads(RESULT.read_text())
    RESULT.with_suffix(".md").write_text(table(result))
    print(table(result))


def measure(options: argparse.Namespace) -> None:
    """Run what is asked for and keep it; rows of other cases stay."""
    load = os.getloadavg()
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    rows = {row["case"]: row for row in kept.get("rows", [])}
    voxels = kept.get("voxels", {})
    with tempfile.TemporaryDirectory() as name:
        # absolute, not resolved: a virtual environment's interpreter is a link
        pythons = {"before": str(options.before.absolute()), "now": sys.executable}
        bench = Bench(Path(name), pythons, options.repeats)
        for case in options.cases:
            if case in ("start", "second"):
                continue  # with ``first``
            for made in PARTS[case](bench):
                rows[made["case"]] = made
                print(made, flush=True)
            if case == "first":
                voxels = bench.compare_images()
            # Each case is kept when it is done.
            result = {
                "name": "against_before",
                "command": "python benchmarks/against_before.py --before PYTHON",
                **provenance(PACKAGES),
                "before": bench.version("before"),
                "load_average": {"before": load, "after": os.getloadavg()},
                "repeats": options.repeats,
                "seeds": [0],
                "voxels": voxels,
                "rows": [rows[case] for case in CASES if case in rows],
            }
            RESULT.write_text(json.dumps(result, indent=1) + "\n")


class Bench:
    """Jobs of two builds, each with an output and a work folder of its own."""

    def __init__(self, folder: Path, pythons: dict[str, str], repeats: int) -> None:
        self.folder, self.pythons, self.repeats = folder, pythons, repeats

    def version(self, side: str) -> str:
        """What a build calls itself."""
        code = "import bids_harmony; print(bids_harmony.__version__)"
        words = [self.pythons[side], "-c", code]
        return subprocess.check_output(words, text=True, cwd=self.folder).strip()

    def call(self, side: str, *arguments: str) -> Found:
        """Run a build's command line and measure it."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "PYTHON"))}
        words = [self.pythons[side], "-m", "bids_harmony", *arguments]
        load = os.getloadavg()[0]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = measured_process(words, environment, log=self.folder / "log")
        while True:
            try:
                os.wait()
            except ChildProcessError:
                break
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(side, arguments[-1], found, round(spent, 1), file=sys.stderr, flush=True)
        return found | {"cpu_seconds": round(spent, 2), "load": round(load, 1)}

    def job(self, side: str, bids: Path, out: Path, *arguments: str) -> Found:
        """A job of the level participant that finds an output folder with profiles at most."""
        work = self.folder / f"work-{side}"
        for made in (work, *out.glob("sub-*")):
            shutil.rmtree(made) if made.is_dir() else made.unlink(missing_ok=True)
        seen: list[float] = []
        start, end = time.perf_counter(), threading.Event()

        def watch() -> None:
            while not end.wait(0.02):
                if any(work.glob("*/sub_*/fit_wf/mask_brain")):
                    seen.append(time.perf_counter() - start)
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            found = self.call(
                side, str(bids), str(out), "participant", "-w", str(work), "--device", "cpu",
                *arguments,
            )  # fmt: skip
        finally:
            end.set()
            watcher.join()
        return found | ({"start": round(seen[0], 2)} if seen else {})

    def in_turn(self, run: Callable[[str], Found]) -> dict[str, list[Found]]:
        """Both builds, one after the other, so many times."""
        found: dict[str, list[Found]] = {side: [] for side in self.pythons}
        for number in range(self.repeats):
            sides = list(self.pythons)
            for side in sides if number % 2 == 0 else sides[::-1]:
                found[side].append(run(side))
        return found

    def real(self) -> Path:
        """A dataset of three real T1w of 1 mm, of two sites."""
        bids = self.folder / "bids"
        if not bids.exists():
            make_dataset(bids, *SCANS)
        return bids

    def out(self, side: str, kind: str = "out") -> Path:
        """Where a build writes."""
        return self.folder / f"{kind}-{side}"

    def compare_images(self) -> dict[str, Any]:
        """Harmonized images of both builds, in the steps of their files."""
        name = f"sub-01/anat/sub-01_desc-harmonized{TARGET}_T1w.nii.gz"
        images: list[Any] = [nib.load(self.out(side) / name) for side in self.pythons]
        first, second = (np.asarray(i.dataobj.get_unscaled(), np.int64) for i in images)
        apart = np.abs(first - second)
        return {
            "voxels": int(apart.size),
            "different": int(np.count_nonzero(apart)),
            "largest_steps": int(apart.max()),
        }


def help_(bench: Bench) -> list[dict[str, Any]]:
    """``--help``."""
    made = bench.in_turn(lambda side: bench.call(side, "--help"))
    return [row("help", made, keys={"seconds": "seconds", "cpu_seconds": "cpu_seconds"})]


def dry_run(bench: Bench) -> list[dict[str, Any]]:
    """The plan of one person of a thousand."""
    root = bench.folder / "thousand"
    make_dataset(root, *SCANS)
    for number in range(4, IN_ALL + 1):
        stem = root / f"sub-{number:04d}" / "anat" / f"sub-{number:04d}_T1w"
        stem.parent.mkdir(parents=True)
        Path(f"{stem}.nii.gz").symlink_to(SCANS[0])
        Path(f"{stem}.json").write_text(json.dumps({"InstitutionName": f"S{number % 2}"}))
    words = ("--participant-label", "0004", "--target-site", "S1", "--dry-run")
    made = bench.in_turn(
        lambda side: bench.call(side, str(root), str(bench.out(side)), "participant", *words)
    )
    return [row("dry-run", made)]


_TWO = ("--nprocs", "2", "--omp-nthreads", "2", "--target-site", TARGET)


def unknown_sites(bench: Bench) -> list[dict[str, Any]]:
    """A first job, which finds no profiles."""

    def run(side: str) -> Found:
        out = bench.out(side)
        shutil.rmtree(out, ignore_errors=True)
        return bench.job(side, bench.real(), out, *_TWO, "--participant-label", "01")

    return [row("unknown-sites", bench.in_turn(run))]


def first_and_second(bench: Bench) -> list[dict[str, Any]]:
    """Jobs with one scan and with two, in turn."""
    for side in bench.pythons:
        if not (bench.out(side) / "models" / "banks").exists():
            bench.job(side, bench.real(), bench.out(side), *_TWO, "--participant-label", "01")

    def run(side: str, *people: str) -> Found:
        words = (*_TWO, "--participant-label", *people)
        return bench.job(side, bench.real(), bench.out(side), *words)

    two = bench.in_turn(lambda side: run(side, "01", "03"))
    one = bench.in_turn(lambda side: run(side, "01"))
    first = row("first", one)
    start = {side: [{**f, "seconds": f["start"]} for f in one[side]] for side in one}
    rows = [row("start", start, keys={"seconds": "seconds"}), first]
    both = row("both", two)
    second: dict[str, Any] = {"case": "second"}
    for key in ("seconds", "cpu_seconds"):
        for what in (key, f"{key}_before"):
            second[what] = round(both[what] - first[what], 2)
    second |= {key: both[key] for key in ("mib_before", "mib", "load")}
    second |= {"all_of_both_scans": both["all"]}
    return [*rows, with_ratios(second)]


def eight_people(bench: Bench) -> list[dict[str, Any]]:
    """Eight people of one site, two workers of one thread."""
    from bids_harmony.phantom.cohort import CohortPlan, write_cohort

    folder, sites = bench.folder / "cohort", ("COI", "SIEMENS")
    plan = CohortPlan(
        sites=sites, target=sites[0], training_per_site=PEOPLE, travelling=0, voxel_scale=1.5
    )
    write_cohort(folder, plan)
    words = ("--voxel-mm", "2", "--modalities", "T1w", "--target-site", sites[0])
    words += ("--nprocs", "2", "--omp-nthreads", "1", "--bank-scans", "2", "--participant-label")
    people = [f"{sites[1]}{n + 1:02d}" for n in range(PEOPLE)]
    bids = folder / "bids"
    for side in bench.pythons:
        bench.job(side, bids, bench.out(side, "eight"), *words, people[0])
    made = bench.in_turn(
        lambda side: bench.job(side, bids, bench.out(side, "eight"), *words, *people)
    )
    return [row("eight-people", made)]


PARTS: dict[str, Callable[[Bench], list[dict[str, Any]]]] = {
    "help": help_,
    "dry-run": dry_run,
    "unknown-sites": unknown_sites,
    "first": first_and_second,
    "eight-people": eight_people,
}


_KEYS = {"seconds": "seconds", "cpu_seconds": "cpu_seconds", "tree_peak_mib": "mib"}


def row(
    case: str, found: dict[str, list[Found]], *, keys: Mapping[str, str] = _KEYS
) -> dict[str, Any]:
    """Medians of both builds; `keys` are of what was measured, and what a row calls it."""
    made: dict[str, Any] = {"case": case, "all": found}
    for key, name in keys.items():
        for side, ending in (("before", "_before"), ("now", "")):
            middle = statistics.median(f[key] for f in found[side])
            made[name + ending] = round(middle, 2)
    loads = [f["load"] for one in found.values() for f in one]
    return with_ratios(made | {"load": [min(loads), max(loads)]})


def with_ratios(made: dict[str, Any]) -> dict[str, Any]:
    """Add this build's shares of the earlier one's."""
    for name, key in (
        ("ratio", "seconds"),
        ("ratio_cpu", "cpu_seconds"),
        ("ratio_memory", "mib"),
    ):
        if key in made:
            made[name] = round(made[key] / made[f"{key}_before"], 3)
    if made["case"] in AIMS:
        made |= {"aim": AIMS[made["case"]], "aim_memory": AIM_MEMORY}
    return made


def table(result: dict[str, Any]) -> str:
    """Markdown of the rows."""
    lines = [
        f"# {result['name']}",
        "",
        f"{made_by(result)} Before: {result['before']}. Medians of {result['repeats']}, in turn.",
        "",
        "| case | wall s before | now | ratio | CPU s before | now | ratio | MiB before | now "
        "| ratio | load |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for made in result["rows"]:
        cells = [made["case"]]
        for key, share in (
            ("seconds", "ratio"), ("cpu_seconds", "ratio_cpu"), ("mib", "ratio_memory")
        ):  # fmt: skip
            cells += [str(made.get(name, "")) for name in (f"{key}_before", key, share)]
        lines.append(f"| {' | '.join(cells)} | {'-'.join(map(str, made['load']))} |")
    if voxels := result["voxels"]:
        lines += [
            "",
            f"Harmonized image of `first`: {voxels['different']} of {voxels['voxels']} voxels "
            f"differ, by {voxels['largest_steps']} of the file's steps at most.",
        ]
    aims = ", ".join(f"{case} {aim}" for case, aim in AIMS.items())
    lines += ["", f"Aims, as shares of wall time: {aims}; memory {AIM_MEMORY}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
