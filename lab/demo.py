"""`make demo`: a small travelling-subject cohort through the whole program, with its scores.

    python -m lab.demo build/demo

Makes ``FOLDER/bids`` and ``FOLDER/twins``, harmonizes travelling subjects to COI with the model in
the package, adapts it to people scanned at one site each, and compares both with what COI would
have seen of the travellers. Training never reads a travelling subject, and nothing but the scoring
reads the ground truth (``FOLDER/twins``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from bids_harmony.cli.main import main as bids_harmony
from bids_harmony.exceptions import ExitCode
from bids_harmony.settings import read_settings_file

__all__ = ["main"]

_TARGET = "COI"
#: Name of the shipped settings file of the demonstration.
_CONFIG = Path("demo")
_TRAINING_OPTIONS = ("twin_steps", "twin_people", "twin_scanners", "adapt_steps")
_SEED = 2026
_ADAPTED = "ihf-adapted"
_BASELINES = ("histogram", "histogram-fit", "histogram-tissue", "histogram-relative")
#: Blur of the controls: standard deviation in voxels.
_BLUR_VOXELS = 0.6
_COLUMNS = (
    ("rmse", "RMSE", "{:.4f}"),
    ("rmse_gain_free", "RMSE, gain-free", "{:.4f}"),
    ("psnr_db", "PSNR dB", "{:.2f}"),
    ("ssim", "SSIM", "{:.4f}"),
    ("ms_ssim", "MS-SSIM", "{:.4f}"),
)


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration; returns an exit code."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="made anew; such as build/demo")
    parser.add_argument("--training-per-site", type=int, default=4, metavar="N")
    parser.add_argument("--travelling", type=int, default=2, metavar="N")
    # The rest stands in the shipped settings file; what is given here wins over it.
    settings = read_settings_file(_CONFIG)
    for name in _TRAINING_OPTIONS:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            default=settings["training"][name],
            metavar="N",
        )
    parser.add_argument("--voxel-mm", type=float, default=settings["voxel_mm"], metavar="MM")
    parser.add_argument("--modalities", nargs="+", default=list(settings["modalities"]))
    options = parser.parse_args(argv)
    start = time.monotonic()
    folder: Path = options.folder.absolute()
    code = _run(folder, options)
    if code == ExitCode.DONE:
        print(f"\nfinished in {(time.monotonic() - start) / 60:.1f} minutes")
    return code


def _run(folder: Path, options: argparse.Namespace) -> int:
    from bids_harmony.phantom.cohort import CohortPlan, write_cohort

    if (folder / "out").exists() or (folder / "bids").exists():
        shutil.rmtree(folder)
    plan = CohortPlan(
        target=_TARGET,
        training_per_site=options.training_per_site,
        travelling=options.travelling,
        modalities=tuple(options.modalities),
        voxel_scale=options.voxel_mm,
        seed=_SEED,
    )
    print(f"1. Simulating a cohort of {len(plan.sites)} sites in {folder / 'bids'}", flush=True)
    write_cohort(folder, plan)
    training = [f"{s}{i + 1:02d}" for s in plan.sites for i in range(plan.training_per_site)]
    travellers = [f"T{i + 1:02d}" for i in range(plan.travelling)]
    common = [
        "--config-file", str(_CONFIG), "--modalities", *plan.modalities,
        "--voxel-mm", str(options.voxel_mm), "--work-dir", str(folder / "work"),
    ]  # fmt: skip
    dataset = [str(folder / "bids"), str(folder / "out")]
    print(f"2. Harmonizing travelling subjects to {_TARGET}, without any training", flush=True)
    code = bids_harmony(
        [
            *dataset, "participant", "--participant-label", *travellers, *common,
            "--target-site", _TARGET,
        ]
    )  # fmt: skip
    if code != ExitCode.DONE:
        return code
    print("3. Measuring across sites: the group page", flush=True)
    code = bids_harmony([*dataset, "group", *common])
    if code != ExitCode.DONE:
        return code
    print("4. Adapting the model to people who were scanned at one site each", flush=True)
    chosen = [
        word
        for name in _TRAINING_OPTIONS
        for word in (f"--{name.replace('_', '-')}", str(getattr(options, name)))
    ]
    code = bids_harmony([*dataset, "train", "--participant-label", *training, *common, *chosen])
    if code != ExitCode.DONE:
        return code
    print("5. Scoring against the ground truth", flush=True)
    rows = _score(folder)
    _report(folder, rows, options)
    return ExitCode.DONE


def _score(folder: Path) -> list[dict[str, Any]]:
    """One row per scan and method."""
    from tqdm import tqdm

    from bids_harmony.imaging.volume import read_volume
    from bids_harmony.quality.travelling import score_against_twin

    rows: list[dict[str, Any]] = []
    twins = sorted((folder / "twins").rglob("*_desc-twin_*.nii.gz"))
    pictures: dict[str, dict[str, np.ndarray]] = {}
    for twin_file in tqdm(twins, desc="scores", unit="scan", disable=None):
        twin = read_volume(twin_file).data
        ceiling = read_volume(Path(str(twin_file).replace("_desc-twin_", "_desc-ceiling_"))).data
        about = {
            "modality": twin_file.name.split("_")[-1].split(".")[0],
            "site": twin_file.parents[1].name.removeprefix("ses-"),
            "subject": twin_file.name.split("_")[0].removeprefix("sub-"),
        }
        images, mask = _images(folder, twin_file, about)
        images["ceiling"] = ceiling
        for name, image in images.items():
            method, _, variant = name.partition("+")
            row = {"method": method, "variant": variant or "sharp", **about}
            rows.append(row | score_against_twin(image, twin, mask))
        if about["subject"] == "T01":
            shown = {k: images[k] for k in ("none", "histogram-relative", "ihf")} | {"twin": twin}
            pictures[f"{about['modality']} {about['site']}"] = _middle(shown, mask)
    _picture(folder, pictures)
    return rows


def _images(
    folder: Path, twin_file: Path, about: dict[str, str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All methods' images of one scan, on its own grid and through the same return path."""
    from bids_harmony.imaging.mask import BrainMask
    from bids_harmony.imaging.native import return_to_native
    from bids_harmony.imaging.prepared import prepare
    from bids_harmony.imaging.reference import REFERENCE, reference_grid
    from bids_harmony.imaging.registration import read_transform
    from bids_harmony.imaging.volume import read_volume
    from bids_harmony.methods import load_harmonizer

    where = twin_file.parent.relative_to(folder / "twins")
    stem = twin_file.name.split("_desc-")[0]
    modality = about["modality"]
    source = read_volume(folder / "bids" / where / f"{stem}_{modality}.nii.gz")
    out = folder / "out" / where
    kind = "" if modality == "T1w" else modality
    mask = BrainMask(read_volume(out / f"{stem}_desc-brain{kind}_mask.nii.gz").data > 0, "given")
    transform = read_transform(out / f"{stem}_from-{modality}_to-{REFERENCE}_mode-image_xfm.txt")
    models = folder / "out" / "models"
    images = {"none": source.data}
    for method in (*_BASELINES, "ihf"):
        harmonizer = load_harmonizer(method, models)
        prepared = prepare(source, mask, transform, reference_grid(harmonizer.voxel_mm))
        applied = harmonizer.apply(
            prepared, modality=modality, source_site=about["site"], target_site=_TARGET
        )
        row = _ADAPTED if method == "ihf" else method
        images[row] = return_to_native(source, mask, prepared, applied.data).data
    ours = out / f"{stem}_desc-harmonized{_TARGET}_{modality}.nii.gz"
    images["ihf"] = read_volume(ours).data
    # Part of any gain may be denoising: the controls are blurred as well.
    images["blur"] = _blurred(source.data, mask.data)
    for method in _BASELINES[1:]:
        images[f"{method}+blurred"] = _blurred(images[method], mask.data)
    return images, mask.data


