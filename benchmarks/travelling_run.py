"""Experiments of the travelling-subject benchmark: fit, apply, score. One function, one table."""

from __future__ import annotations

import math
import multiprocessing
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from travelling_cohort import TARGET, Case, Plan, cases, write_training_scans
from travelling_methods import images
from travelling_people import people_of

from bids_harmony.methods.registry import REGISTRY
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.quality.image_metrics import gain_free_rmse, ms_ssim, nyquist_share, psnr, rmse
from bids_harmony.quality.perceptual import PerceptualMetric, lpips, shift_tolerant_lpips
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.sites.prepared_scans import TrainingScan
from bids_harmony.sites.profile_files import PROFILES_FILE
from bids_harmony.training.fit import fit_method

__all__ = [
    "Task",
    "Work",
    "draw_folder",
    "fit_models",
    "fit_scans",
    "score_methods",
    "truth_scores",
]

#: Of every scan, evenly spaced: the metric is the slowest figure of all.
LPIPS_SLICES = 6
MS_SSIM_SLICES = 24

Array = np.ndarray


@dataclass(frozen=True)
class Work:
    """Where the benchmark works and how wide.

    Attributes
    ----------
    folder : Path
        Cache of people, training scans, models.
    workers : int
    paired_steps, paired_width : int
        Budget of the supervised methods: slices shown to each network, filters of its first layer.
    """

    folder: Path
    workers: int = 2
    paired_steps: int = 600
    paired_width: int = 32


@dataclass(frozen=True)
class Task:
    """Score the models at one site in one modality; what one worker does at a time."""

    plan: Plan
    folder: Path
    models: tuple[tuple[str, str, Path], ...]
    site: str
    modality: str


def draw_folder(plan: Plan, work: Work) -> Path:
    """Training scans and models of a plan."""
    fields = "fields" if plan.fields else "no-fields"
    fields += "-varied" if plan.varied else ""
    size = f"{len(plan.sites)}-sites-{plan.training_per_site}-each"
    return work.folder / f"seed-{plan.seed}-{size}-{fields}"


def fit_models(
    plan: Plan, work: Work, methods: Sequence[str], *, label: str | None = None, **training: Any
) -> dict[str, tuple[str, Path]]:
    """Fit methods to one and the same set of scans.

    Parameters
    ----------
    plan : Plan
    work : Work
    methods : sequence of str
    label : str, optional
        Name of the row and folder of a single method; its own by default.
    **training
        Fields of `TrainingSettings` that differ from the benchmark's: for ``ihf`` the shipped
        weights as they are, with profiles of the plan's sites.

    Returns
    -------
    mapping of row name to (method, model folder)
    """
    people = people_of(plan, work.folder)
    folder = draw_folder(plan, work)
    everyone = write_training_scans(plan, people, folder / "scans", paired=True)
    unpaired_people = {str(p.seed) for p in people["training"].people}
    return fit_scans(
        everyone, unpaired_people, plan, work, folder, methods, label=label, **training
    )


def fit_scans(
    everyone: Sequence[TrainingScan],
    unpaired_people: Collection[str],
    plan: Plan,
    work: Work,
    folder: Path,
    methods: Sequence[str],
    *,
    label: str | None = None,
    **training: Any,
) -> dict[str, tuple[str, Path]]:
    """Fit methods to scans that are there; all but supervised ones to `unpaired_people` only.

    Models go to ``folder/models``. As `fit_models` otherwise.
    """
    fitted: dict[str, tuple[str, Path]] = {}
    profiled = next((m for m in methods if not REGISTRY[m].trained), "")
    for method in methods:
        needs = REGISTRY[method]
        if not needs.trained and profiled in fitted:
            # Those without a fit of their own need the site profiles only.
            fitted[method] = (method, fitted[profiled][1])
            continue
        if method == "ihf" and not training and profiled in fitted:
            # As does the shipped model.
            out = folder / "models" / method
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(SHIPPED_MODEL, out)
            shutil.copy(fitted[profiled][1] / PROFILES_FILE, out)
            fitted[method] = (method, out)
            continue
        # Unpaired methods never see anyone at two sites.
        scans = [s for s in everyone if needs.supervised or s.subject in unpaired_people]
        if method == "histogram-n4":
            # N4 takes seconds a scan and is wanted of the target; a second site must be there.
            other = next(s.subject for s in scans if s.site == plan.sources[0])
            scans = [s for s in scans if s.site == TARGET or s.subject == other]
        options = {"twin_steps": 0, "adapt_steps": 0, "paired_steps": work.paired_steps}
        options |= {"paired_width": work.paired_width, "resume": False} | training
        settings = Settings(
            bids_dir=folder,
            output_dir=folder,
            analysis_level="train",
            method=method,
            target_site=TARGET,
            voxel_mm=plan.voxel_mm,
            nprocs=work.workers,
            random_seed=plan.seed,
            training=TrainingSettings(**options),
        )
        out = folder / "models" / (label or method)
        shutil.rmtree(out, ignore_errors=True)
        fit_method(method, scans, settings, out)
        fitted[label or method] = (method, out)
    return fitted


