"""What twins of a dataset's own sites gain on the travelling-subject benchmark.

    python benchmarks/own_sites.py --minutes 10

Fits scanners to the profiles of the cohort's training scans, goes on from the shipped weights with
twins between these sites, and scores the cohort's test people before and after: PSNR against the
noise-free scan at the target, as `benchmarks/travelling.py` has it. Weights that training itself
would throw away are scored as well: their rows say what that saves or costs. Writes JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import provenance
from travelling import ROOT
from travelling_cohort import TARGET, Plan, cases, write_training_scans
from travelling_forms import FORMS
from travelling_people import people_of
from travelling_run import Work, draw_folder

from bids_harmony.imaging.slices import reassemble
from bids_harmony.methods.conditioned import Conditioned, condition_scan, predict_change
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import DEFAULT_PRESET, preset
from bids_harmony.quality.image_metrics import gain_free_rmse, psnr
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.prepared_scans import build_profiles, load_scans
from bids_harmony.sites.profile_files import PROFILES_FILE, read_profiles, write_profiles
from bids_harmony.training.adaptation import TrainingRun
from bids_harmony.training.distributed import Ranks
from bids_harmony.training.start import read_start
from bids_harmony.training.twin_stage import draw_pool, train_on_twins

RESULT = ROOT / "benchmarks" / "results" / "own_sites.json"
Array = np.ndarray


def main() -> None:
    """Train, score before and after."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--form", choices=list(FORMS), default="reduced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of optimizer steps")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--scanners", type=int, default=6, help="simulated ones besides")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "travelling")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    start = time.monotonic()
    plan, work = FORMS[options.form].plan(options.seed), Work(options.folder)
    folder = draw_folder(plan, work) / "own-sites"
    training: dict[str, Any] = {
        "twin_people": options.people,
        "twin_scanners": options.scanners,
        "twin_steps": 100_000,
        "train_minutes": options.minutes,
        "resume": False,
    }
    if options.learning_rate:
        training["twin_learning_rate"] = options.learning_rate
    settings = Settings(
        options.folder, options.folder, "train", target_site=TARGET, voxel_mm=plan.voxel_mm,
        nprocs=options.threads, random_seed=plan.seed, training=TrainingSettings(**training),
    )  # fmt: skip
    encoder = load_encoder("mri")
    network = IHFNetwork(preset(DEFAULT_PRESET), encoder.code_length)
    if not read_start(network, encoder):
        raise SystemExit("the shipped weights do not fit")
    people = people_of(plan, work.folder)
    scans = load_scans(
        write_training_scans(plan, people, draw_folder(plan, work) / "scans", paired=False),
        plan.voxel_mm,
    )
    run = TrainingRun(scans, encoder, settings, folder, True, "own sites", Ranks())
    for old in folder.glob("*_checkpoint.safetensors"):
        old.unlink()
    profiles = _profiles(run, folder, network.config.aan.grid)
    prepared = _minutes(start)
    modalities = list(plan.modalities)
    pool = draw_pool(run, modalities, profiles, network.config.aan.grid)
    fitted = _minutes(start)
    tests = _tests(plan, people["test"], profiles, network)
    before = _scores(network, tests)
    began = time.monotonic()
    stage = train_on_twins(network, pool, run, started=True)
    trained = _minutes(began)
    network.load_state_dict(stage.trained)
    after = _scores(network, tests)
    rows = [
        {"modality": kind, "weights": name, "kept": name == "shipped" or stage.kept, "n": len(own),
         "psnr_db": round(float(np.mean([s[0] for s in own])), 2),
         "psnr_gain_free_db": round(float(np.mean([s[1] for s in own])), 2)}
        for name, scores in (("shipped", before), ("own sites", after))
        for kind, own in scores.items()
    ]  # fmt: skip
    command = (
        f"python benchmarks/own_sites.py --form {options.form} --minutes {options.minutes:g} "
        f"--people {options.people} --scanners {options.scanners}"
    )
    if options.learning_rate:
        command += f" --learning-rate {options.learning_rate:g}"
    record = {"name": "own_sites", "command": command, "seeds": [options.seed], "rows": rows}
    record["minutes"] = {
        "profiles": prepared,
        "fits and pool": round(fitted - prepared, 1),
        "training and its validation": trained,
    }
    record |= {"twins": stage.about()} | provenance(("torch", "numpy", "scipy"))
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps([rows, record["minutes"]], indent=1))


def _minutes(start: float) -> float:
    return round((time.monotonic() - start) / 60, 1)


def _profiles(run: TrainingRun, folder: Path, cells: int) -> dict[tuple[str, str], ImageProfile]:
    """Of the cohort's sites, kept from one run to the next."""
    if not (folder / PROFILES_FILE).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        voxel_mm = run.settings.voxel_mm
        made = build_profiles(
            run.scans, run.encoder, cells=cells, size=run.settings.training.bank_size,
            voxel_mm=voxel_mm,
        )  # fmt: skip
        write_profiles(folder, made.values(), voxel_mm)
    return read_profiles(folder)[0]


def _tests(
    plan: Plan, group: Any, profiles: dict[tuple[str, str], ImageProfile], network: IHFNetwork
) -> list[tuple[str, Conditioned, Array]]:
    """Modality, scan and truth of every test person at every source site."""
    return [
        (
            modality,
            condition_scan(
                case.prepared.data, case.prepared.mask, profiles[case.site, modality],
                profiles[TARGET, modality], voxel_mm=plan.voxel_mm, config=network.config,
                use_closed_form=True,
            ),
            case.twin,
        )
        for modality in plan.modalities
        for case in cases(plan, group, sites=plan.sources, modality=modality)
    ]  # fmt: skip


def _scores(
    network: IHFNetwork, tests: list[tuple[str, Conditioned, Array]]
) -> dict[str, list[tuple[float, float]]]:
    """PSNR, as it is and after the best gain, by modality."""
    network.eval()
    found: dict[str, list[tuple[float, float]]] = {}
    for modality, scan, truth in tests:
        mask = scan.mask
        made = np.maximum(scan.image + reassemble(predict_change(network, scan)), 0)
        image, twin = (d / np.percentile(d[mask], 99.5) for d in (made, truth))
        free = -20 * float(np.log10(gain_free_rmse(twin, image, mask=mask)))
        found.setdefault(modality, []).append((psnr(twin, image, data_range=1.0, mask=mask), free))
    return found


if __name__ == "__main__":
    main()
