"""How a person's deviation grows with a scanner's contrast: signal equations and real scanners.

    python benchmarks/contrast_law.py --tables FOLDER

Signal equations: for pairs of random simulated scanners, the factor k on a person's deviation in
log(grey / white) that a regression would find, T1 and T2 of grey and white matter varying alike,
against `sites.contrast_law`; the level p that fits best, to the contrast of the equations and to
that measured in an image of one person at each scanner. Reach: which share of a change of T1 in
grey, and in white matter alone, one k keeps from every named scanner to COI. Real scanners:
within-site spread of log(grey / white) of 1101 people at 17 sites of ABIDE-I against the sites'
contrast (MRIQC measures; ``--tables`` is the folder that holds ``abide.tsv``). Writes JSON and
Markdown to ``benchmarks/results``; only numbers of sites are written, none of people.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from measure import provenance

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import TISSUES, make_anatomy
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.scanner import SITES, Scanner, acquire
from bids_harmony.sites.contrast_law import WITHOUT_WEIGHTING, deviation_gain
from bids_harmony.sites.tissue_profile import contrasts, tissue_profile

RESULTS = Path(__file__).resolve().parent / "results"
_SEED, _SCANNERS = 900_000, 120
#: Scanners that take an image; its voxels in mm.
_IMAGED, _VOXEL_MM = 60, 2.0
_TARGET = "COI"
_TISSUES = ("grey", "white")
#: Lesions of white matter: T1, and T2 from mild to strong, times these (`phantom.pathology`).
_LESION_T1, _LESION_T2 = 1.5, (1.4, 1.8, 2.4)
#: Standard deviation of the logarithm between people: T1, T2, proton density.
_SPREAD = {"t1": 0.03, "t2": 0.03, "density": 0.01}


def main() -> None:
    """Fit, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=Path, help="folder with abide.tsv")
    options = parser.parse_args()
    scanners = [random_scanner(_SEED + i) for i in range(_SCANNERS)]
    modalities = ("T1w", "T2w", "FLAIR")
    rows = []
    for modality in modalities:
        rows.append({"contrast": "equations"} | _equations(scanners, modality))
        imaged = scanners[:_IMAGED]
        shown = _imaged(imaged, modality)
        rows.append({"contrast": "image"} | _equations(imaged, modality, shown))
    sites = _real(options.tables) if options.tables else []
    record = {
        "name": "contrast_law",
        "command": "python benchmarks/contrast_law.py --tables FOLDER",
        "seeds": [_SEED],
        **provenance(("numpy", "scipy", "pandas")),
        "rows": rows,
        "lesions": [row for m in ("T2w", "FLAIR") for row in _lesions(scanners, m)],
        "reach": [row for modality in modalities for row in _reach(modality)],
        "sites": sites,
        "real": _fit(sites) if sites else {},
    }
    (RESULTS / "contrast_law.json").write_text(json.dumps(record, indent=1) + "\n")
    text = _report(record)
    (RESULTS / "contrast_law.md").write_text(text)
    print(text)


def _signal(scanner: Scanner, modality: str, tissue: int, **factors: float) -> float:
    known = TISSUES[tissue]
    field = (scanner.field_tesla / 3) ** (1 / 3)
    signal = scanner.sequences[modality].signal(
        known.t1_ms * field * factors.get("t1", 1.0),
        known.t2_ms * factors.get("t2", 1.0),
        known.density * factors.get("density", 1.0),
        1.0,
    )
    return float(signal) ** scanner.gamma


def _deviations(scanner: Scanner, modality: str) -> np.ndarray:
    """Of log(grey / white) for one standard deviation of each property of each tissue."""
    found = []
    for tissue, sign in ((0, 1), (1, -1)):
        for name, spread in _SPREAD.items():
            up, down = (_signal(scanner, modality, tissue, **{name: f}) for f in (1.02, 0.98))
            found.append(sign * np.log(up / down) / 0.04 * spread)
    return np.array(found)