def _blurred(data: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Smooth inside the brain."""
    weight = gaussian_filter(mask.astype(np.float32), _BLUR_VOXELS)
    smooth = gaussian_filter(np.where(mask, data, 0), _BLUR_VOXELS) / np.maximum(weight, 1e-3)
    return np.where(mask, smooth, data)


def _middle(images: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, np.ndarray]:
    k = int(np.argmax(mask.sum(axis=(0, 1))))
    return {name: data[:, :, k] / np.percentile(data[mask], 99.5) for name, data in images.items()}


def _picture(folder: Path, pictures: dict[str, dict[str, np.ndarray]]) -> None:
    from bids_harmony.reports.mosaic import mosaic_figure

    (folder / "figures").mkdir(exist_ok=True)
    names = {
        "none": "source",
        "histogram-relative": "closed form",
        "ihf": f"harmonized to {_TARGET}",
        "twin": f"ground truth at {_TARGET}",
    }
    table = {row: {names[k]: v for k, v in cut.items()} for row, cut in pictures.items()}
    mosaic_figure(table, folder / "figures" / "travelling.png", title="One person, every site")


def _means(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Mean and standard deviation over scans, by modality, method and variant, best RMSE last."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["modality"], row["method"], row["variant"]), []).append(row)
    order = {name: n for n, name in enumerate(("none", "blur", *_BASELINES, "ihf", _ADAPTED))}
    for modality, method, variant in sorted(
        groups, key=lambda k: (k[0], order.get(k[1], len(order)), k[2])
    ):
        own = groups[modality, method, variant]
        mean = {name: float(np.mean([row[name] for row in own])) for name, *_ in _COLUMNS}
        spread = {f"{n}_sd": float(np.std([row[n] for row in own])) for n, *_ in _COLUMNS}
        key = {"method": method, "variant": variant, "modality": modality, "scans": len(own)}
        yield key | mean | spread


def _label(row: dict[str, Any]) -> str:
    return row["method"] + ("" if row["variant"] == "sharp" else f", {row['variant']}")


def _markdown(means: list[dict[str, Any]]) -> str:
    """The table for people who read the results folder."""
    lines = [
        "| contrast | method | scans | " + " | ".join(title for _, title, _ in _COLUMNS) + " |",
        "| --- | --- | ---: |" + " ---: |" * len(_COLUMNS),
    ]
    for row in means:
        cells = [
            f"{form.format(row[name])} ± {form.format(row[f'{name}_sd'])}"
            for name, _, form in _COLUMNS
        ]
        lines.append(
            f"| {row['modality']} | {_label(row)} | {row['scans']} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines) + "\n"


def _report(folder: Path, rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    means = list(_means(rows))
    record = {
        "name": "demo",
        "command": "python -m lab.demo " + " ".join(sys.argv[1:]),
        "commit": os.environ.get("GIT_COMMIT", ""),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "versions": {n: version(n) for n in ("bids_harmony", "torch", "numpy", "antspyx")},
        "seeds": [_SEED],
        "options": {k: str(v) for k, v in vars(options).items() if k != "folder"},
        "rows": means,
        "scans": rows,
    }
    (folder / "table.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(_markdown(means), encoding="utf-8")
    head = f"{'':4} {'method':26}" + "".join(f"{title:>17}" for _, title, _ in _COLUMNS)
    print("\nSimilarity to the true image at COI, inside the brain (range of an image: 0 to 1)")
    print(head)
    for row in means:
        figures = "".join(f"{form.format(row[name]):>17}" for name, _, form in _COLUMNS)
        print(f"{row['modality']:4} {_label(row):26}{figures}")
    print(
        "\nnone: the raw scan. ihf: the model in the package, untrained on this cohort; "
        "ihf-adapted: after\ntraining. ceiling: a second, noisy scan at COI itself.\n"
        f"images:  {folder / 'out'}\nfigures: {folder / 'out'} (sub-*/figures, figures), "
        f"{folder / 'figures' / 'travelling.png'}\ntable:   {folder / 'table.json'}\n"
        "Research software, not for diagnosis."
    )


if __name__ == "__main__":
    sys.exit(main())
