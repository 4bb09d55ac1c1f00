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
The case ``whole`` times the command line: a first job, which also makes the banks of both sites,
one with banks that are known, and what a second scan adds in one job. The 0.8 mm scan is the 1 mm
one on a finer grid; the diffusion series is simulated (`diffusion_speed.py`, 103 volumes).

The name is not ``profile``: that is a module of Python. Results are added under ``--label`` to
``benchmarks/results/profile.json``, where cases that were not run again stay, with a Markdown
table beside it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
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
    network_job,
)

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "profile.json"
T1W = DATA / "sub-philips01" / "anat" / "sub-philips01_T1w.nii.gz"
OTHERS = tuple(DATA / f"sub-{s}" / "anat" / f"sub-{s}_T1w.nii.gz" for s in ("uih01", "philips02"))
T2W = DATA / "sub-philips04" / "anat" / "sub-philips04_T2w.nii.gz"
CASES = ("t1w-1mm", "t1w-0.8mm", "t2w", "dwi", "network", "whole")
REPEATS = 9
NETWORK_REPEATS = 5


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
                modality="T2w" if case == "t2w" else "T1w", banks=_two_looks,
            )  # fmt: skip
    rates = measured_rates()
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


def _two_looks(model: Any, prepared: Any) -> tuple[Any, Any]:
    """Banks of the scan itself and of a darker look of it."""
    from bids_harmony.training.site_bank import build_bank

    def bank(site: str, data: Any) -> Any:
        return build_bank(
            site, "T1w", [(site, data, prepared.mask, prepared.scale)], model.encoder,
            cells=model.network.config.aan.grid, voxel_mm=model.voxel_mm,
        )  # fmt: skip

    return bank(SOURCE, prepared.data), bank(TARGET, prepared.data**1.2)


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


def slice_gflop(shape: tuple[int, ...]) -> float:
    """Arithmetic of the shipped network's convolutions on one slice, in 10^9 operations."""
    return sum(2e-9 * 9 * i * o * h * w / s**2 for i, o, h, w, s in _layers(shape))


def _layers(shape: tuple[int, ...]) -> list[tuple[int, int, int, int, int]]:
    """Inputs, outputs, height, width and stride of each 3 x 3 convolution."""
    from bids_harmony.model.presets import DEFAULT_PRESET, preset

    config = preset(DEFAULT_PRESET)
    layers, channels, factor = [], 3, 1
    for squeeze, splits, hidden in zip(config.squeeze, config.splits, config.hidden, strict=True):
        factor, channels = factor * squeeze, channels * squeeze**2
        height, width = (-(-(n + 2 * config.pad) // factor) for n in shape[:2])
        stride = config.aan.stride_unsqueezed if factor == 1 else 1
        plan = (channels, hidden, hidden, splits * channels)
        layers += [(i, o, height, width, 1) for i, o in pairwise(plan)]
        channels *= splits
        layers.append((channels, config.aan.head_channels, height, width, stride))
    return layers


def network_beside_convolutions() -> list[dict[str, Any]]:
    """The shipped network on slices of 1 mm, and its convolutions one by one, medians of five."""
    import torch
    from measure import Meter

    from bids_harmony.imaging.reference import reference_grid

    torch.set_num_threads(THREADS)
    shape = reference_grid(1.0).shape[:2]
    change, meter, rates, gflop = network_job(96, shape), Meter(), [], 96 * slice_gflop(shape)
    change(24)
    for _ in range(NETWORK_REPEATS):
        rates.append(slice_gflop(shape) / convolution_seconds(shape, statistics.median))
        with meter.stage("network alone, 96 slices") as row:
            row["bytes"] = 0
            change(96)
        row["gflop"] = round(gflop, 1)
    middle = sorted(meter.rows, key=lambda row: row["seconds"])[NETWORK_REPEATS // 2]
    rate = statistics.median(rates)
    middle |= {"floor_s": round(gflop / rate, 3), "conv_gflop_s": round(rate, 1)}
    middle |= {"ratio": round(middle["seconds"] * rate / gflop, 2)}
    middle["of_conv_rate"] = round(gflop / middle["seconds"] / rate, 3)
    middle["all_seconds"] = [row["seconds"] for row in meter.rows]
    middle["all_conv_gflop_s"] = [round(r, 1) for r in rates]
    return [middle]


def convolution_seconds(
    shape: tuple[int, ...], choose: Callable[[list[float]], float] = min
) -> float:
    """Seconds that the convolutions of the network take for one slice, one after the other.

    Each in the better of two memory formats, four slices at once; `choose` picks from the times
    of a few tries.
    """
    import torch

    batch, seconds = 4, 0.0
    with torch.inference_mode():
        for inputs, outputs, height, width, stride in _layers(shape):
            tries = []
            for form in (torch.contiguous_format, torch.channels_last):
                layer = torch.nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride)
                layer = layer.to(memory_format=form)
                x = torch.rand(batch, inputs, height, width).contiguous(memory_format=form)
                tries.append(choose(_times(lambda layer=layer, x=x: layer(x))))
            seconds += min(tries) / batch
    return seconds


def measured_rates() -> dict[str, float]:
    """What this machine can do now with two threads; the fastest of a few tries of each."""
    import numpy as np
    import torch

    from bids_harmony.imaging.reference import reference_grid
    from bids_harmony.imaging.volume import GZIP_LEVEL, read_volume

    torch.set_num_threads(THREADS)
    shape = reference_grid(1.0).shape[:2]
    seconds = convolution_seconds(shape)
    with torch.inference_mode():
        a = torch.rand(2048, 2048)
        product = _fastest(lambda: a @ a)
        big, into = torch.rand(2**25), torch.empty(2**25)
        copy = _fastest(lambda: into.copy_(big))
    voxels = np.ascontiguousarray(read_volume(T1W).data.astype(np.int16)).tobytes()
    packed = _fastest(lambda: gzip.compress(voxels, GZIP_LEVEL), 2)
    content = T1W.read_bytes()
    unpacked = _fastest(lambda: gzip.decompress(content), 2)
    return {
        "conv_gflop_s": round(slice_gflop(shape) / seconds, 1),
        "matmul_gflop_s": round(2e-9 * 2048**3 / product, 1),
        "memory_gb_s": round(2 * big.numel() * 4e-9 / copy, 1),
        "gzip_mb_s": round(len(voxels) * 1e-6 / packed, 1),
        "gunzip_mb_s": round(len(voxels) * 1e-6 / unpacked, 1),
    }


def _fastest(function: Callable[[], Any], repeats: int = REPEATS) -> float:
    return min(_times(function, repeats))


def _times(function: Callable[[], Any], repeats: int = REPEATS) -> list[float]:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


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

        job("first job: banks of both sites made of 3 scans", "01")
        one = job("job with known banks, one T1w of 1 mm", "01")
        two = job("job with known banks, two T1w of 1 mm", "01", "03")
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
                f"network: {100 * row['of_conv_rate']:.0f} % of the rate of its convolutions "
                f"({row['conv_gflop_s']:.0f} GFLOP/s), medians of {len(row['all_seconds'])}."
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