def _contrast(scanner: Scanner, modality: str) -> float:
    return float(np.log(_signal(scanner, modality, 0) / _signal(scanner, modality, 1)))


def _imaged(scanners: list[Scanner], modality: str) -> np.ndarray:
    """log(grey / white) of one person, as the program measures it."""
    person = make_anatomy(reference_grid(_VOXEL_MM), _SEED)
    found = []
    for number, scanner in enumerate(scanners):
        data = acquire(person, scanner, modality, scan_seed=number)
        scaled = (data / robust_scale(data, person.mask)).astype(np.float32)
        means = tissue_profile(scaled, person.mask, _VOXEL_MM).means
        found.append(contrasts(means)[0])
    return np.array(found)


def _reach(modality: str) -> list[dict[str, Any]]:
    """Share of a change of one tissue's T1 that the law, and the evenest k, keep."""

    def sensitivity(scanner: Scanner, tissue: int) -> float:
        up, down = (_signal(scanner, modality, tissue, t1=f) for f in (1.02, 0.98))
        return float(np.log(up / down))

    goal = SITES[_TARGET]
    rows = []
    for site, scanner in SITES.items():
        if site == _TARGET:
            continue
        wanted = [sensitivity(goal, t) / sensitivity(scanner, t) for t in (0, 1)]
        law = deviation_gain(modality, _contrast(scanner, modality), _contrast(goal, modality))
        even = float(np.sqrt(wanted[0] * wanted[1]))
        rows.append(
            {"modality": modality, "source": site}
            | {
                f"{tissue}_{name}": round(k / wanted[number], 3)
                for name, k in (("law", law), ("evenest", even))
                for number, tissue in enumerate(_TISSUES)
            }
        )
    return rows


def _lesions(scanners: list[Scanner], modality: str) -> list[dict[str, Any]]:
    """Of pairs of scanners: lesion over white matter minus 1, against grey over white minus 1."""
    rows = []
    for t2 in _LESION_T2:
        seen = []
        for scanner in scanners:
            grey, white = (_signal(scanner, modality, tissue) for tissue in (0, 1))
            lesion = _signal(scanner, modality, 1, t1=_LESION_T1, t2=t2)
            seen.append([grey / white - 1, lesion / white - 1])
        # A scanner without contrast says nothing of it.
        logs = np.log([pair for pair in seen if min(pair) > 0.02])
        moved = (logs[:, None] - logs[None])[np.triu_indices(len(logs), 1)]
        low, high = np.quantile(np.exp(np.abs(moved[:, 1])), (0.5, 0.95))
        rows.append(
            {"modality": modality, "t2_factor": t2, "scanners": len(logs)}
            | {"correlation": round(float(np.corrcoef(moved.T)[0, 1]), 3)}
            | {"factor_median": round(float(low), 2), "factor_95": round(float(high), 2)}
        )
    return rows


def _equations(
    scanners: list[Scanner], modality: str, shown: np.ndarray | None = None
) -> dict[str, Any]:
    """The best p; `shown` are contrasts where they are not those of the equations."""
    pure = np.array([_contrast(s, modality) for s in scanners])
    contrast = pure if shown is None else shown
    moves = np.stack([_deviations(s, modality) for s in scanners])
    wanted = (moves @ moves.T) / np.square(moves).sum(axis=1)[:, None]
    # An inversion near the null of grey matter turns contrast round; no law holds there.
    usual = np.median(moves, axis=0)
    usable = (np.abs(pure) < 1) & (moves @ usual > 0.1 * usual @ usual)
    wanted, contrast = wanted[np.ix_(usable, usable)], contrast[usable]

    def error(found: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.square(np.log(found) - np.log(np.maximum(wanted, 0.05))))))

    def ratio(level: float) -> float:
        weighting = contrast - level
        if not (weighting.min() > 0.02 or weighting.max() < -0.02):
            return float("inf")
        return error(weighting[None, :] / weighting[:, None])

    levels = np.linspace(-1, 1, 201)
    best = float(levels[int(np.argmin([ratio(level) for level in levels]))])
    law = np.array([[deviation_gain(modality, a, b) for b in contrast] for a in contrast])
    return {
        "modality": modality,
        "scanners": int(usable.sum()),
        "best_level": round(best, 3),
        "log_error_best": round(ratio(best), 4),
        "log_error_law": round(error(law), 4),
        "log_error_without": round(error(np.ones_like(wanted)), 4),
    }


