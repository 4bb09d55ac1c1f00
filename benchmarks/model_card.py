"""Write the card of the shipped model from the committed results.

    python benchmarks/model_card.py

Reads ``pretrain.json``, ``weights.json`` and ``travelling.json`` of ``benchmarks/results``, writes
``bids_harmony/data/model/README.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from travelling_cohort import TARGET
from travelling_tables import cell, markdown, seed_value, selected

from bids_harmony.io.atomic import write_atomically
from bids_harmony.model.shipped import MRI_ENCODER_SHA256, SHIPPED_MODEL

RESULTS = Path(__file__).resolve().parent / "results"
_METHODS = ("none", "histogram", "histogram-tissue", "ihf", "ihf-adapted", "ceiling")
_DRAWS = {
    "wide": "wide ranges", "real": "what real scanners show",
    "both": "wide ranges and from what real scanners show, by turns",
}  # fmt: skip
_FIGURES = ("rmse", "psnr_db", "ms_ssim", "lpips")


def main() -> None:
    """Write the card."""
    recipe = json.loads((RESULTS / "pretrain.json").read_text())
    weights = json.loads((RESULTS / "weights.json").read_text())
    travelling = json.loads((RESULTS / "travelling.json").read_text())
    lines = [*_about(recipe), *_unseen(weights), *_numbers(travelling), *_limits()]
    path = SHIPPED_MODEL / "README.md"
    write_atomically(path, "\n".join(lines).encode() + b"\n")
    print(path)


def _about(recipe: Mapping[str, Any]) -> list[str]:
    plan, row = recipe["plan"], recipe["rows"][0]
    versions = ", ".join(f"{k} {v}" for k, v in recipe["versions"].items())
    maps = ", ".join(recipe.get("label_maps", [])) or "none"
    return [
        "# Model card: the shipped networks of bids_harmony",
        "",
        "Two IHF-Harmony networks, preset `local`, trained on simulated scans of simulated "
        "people; the mean of what they change is applied, its curve over intensity as far as both "
        "agree. They "
        "know no site: a site's profile is made from a handful of its scans. Research "
        "software, not for diagnosis.",
        "",
        f"* recipe of the first: `{recipe['command']}`, seed {recipe['seeds'][0]}, "
        f"{recipe['date']}",
        *_started_from(recipe),
        f"* machine: {recipe['machine']}; {versions}; {row['minutes']:.0f} minutes for "
        f"{row['steps']} steps of eight slices, after the simulation",
        f"* recipe of the second: `{recipe['beside']['command']}`, sha256 "
        f"{recipe['beside']['sha256'][:16]}..., on scanners of wide ranges alone",
        f"* people of the first: {plan['training_people']} of the ICBM152 tissue maps (through "
        "nilearn) and "
        f"{plan['people_per_source']} of every whole-head label map ({maps}; Apache-2.0), "
        "deformed at random, every second one with lesions; profiles and validation are of others",
        f"* scanners of the first: {plan['training_scanners']} for training and "
        f"{plan['validation_scanners']} for validation, drawn from "
        f"{_DRAWS[plan.get('scanners_like', 'wide')]}, profiles of each: "
        f"{plan.get('profiles_per_scanner', 1)}; "
        f"contrasts {', '.join(sorted(set(plan['modalities'])))} at {plan['voxel_mm']:g} mm. "
        "Field strength, sequence and parameters, receive and transmit field, noise (Rician), "
        "sharpness, thick slices, intensity curve and gain are drawn. It sees the brain alone: "
        "skull, skull-stripping and defacing make no difference to it",
        f"* loss: mean absolute + {recipe['loss']['squared']:g} x mean squared error to the "
        "noise-free synthetic twin, at the level of the closed form",
        f"* encoder: `mri`, sha256 {MRI_ENCODER_SHA256[:16]}...; weights in half precision, "
        f"sha256 {recipe['sha256'][:16]}...",
        "* licence: Apache-2.0, as the package",
        "",
    ]


def _unseen(weights: Mapping[str, Any]) -> list[str]:
    """Gain on people and scanners that no training drew, as the model is shipped."""
    rows = [row for row in weights["rows"] if row["by"] == "scanners and contrast"]
    body = [[row["group"], str(row["n"]), f"{row['gain_db']['shipped']:+.1f}"] for row in rows]
    return [
        "On people and scanners that no training drew (`python benchmarks/weights.py`), gain over "
        "the closed form in RMSE to the twin:",
        "",
        *markdown(["scanners and contrast", "pairs", "dB"], body),
    ]


def _started_from(recipe: Mapping[str, Any]) -> list[str]:
    """The trainings before, the last first."""
    lines, before = [], recipe.get("started_from")
    while before:
        lines.append(f"* before that: `{before['command']}`, sha256 {before['sha256'][:16]}...")
        before = before.get("started_from")
    return lines


def _numbers(travelling: Mapping[str, Any]) -> list[str]:
    rows = [r for r in travelling["rows"] if r["site"] != TARGET and r["fields"]]
    lines = [
        "## Travelling subjects",
        "",
        f"`{travelling['command']}`, scanners with receive fields; more in "
        "benchmarks/results/travelling.md. `ihf` is this model as shipped, with profiles of five "
        "people a site; `ihf-adapted` after the level train on those.",
        "",
    ]
    for modality in ("T1w", "T2w"):
        body = [
            [method, *(cell(seed_value(own, f), f) for f in _FIGURES)]
            for method in _METHODS
            if (own := _own(rows, method, modality))
        ]
        lines += [f"### {modality}", "", *markdown(["method", *_FIGURES], body)]
    return lines


def _own(rows: Sequence[Mapping[str, Any]], method: str, modality: str) -> list[Any]:
    return selected(rows, method=method, modality=modality, variant="sharp")


def _limits() -> list[str]:
    return [
        "## Limits",
        "",
        "* Trained on simulations at 2 mm; what it does on real scans stands in docs/evidence.md.",
        "* Children, tumours, resections, contrast agents and movement were not simulated. The "
        "out-of-distribution score in the sidecars is a warning, no guarantee.",
        "* A scan can lose noise that the target site's scans have: the twin is noise-free.",
    ]


if __name__ == "__main__":
    main()
