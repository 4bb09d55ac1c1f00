"""A graphics card: the network, a batch of scans, and training, beside what it can do at best.

    python benchmarks/card.py [--device cuda] [--scans 20] [--only network scans training]

* ``network``: the shipped network on the slices of one T1w of 1 mm, from arrays to arrays; its
  convolutions alone; and the largest difference from a processor's result.
* ``scans``: the command line on a batch of T1w scans, when the profiles of both sites are there;
  seconds a scan.
* ``training``: steps on unpaired slices in float32 and bf16, steps a second, and the arithmetic of
  all convolutions and products a second as a share of the rate of a large product in bf16.

``--device cpu`` tries the script itself where there is no card. Results go to ``--result``, by
default ``benchmarks/results/card.json``, with a Markdown table beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import made_by, measured_command, provenance
from participant import TARGET, make_dataset, network_job
from profile_stages import OTHERS, T1W
from rates import convolution_seconds, slice_gflop, times

RESULT = Path(__file__).resolve().parent / "results" / "card.json"
SLICES = 154
"""Of one T1w of 1 mm that hold brain."""
REPEATS = 5
STEPS = 10
PACKAGES = ("torch", "numpy", "nipype", "antspyx", "deepbet")

Row = dict[str, Any]


def network(device: str, _: argparse.Namespace) -> list[Row]:
    """The shipped network beside its convolutions and beside a processor's result."""
    from bids_harmony.imaging.reference import reference_grid

    shape = reference_grid(1.0).shape[:2]
    job = network_job(SLICES, shape, device=device)
    seconds = statistics.median(times(lambda: job(SLICES), REPEATS))
    floor = SLICES * convolution_seconds(shape, statistics.median, device=device)
    off = np.abs(job(SLICES) - network_job(SLICES, shape)(SLICES)).max()
    gflop = SLICES * slice_gflop(shape)
    return [
        {"what": "network, one T1w of 1 mm", "value": round(seconds, 4), "unit": "s"},
        {"what": "its convolutions alone", "value": round(floor, 4), "unit": "s"},
        {"what": "its arithmetic", "value": round(gflop / seconds), "unit": "GFLOP/s"},
        {"what": "largest difference from a processor", "value": float(off), "unit": "of range"},
    ]


def scans(device: str, options: argparse.Namespace) -> list[Row]:
    """The command line on a batch."""
    with tempfile.TemporaryDirectory() as name:
        bids, out, work = (Path(name, folder) for folder in ("bids", "out", "work"))
        wanted = [T1W, *OTHERS] * options.scans
        make_dataset(bids, T1W, OTHERS[0], *wanted[: options.scans - 1])
        common = ["--target-site", TARGET, "--device", device, "-w", str(work)]
        common += ["--nprocs", str(os.cpu_count()), "--omp-nthreads", "1"]
        words = [str(bids), str(out), "participant", *common]
        log = Path(name, "participant.log")
        measured_command(*words, "--participant-label", "01", log=log)
        for made in (work, *out.glob("sub-??")):
            shutil.rmtree(made, ignore_errors=True)
        # Person 02 is the target site's.
        people = [f"{k:02d}" for k in range(1, options.scans + 2) if k != 2]
        found = measured_command(*words, "--participant-label", *people, log=log)
    each = round(found["seconds"] / options.scans, 2)
    return [
        {"what": f"a scan in a batch of {options.scans}", "value": each, "unit": "s"},
        {"what": "memory of all processes", "value": found["tree_peak_mib"], "unit": "MiB"},
    ]


def training(device: str, options: argparse.Namespace) -> list[Row]:
    """Steps of the second stage in both precisions."""
    big = torch.rand(4096, 4096, device=device, dtype=torch.bfloat16)
    roof = 2e-9 * 4096**3 / statistics.median(times(lambda: big @ big, REPEATS))
    return [
        row
        for precision in ("float32", "bf16")
        for row in _training(device, precision, options.batch, roof)
    ]


def _training(device: str, precision: str, batch: int, roof: float) -> list[Row]:
    from torch.utils.flop_counter import FlopCounterMode

    from bids_harmony.model.encoder import load_encoder
    from bids_harmony.model.network import IHFNetwork
    from bids_harmony.model.presets import DEFAULT_PRESET, preset
    from bids_harmony.training.trainer import Schedule, fit
    from bids_harmony.training.unpaired import UnpairedLoss

    torch.manual_seed(0)
    encoder = load_encoder("mri").to(device)
    network = IHFNetwork(preset(DEFAULT_PRESET), encoder.code_length).to(device)
    loss, pairs = UnpairedLoss(encoder, 1.0, 1.0), drawn_pairs(encoder, network, batch)

    def steps(count: int) -> float:
        with tempfile.TemporaryDirectory() as name:
            schedule = Schedule(count, 1e-5, precision=precision)
            start = time.perf_counter()
            fit(
                network, lambda *_: pairs, lambda part: loss(network, part), schedule, Path(name),
                stage="speed", fingerprint="",
            )  # fmt: skip
            return time.perf_counter() - start

    steps(2)
    each = steps(STEPS) / STEPS
    with FlopCounterMode(display=False) as counter:
        loss(network, pairs.to(torch.device(device)))[0].backward()
    gflop = counter.get_total_flops() * 1e-9
    name = f"training, {precision}, {batch} slices"
    return [
        {"what": f"{name}: steps", "value": round(1 / each, 3), "unit": "1/s"},
        {"what": f"{name}: arithmetic", "value": round(gflop / each), "unit": "GFLOP/s"},
        {
            "what": f"{name}: share of a product in bf16 ({roof:.0f} GFLOP/s)",
            "value": round(gflop / each / roof, 3),
            "unit": "",
        },
    ]


def drawn_pairs(encoder: Any, network: Any, batch: int) -> Any:
    """Slices of 1 mm and conditions, drawn; as a sampler gives them, on the processor."""
    from bids_harmony.imaging.reference import reference_grid
    from bids_harmony.model.network import Condition
    from bids_harmony.training.losses import channel_statistics
    from bids_harmony.training.pair_sampler import Pairs

    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(batch, *shape, generator=generator)

    aan, code = network.config.aan, network.code_length
    stack = drawn(3, *reference_grid(1.0).shape[:2])
    maps = (aan.n_maps, aan.grid, aan.grid)
    condition = Condition(drawn(code), drawn(code), drawn(*maps), drawn(*maps))
    with torch.no_grad():
        taps = encoder.features(stack.to(next(encoder.parameters()).device))
        look = [tuple(value.cpu() for value in channel_statistics(tap)) for tap in taps]
    return Pairs(stack, condition, look, torch.zeros(batch, dtype=torch.bool), 0)


PARTS = {"network": network, "scans": scans, "training": training}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scans", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32, help="slices of a training step")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    from bids_harmony.devices import resolve_device

    device, before = str(resolve_device(options.device)), os.getloadavg()
    card = torch.cuda.get_device_name(device) if device != "cpu" else "no card"
    rows = [row for part in options.only for row in PARTS[part](device, options)]
    result = {
        "name": "card",
        "command": f"python benchmarks/card.py --device {options.device}",
        **provenance(PACKAGES),
        "card": card,
        "load_average": {"before": before, "after": os.getloadavg()},
        "seeds": [0],
        "rows": rows,
    }
    options.result.write_text(json.dumps(result, indent=1) + "\n")
    lines = ["# card", "", made_by(result), f"{card}.", "", "| what | value | |", "|---|---:|---|"]
    lines += [f"| {row['what']} | {row['value']:.3g} | {row['unit']} |" for row in rows]
    options.result.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print(options.result.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