def _real(folder: Path) -> list[dict[str, Any]]:
    import pandas as pd

    table = pd.read_csv(folder / "abide.tsv", sep="\t", na_values="n/a")
    grey = np.log(table.summary_gm_median / table.summary_wm_median)
    rows = []
    for site, own in grey.groupby(table.site):
        spread = 1.4826 * np.median(np.abs(own - own.median()))
        rows.append(
            {"site": str(site), "n": len(own), "log_contrast": round(float(own.median()), 4),
             "spread": round(float(spread), 4)}
        )  # fmt: skip
    return sorted(rows, key=lambda row: row["log_contrast"])


def _fit(sites: list[dict[str, Any]]) -> dict[str, Any]:
    """Power of the spread in the contrast beyond p; 1 is the law, 0 would be none."""
    from scipy.stats import linregress

    level = WITHOUT_WEIGHTING["T1w"]
    weighting = [np.log(level - row["log_contrast"]) for row in sites]
    found = linregress(weighting, [np.log(row["spread"]) for row in sites])
    return {
        "power": round(float(found.slope), 3),
        "standard_error": round(float(found.stderr), 3),
        "r": round(float(found.rvalue), 3),
        "p": float(f"{found.pvalue:.2g}"),
        "sites": len(sites),
    }


def _report(record: dict[str, Any]) -> str:
    lines = [
        "# A person's deviation against a scanner's contrast",
        "",
        f"`{record['command']}`, seed {record['seeds'][0]}.",
        "",
        "| modality | contrast of | scanners | best p | error of log k at best p | of the law "
        "| of k = 1 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['modality']} | {r['contrast']} | {r['scanners']} | {r['best_level']} "
        f"| {r['log_error_best']} | {r['log_error_law']} | {r['log_error_without']} |"
        for r in record["rows"]
    ]
    lines += [
        "",
        f"What one k can keep of a change of T1 in one tissue alone, to {_TARGET}: by the law, "
        "and by the k that is evenest between the tissues.",
        "",
        "| modality | source | grey, law | white, law | grey, evenest | white, evenest |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['modality']} | {r['source']} | "
        + " | ".join(
            f"{r[f'{tissue}_{k}']:.2f}" for k in ("law", "evenest") for tissue in _TISSUES
        )
        + " |"
        for r in record["reach"]
    ]
    lines += [
        "",
        "Lesions of white matter, from one scanner to another: correlation of the logarithms of "
        "their contrast and of grey matter's, both to white matter, and by which factor theirs "
        "differs.",
        "",
        "| modality | T2 times | scanners | correlation | factor, median | 95 % |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['modality']} | {r['t2_factor']} | {r['scanners']} | {r['correlation']:.2f} "
        f"| {r['factor_median']:.2f} | {r['factor_95']:.2f} |"
        for r in record["lesions"]
    ]
    if record["real"]:
        real = record["real"]
        lines += [
            "",
            f"Real scanners, {real['sites']} sites of ABIDE-I (T1w): the spread between people "
            f"grows with the power {real['power']} (standard error {real['standard_error']}) of "
            f"the contrast beyond p; r = {real['r']}, p = {real['p']}. The law says 1. Sites also "
            "differ in ages and in noise.",
            "",
            "| site | n | log(grey / white) | spread |",
            "| --- | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {r['site']} | {r['n']} | {r['log_contrast']:.3f} | {r['spread']:.3f} |"
            for r in record["sites"]
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
