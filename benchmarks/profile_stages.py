"""Where the time of the level participant goes, beside the least that each stage could take.

    python benchmarks/profile_stages.py [--cases NAME ...] [--label TEXT]

Cases are t1w-1mm, t1w-0.8mm, t2w, dwi, network and whole. Each runs in a process of its own, with
two threads: stage by stage, with wall and processor
seconds, peak memory, the bytes that the stage must read and write, its convolution FLOP where it
has a network, and from them its floor. The floor's rates are measured in the same process: the
convolutions of the network one by one in the best of two memory formats, a matrix product, a copy
of memory and gzip. A floor is what the arithmetic or the memory alone would take, no more than
that.

The case ``network`` is the network alone beside its convolutions alone, in turn, five times:
medians of both, for one of them lasts long enough to be struck by whatever else the machine does.
The case ``whole`` times the command line: a first job, which also makes the profiles of both
sites, one with profiles that are known, and what a second scan adds in one job. The 0.8 mm scan is
the 1 mm one on a finer grid; the diffusion series is simulated (`diffusion_speed.py`, 103
volumes).

The name is not ``profile``: that is a module of Python. Results are added under ``--label`` to
``benchmarks/results/profile.json``, where cases that were not run again stay, with a Markdown
table beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import made_by, measured_command, provenance
from participant import (
    DATA,
    PACKAGES,
    SOURCE,
    TARGET,
    THREADS,
    make_dataset,
    measure_stages,
)
from rates import measured_rates, network_beside_convolutions, slice_gflop

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "profile.json"
T1W = DATA / "sub-philips01" / "anat" / "sub-philips01_T1w.nii.gz"
OTHERS = tuple(DATA / f"sub-{s}" / "anat" / f"sub-{s}_T1w.nii.gz" for s in ("uih01", "philips02"))
T2W = DATA / "sub-philips04" / "anat" / "sub-philips04_T2w.nii.gz"
CASES = ("t1w-1mm", "t1w-0.8mm", "t2w", "dwi", "network", "whole")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", choices=CASES, default=CASES)
    parser.add_argument("--label", default="now", help="name of these results in the JSON")
    parser.add_argument("--one", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_case(options.one)))
        return
    before, rows = os.getloadavg(), []
    for case in options.cases:
        print(f"{case} ...", file=sys.stderr, flush=True)
        rows += _whole() if case == "whole" else _in_own_process(case)
    stored = json.loads(RESULT.read_text()) if RESULT.exists() else {"name": "profile"}
    kept = stored.get(options.label, {}).get("rows", [])
    rows += [row for row in kept if row["case"] not in options.cases]
    rows.sort(key=lambda row: CASES.index(row["case"]))
    result = {
        "command": "python benchmarks/profile_stages.py",
        **provenance(PACKAGES),
        "load_average": {"before": before, "after": os.getloadavg()},
        "seeds": [0],
        "rows": rows,
    }
    stored[options.label] = result
    RESULT.write_text(json.dumps(stored, indent=1) + "\n")
    RESULT.with_suffix(".md").write_text(_table(options.label, result))
    print(RESULT.with_suffix(".md").read_text())


def _in_own_process(case: str) -> list[dict[str, Any]]:
    """Rows of one case; what the stages print goes to this process's error stream."""
    command = [sys.executable, __file__, "--one", case]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=environment
    )  # fmt: skip
    *told, rows = done.stdout.strip().splitlines()
    print("\n".join(told), file=sys.stderr)
    return json.loads(rows)


def _case(case: str) -> list[dict[str, Any]]:
    if case == "network":
        return [{"case": case, **row} for row in network_beside_convolutions()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if case == "dwi":
            rows = _series_stages(folder)
        else:
            rows = measure_stages(
                _scan(case, folder), ROOT / "bids_harmony" / "data" / "model", folder,
                modality="T2w" if case == "t2w" else "T1w", profiles=_two_profiles,
            )  # fmt: skip
    rates = measured_rates(T1W)
    for row in rows:
        _add_floor(row, rates)
    rows.append({"stage": "rates of the machine", "variant": "rates", **rates})
    return [{"case": case, **row} for row in rows]


def _scan(case: str, folder: Path) -> Path:
    if case != "t1w-0.8mm":
        return T2W if case == "t2w" else T1W
    import nibabel as nib
    import numpy as np
    from nibabel.processing import resample_to_output

    fine = resample_to_output(nib.load(T1W), (0.8,) * 3, order=1)
    data = np.rint(np.asarray(fine.dataobj)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, fine.affine), folder / "fine_T1w.nii.gz")
    return folder / "fine_T1w.nii.gz"


def _two_profiles(model: Any, prepared: Any) -> tuple[Any, Any]:
    """Profiles of the scan itself and of a darker copy of it."""
    from bids_harmony.sites.image_profile import build_profile

    def profile(site: str, data: Any) -> Any:
        return build_profile(
            site, "T1w", [(site, data, prepared.mask, prepared.scale)], model.encoder,
            cells=model.network.config.aan.grid, voxel_mm=model.voxel_mm,
        )  # fmt: skip

    return profile(SOURCE, prepared.data), profile(TARGET, prepared.data**1.2)


