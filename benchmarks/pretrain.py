"""Train the model that the package ships: synthetic twins only, no scan of anybody.

    python benchmarks/pretrain.py --threads 1 --labels FOLDER

People and scanners are drawn at random (`bids_harmony.training.twin_pool`); neither the phantom's
named sites nor anyone of its cohorts is among them. The first four whole-head label maps of a
folder give more people; later ones are left for tests. Can be stopped and started again: profiles
stay, and training goes on from its checkpoint. Writes the model into the package and the figures
as JSON; prints the hash to put into `bids_harmony/training/start.py`. ``--small`` is the same with
fewer people and scanners, to try the recipe.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.checkpoint import load_members
from bids_harmony.model.description import METADATA_FILE
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import DEFAULT_PRESET, preset
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.sites.image_profile import standardize_codes
from bids_harmony.sites.training_range import TrainingRange, fit_range, mean_code
from bids_harmony.training.pretrain import (
    TWIN_AVERAGE,
    TWIN_PARTS,
    TwinLoss,
    pretrain,
    score_twins,
)
from bids_harmony.training.start import read_start, write_shipped
from bids_harmony.training.trainer import Schedule, TrainingResult
from bids_harmony.training.training_log import read_log
from bids_harmony.training.twin_pool import TwinPlan, TwinPool, make_pool
from lab.label_maps import labels_to_maps, read_label_map

RESULT = Path("benchmarks/results/pretrain.json")
TRAINING_MAPS = 4


#: Drawn evenly: T1w is asked for most and gains least.
MODALITIES = ("T1w", "T1w", "T1w", "T2w", "T2w", "FLAIR", "b0", "dwi")
FINE_MODALITIES = ("T1w", "T1w", "T2w", "FLAIR")


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--labels", type=Path, help="folder of whole-head label maps")
    parser.add_argument("--max-minutes", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pool-threads", type=int, default=2, help="profiles side by side")
    parser.add_argument("--scanners", type=int, default=72, help="simulated training sites")
    parser.add_argument(
        "--fine-scanners", type=int, default=0, help="simulated training sites at 1 mm besides"
    )
    parser.add_argument("--profiles", type=int, default=4, help="of every scanner and modality")
    parser.add_argument(
        "--scanners-like", choices=("wide", "real", "both"), default="wide", help="see TwinPlan"
    )
    parser.add_argument(
        "--continue", dest="go_on", action="store_true", help="from the shipped weights"
    )
    parser.add_argument("--relative", action="store_true", help="see TwinLoss")
    parser.add_argument("--alike", type=float, default=0.0, help="see TwinPool")
    parser.add_argument(
        "--average", action="store_true", help="end with the mean of both ends of this training"
    )
    parser.add_argument("--precision", choices=("float32", "bf16"), default="bf16")
    parser.add_argument("--small", action="store_true", help="few people and scanners")
    parser.add_argument("--folder", type=Path, default=Path("build/pretrain"))
    parser.add_argument(
        "--beside", type=Path, help="model folder whose networks become further members"
    )
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="where the model goes")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)

    encoder, config = load_encoder("mri"), preset(DEFAULT_PRESET)
    plan = TwinPlan(
        training_people=6 if options.small else 28,
        training_scanners=24 if options.small else options.scanners,
        validation_scanners=4 if options.small else 10,
        modalities=("T1w", "T2w") if options.small else MODALITIES,
        profiles_per_scanner=options.profiles,
        scans_per_profile=(1, 16),
        coded=1,
        scanners_like=options.scanners_like,
        seed=options.seed,
    )
    loss = TwinLoss(relative=options.relative)
    fine_plan = replace(
        plan, voxel_mm=1.0, training_people=8, profile_people=8, validation_people=2,
        training_scanners=options.fine_scanners, validation_scanners=4, modalities=FINE_MODALITIES,
        scans_per_profile=(1, 8), seed=plan.seed + 1,
    )  # fmt: skip
    maps = sorted(options.labels.glob("*.nii*"))[:TRAINING_MAPS] if options.labels else []
    grid = reference_grid(plan.voxel_mm)
    sources = [labels_to_maps(read_label_map(path), grid) for path in maps]
    # Profiles side by side; a second team of threads in each would only be in the way.
    with threadpool_limits(1, "blas"):
        pool = make_pool(
            plan, encoder, cells=config.aan.grid, threads=options.pool_threads, sources=sources,
            kept=options.folder / "profiles",
        )  # fmt: skip
        fine = None
        if options.fine_scanners:
            fine = make_pool(
                fine_plan, encoder, cells=config.aan.grid, threads=options.pool_threads,
                kept=options.folder / "profiles_1mm",
            )  # fmt: skip
        fine = replace(fine, alike=options.alike) if fine else None
    pool = replace(pool, alike=options.alike)
    network = IHFNetwork(config, encoder.code_length)
    begun = options.go_on and bool(read_start(network, encoder))
    started_from = _shipped() if begun else None
    if not begun:
        standardize_codes(network, pool.profiles.values())
    first = {name: value.clone() for name, value in network.state_dict().items()}
    before = _scores(network, pool, fine) if begun else {}
    print(f"before: {before}", flush=True)
    start = time.monotonic()
    fitted = pretrain(
        network,
        pool,
        Schedule(
            options.steps,
            options.learning_rate,
            max_seconds=options.max_minutes * 60,
            precision=options.precision,
            accumulate=TWIN_PARTS,
            side_by_side=TWIN_PARTS,
            average=TWIN_AVERAGE,
        ),
        options.folder,
        slices=options.slices,
        seed=options.seed,
        use_closed_form=True,
        fingerprint=f"pretrain {options.seed} {options.slices}",
        loss=loss,
        finer=fine,
    )
    minutes = (time.monotonic() - start) / 60
    if options.average:
        # Izmailov et al. 2018 (UAI, 876): both ends lie at the rim of one basin.
        last = network.state_dict()
        network.load_state_dict({name: (first[name] + last[name]) / 2 for name in first})
    scores = _scores(network, pool, fine)
    about = _about(options, plan, loss, maps, scores, fitted, minutes)
    about |= {"before": before, "started_from": started_from}
    about["fine_plan"] = asdict(fine_plan) if fine else None
    others, record = load_members(options.beside) if options.beside else ((), None)
    about["beside"] = _origin(record) if record else None
    digest = write_shipped(network, encoder, _ranges(pool), about, options.model, others)
    record = about | {"name": "pretrain", "sha256": digest, "curve": _curve(fitted.log)}
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record["rows"], indent=2))
    print(fitted.speed)
    print(f"model: {options.model}\nsha256: {digest}\nresult: {options.result}")


def _about(
    options: argparse.Namespace,
    plan: TwinPlan,
    loss: TwinLoss,
    maps: list[Path],
    scores: dict[str, dict[str, float]],
    fitted: TrainingResult,
    minutes: float,
) -> dict[str, Any]:
    command = (
        f"python benchmarks/pretrain.py --steps {options.steps} --slices {options.slices} "
        f"--learning-rate {options.learning_rate:g} --seed {options.seed} "
        f"--threads {options.threads} --precision {options.precision}"
    )
    command += (" --labels FOLDER" if maps else "") + (" --small" if options.small else "")
    command += f" --scanners {options.scanners} --profiles {options.profiles}"
    command += f" --scanners-like {options.scanners_like}"
    command += f" --fine-scanners {options.fine_scanners}" if options.fine_scanners else ""
    command += " --continue" if options.go_on else ""
    command += " --relative" if options.relative else ""
    command += f" --alike {options.alike:g}" if options.alike else ""
    command += " --average" if options.average else ""
    command += " --beside FOLDER" if options.beside else ""
    return {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": platform.machine(), "threads": options.threads},
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "seeds": [options.seed],
        "plan": asdict(plan),
        "loss": asdict(loss),
        "label_maps": [path.name for path in maps],
        "speed": asdict(fitted.speed) | {"share": fitted.speed.share} if fitted.speed else None,
        "rows": [
            {"voxel_mm": float(mm), "steps": fitted.steps, "minutes": round(minutes, 1), **own}
            for mm, own in scores.items()
        ],
    }


def _scores(
    network: IHFNetwork, pool: TwinPool, fine: TwinPool | None
) -> dict[str, dict[str, float]]:
    """`TwinScore` on unseen pairs, by voxel size in mm."""
    pools = [(pool, 24), *([(fine, 8)] if fine else [])]
    return {
        f"{own.grid.voxel_mm:g}": asdict(
            score_twins(network, own, use_closed_form=True, pairs=pairs)
        )
        for own, pairs in pools
    }


def _shipped() -> dict[str, Any]:
    """Where the weights that training goes on from came from."""
    return _origin(json.loads((SHIPPED_MODEL / METADATA_FILE).read_text()))


def _origin(known: Mapping[str, Any]) -> dict[str, Any]:
    """Which weights a model has, and by which trainings."""
    return {
        "sha256": known["weights"]["sha256"],
        "command": known["extra"]["command"],
        "started_from": known["extra"].get("started_from"),
    }


def _ranges(pool: TwinPool) -> dict[str, TrainingRange]:
    """Where the codes of the simulated scanners lie, those for validation among them."""
    return {
        modality: fit_range(
            np.stack(
                [
                    mean_code(profile.codes, profile.mask)
                    for (site, kind), first in pool.profiles.items()
                    if kind == modality
                    for profile in (first, *pool.more[site, kind])
                ]
            )
        )
        for modality in sorted(set(pool.plan.modalities))
    }


def _curve(log_file: Path) -> list[dict[str, float]]:
    log = read_log(log_file)
    every = max(1, len(log) // 100)
    names = ("closed_form", "network")
    return [
        {"step": i}
        | {
            f"rmse_{n}": float(np.sqrt(np.mean([r[f"mse_{n}"] for r in log[i : i + every]])))
            for n in names
        }
        for i in range(0, len(log), every)
    ]


if __name__ == "__main__":
    main()