def score_methods(
    plan: Plan, work: Work, models: Mapping[str, tuple[str, Path]]
) -> list[dict[str, Any]]:
    """Apply fitted models to all test scans of a plan; one row per scan, method and variant."""
    tasks = [
        Task(plan, work.folder, tuple((n, m, f) for n, (m, f) in models.items()), site, modality)
        for modality in plan.modalities
        for site in (plan.scored or plan.sites)
    ]
    return list(_in_parallel(tasks, work.workers))


def _in_parallel(tasks: Sequence[Task], workers: int) -> Iterator[dict[str, Any]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        done = tqdm(pool.map(_score, tasks), "sites scored", len(tasks), disable=None)
        for rows in done:
            yield from rows


def _score(task: Task) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    plan = task.plan
    models = {name: (method, folder) for name, method, folder in task.models}
    if task.site == TARGET:
        # Scans that need no harmonization: what does ours do to them?
        models = {name: model for name, model in models.items() if model[0] == "ihf"}
    people = people_of(plan, task.folder)["test"]
    rows = []
    for case in cases(plan, people, sites=[task.site], modality=task.modality):
        about = {
            "seed": plan.seed,
            "fields": plan.fields,
            "modality": case.modality,
            "site": case.site,
            "subject": case.subject,
            "kind": case.kind,
        }
        for name, variant, data in images(case, models):
            rows.append({"method": name, "variant": variant, **about, **_figures(data, case)})
    return rows


def truth_scores(data: Array, twin: Array, mask: Array) -> dict[str, float]:
    """RMSE, PSNR in dB, MS-SSIM and LPIPS to the noise-free twin inside the brain.

    Each image is scaled by its own 99.5th percentile, the range is 1.
    """
    scaled, truth = (_scaled(d, mask) for d in (data, twin))
    same = {"data_range": 1.0, "mask": mask}
    return {
        "rmse": rmse(truth, scaled, mask=mask),
        "psnr_db": psnr(truth, scaled, **same),
        "ms_ssim": ms_ssim(truth, scaled, max_slices=MS_SSIM_SLICES, **same),
        "lpips": lpips(truth, scaled, metric=_perceptual(), max_slices=LPIPS_SLICES, **same),
    }


def _scaled(data: Array, mask: Array) -> Array:
    return np.asarray(data / np.percentile(data[mask], 99.5))


def _figures(data: Array, case: Case) -> dict[str, float]:
    """Scores against the noise-free twin, and the RMSE to a real (noisy) scan at the target."""
    source, mask = case.prepared.data, case.prepared.mask
    row: dict[str, float] = {}
    if case.site != TARGET:
        scaled, twin = (_scaled(d, mask) for d in (data, case.twin))
        row = truth_scores(data, case.twin, mask) | {
            "rmse_gain_free": gain_free_rmse(twin, scaled, mask=mask),
            # To another scan of the person at the target, with the noise that scans have.
            "rmse_rescan": gain_free_rmse(case.rescan, scaled, mask=mask),
        }
        row["psnr_gain_free_db"] = -20 * math.log10(row["rmse_gain_free"])
    row["correlation_source"] = float(np.corrcoef(data[mask], source[mask])[0, 1])
    # At the target site itself, this is what the method does without need.
    row["change_rms"] = float(np.sqrt(np.square((data - source)[mask]).mean()))
    row["nyquist_share"] = nyquist_share(np.where(mask, data - source, 0))
    return row


@lru_cache(maxsize=1)
def _perceptual() -> PerceptualMetric:
    return shift_tolerant_lpips()