def _series_stages(folder: Path) -> list[dict[str, Any]]:
    """Stages of one diffusion series, and the network on each of its volumes for comparison."""
    result = folder / "dwi.json"
    script = ROOT / "benchmarks" / "diffusion_speed.py"
    subprocess.run(
        [sys.executable, str(script), "--result", str(result), "--threads", str(THREADS)],
        check=True, stdout=sys.stderr,
    )  # fmt: skip
    record = json.loads(result.read_text())
    from bids_harmony.diffusion.features import DWI_VOXEL_MM
    from bids_harmony.imaging.reference import reference_grid, reference_mask

    grid = reference_grid(DWI_VOXEL_MM)
    slices = int(reference_mask(grid).any(axis=(0, 1)).sum())
    rows: list[dict[str, Any]] = record["stages"]
    stored = 1
    for edge in record["shape"]:
        stored *= edge
    for row in rows:
        row["bytes"] = (2 * 2 if row["stage"].startswith("harmonize") else 2) * stored
        if row["stage"].startswith("harmonize"):
            row["every_volume_gflop"] = round(
                record["shape"][3] * slices * slice_gflop(grid.shape[:2]), 1
            )
    return rows


def _add_floor(row: dict[str, Any], rates: dict[str, float]) -> None:
    """The longest of what arithmetic, memory and gzip would take alone, seconds."""
    stage, floors = row["stage"], []
    if "bytes" in row:
        floors.append(row["bytes"] * 1e-9 / rates["memory_gb_s"])
        if stage.startswith("read"):
            floors.append(row["bytes"] * 1e-6 / 2 / rates["gunzip_mb_s"])
        if stage.startswith("write"):
            floors.append(row["bytes"] * 1e-6 / rates["gzip_mb_s"])
    if stage == "network":
        shape = tuple(int(n) for n in row["slice_shape"].split("x"))
        row["gflop"] = round(row["slices"] * slice_gflop(shape), 1)
        floors.append(row["gflop"] / rates["conv_gflop_s"])
    if "every_volume_gflop" in row:
        row["every_volume_floor_s"] = round(row["every_volume_gflop"] / rates["conv_gflop_s"], 2)
    if floors:
        row["floor_s"] = round(max(floors), 3)
        row["ratio"] = round(row["seconds"] / max(max(floors), 1e-3), 2)


def _whole() -> list[dict[str, Any]]:
    """The command line on people of two sites, in processes of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bids, out = folder / "bids", folder / "out"
        make_dataset(bids, T1W, *OTHERS)
        common = ["--target-site", TARGET, "--nprocs", str(THREADS), "--device", "cpu"]
        common += ["--omp-nthreads", str(THREADS), "-w", str(folder / "work")]

        def job(what: str, *people: str) -> dict[str, Any]:
            for made in (folder / "work", *out.glob("sub-??")):
                shutil.rmtree(made, ignore_errors=True)
            arguments = [str(bids), str(out), "participant", "--participant-label", *people]
            found = measured_command(*arguments, *common, log=folder / "participant.log")
            rows.append({"case": "whole", "variant": "whole", "stage": what, **found})
            print(rows[-1], file=sys.stderr, flush=True)
            return rows[-1]

        job("first job: profiles of both sites made of 3 scans", "01")
        one = job("job with known profiles, one T1w of 1 mm", "01")
        two = job("job with known profiles, two T1w of 1 mm", "01", "03")
        rows.append(
            {"case": "whole", "variant": "difference", "stage": "second scan of a job"}
            | {k: round(two[k] - one[k], 2) for k in ("seconds", "cpu_seconds")}
            | {"peak_mib": two["peak_mib"], "tree_peak_mib": two["tree_peak_mib"]}
        )
    return rows


def _table(label: str, result: dict[str, Any]) -> str:
    lines = [
        f"# profile: {label}",
        "",
        made_by(result),
        "",
        "| case | stage | wall s | CPU s | peak MiB | MB | GFLOP | floor s | ratio |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    notes = []
    for row in result["rows"]:
        if row.get("variant") == "rates":
            notes.append(
                f"{row['case']}: convolutions of the network {row['conv_gflop_s']:.0f} GFLOP/s, "
                f"matrix product {row['matmul_gflop_s']:.0f} GFLOP/s, memory "
                f"{row['memory_gb_s']:.0f} GB/s, gzip {row['gzip_mb_s']:.0f} MB/s, "
                f"gunzip {row['gunzip_mb_s']:.0f} MB/s."
            )
            continue
        if "of_conv_rate" in row:
            notes.append(
                f"{row['stage']}: {100 * row['of_conv_rate']:.0f} % of its convolutions' rate"
                f" ({row['conv_gflop_s']:.0f} GFLOP/s), medians of {len(row['all_seconds'])};"
                f" these take {row['convolutions_inside_s']:.2f} s within it, "
                f"{row['floor_s']:.2f} s by themselves."
            )
        if "every_volume_floor_s" in row:
            floor, seconds = row["every_volume_floor_s"], row["seconds"]
            notes.append(
                f"dwi: the network on each volume would take {floor:.1f} s at the convolution"
                f" rate; harmonizing took {seconds / floor:.2f} times that."
            )
        megabytes = f"{row['bytes'] / 1e6:.0f}" if "bytes" in row else ""
        cells = (
            row["case"], row["stage"], f"{row['seconds']:.2f}", f"{row['cpu_seconds']:.2f}",
            row["peak_mib"], megabytes, row.get("gflop", ""), row.get("floor_s", ""),
            row.get("ratio", ""),
        )  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, "", *notes, ""])


if __name__ == "__main__":
    main()
