"""Train the weights that the level train starts from: synthetic twins only, no scan of anybody.

    python benchmarks/pretrain.py --threads 1 --labels FOLDER

People and scanners are drawn at random (`bids_harmony.training.twins`); neither the phantom's
named sites nor anyone of its cohorts is among them. The first four whole-head label maps of a
folder give more people; later ones are left for tests. Can be stopped and started again: it goes
on from its checkpoint. Writes the weights into the package and the figures as JSON; prints the
hash to put into `bids_harmony/training/start.py`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import DEFAULT_PRESET, preset
from bids_harmony.model.weights import fill, parse_tensors
from bids_harmony.phantom.label_maps import labels_to_maps, read_label_map
from bids_harmony.training.pretrain import pretrain, score_twins
from bids_harmony.training.start import START_FILE, write_start
from bids_harmony.training.trainer import Schedule
from bids_harmony.training.training_log import read_log
from bids_harmony.training.twins import TwinPlan, make_pool

RESULT = Path("benchmarks/results/pretrain.json")
TRAINING_MAPS = 4


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--labels", type=Path, help="folder of whole-head label maps")
    parser.add_argument("--init", type=Path, help="weights of an earlier run to go on from")
    parser.add_argument("--max-minutes", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pool-threads", type=int, default=2, help="banks side by side")
    parser.add_argument("--folder", type=Path, default=Path("build/pretrain"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)

    encoder, config = load_encoder("mri"), preset(DEFAULT_PRESET)
    plan = TwinPlan(
        training_people=28,
        training_scanners=80,
        validation_scanners=10,
        modalities=("T1w", "T1w", "T2w", "T2w", "FLAIR"),
        coded=1,
        seed=options.seed,
    )
    maps = sorted(options.labels.glob("*.nii*"))[:TRAINING_MAPS] if options.labels else []
    grid = reference_grid(plan.voxel_mm)
    sources = [labels_to_maps(read_label_map(path), grid) for path in maps]
    pool = make_pool(
        plan, encoder, cells=config.aan.grid, threads=options.pool_threads, sources=sources
    )
    network = IHFNetwork(config, encoder.code_length)
    codes = torch.from_numpy(np.concatenate([bank.codes for bank in pool.banks.values()]))
    network.set_code_statistics(codes.mean(0), codes.std(0))
    if options.init:
        tensors = parse_tensors(options.init.read_bytes(), options.init)
        fill(network, {k: tensors[k].float() for k in network.state_dict()}, options.init)
    start = time.monotonic()
    fitted = pretrain(
        network,
        pool,
        Schedule(options.steps, options.learning_rate, max_seconds=options.max_minutes * 60),
        options.folder,
        slices=options.slices,
        seed=options.seed,
        use_closed_form=True,
        fingerprint=f"pretrain {options.seed} {options.slices}",
    )
    log = read_log(fitted.log)
    score = score_twins(network, pool, use_closed_form=True, pairs=24)
    digest = write_start(network, encoder)
    every = max(1, len(log) // 100)
    names = ("closed_form", "network")
    curve = [
        {"step": i}
        | {
            f"rmse_{n}": float(np.sqrt(np.mean([r[f"mse_{n}"] for r in log[i : i + every]])))
            for n in names
        }
        for i in range(0, len(log), every)
    ]
    record = {
        "name": "pretrain",
        "command": f"python benchmarks/pretrain.py --steps {options.steps} --slices "
        f"{options.slices} --learning-rate {options.learning_rate:g} --seed {options.seed} "
        f"--threads {options.threads}"
        + (" --labels FOLDER" if maps else "")
        + (" --init FILE" if options.init else ""),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": platform.machine(), "threads": options.threads},
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "seeds": [options.seed],
        "plan": asdict(plan),
        "label_maps": [path.name for path in maps],
        "sha256": digest,
        "rows": [{"steps": len(log), "minutes": (time.monotonic() - start) / 60, **asdict(score)}],
        "curve": curve,
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record["rows"], indent=2))
    print(f"weights: {START_FILE}\nsha256: {digest}\nresult: {RESULT}")


if __name__ == "__main__":
    main()
