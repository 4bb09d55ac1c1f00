"""From the record of the article's experiment to Markdown and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from article_figures import BOUNDS, bars_figure, curves_figure
from article_parts import FIGURES, LOSSES, all_parts, is_done
from travelling_cohort import TARGET
from travelling_figures import densities_figure
from travelling_tables import Row, cell, heading, markdown, seed_value, selected

from bids_harmony.io.atomic import write_atomically

__all__ = ["ORDER", "write_report"]

#: Of figure 3c; `paper` is the row of table 1 with both losses.
ORDER = (
    "raw", "histogram", "ssimh", "cgan", "simix", "paper", "paper-vgg", "histogram-ratio",
    "histogram-fit", "histogram-tissue", "histogram-relative", "local", "local-trained", *BOUNDS,
)  # fmt: skip
_ARTICLE = {
    "neither loss": (0.4196, 7.54), "a first loss alone": (0.1157, 18.73),
    "the other alone": (0.0935, 20.58), "both": (0.0612, 24.59),
}  # fmt: skip
_MISSING = (
    "Figure 2 (three vendors, one model for T1w, T2w and diffusion-weighted images)",
    "Figure 4 (FA, NDI and ODI, volume by volume)",
    "One model for all contrasts, a single target image, and the other recursions",
)


def write_report(record: Mapping[str, Any], folder: Path) -> Path:
    """Write ``article.md`` and ``figures/article_*.png``.

    Parameters
    ----------
    record : mapping
        ``rows`` and ``runs``; what is missing is said to be missing.
    folder : Path

    Returns
    -------
    Path
        The Markdown file.
    """
    rows, runs = record.get("rows", []), record.get("runs", {})
    modalities = [m for m in ("T1w", "T2w") if selected(rows, modality=m)]
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    lines = _head(record)
    lines += ["## What is not there", "", *_missing(record)]
    lines += ["## Table 1: the two losses", "", *_losses(rows, modalities)]
    lines += ["## Figure 3c: every method", ""]
    for modality in modalities:
        lines += _methods(rows, modality, folder)
    lines += ["## Figure 3b: densities", ""]
    for modality in modalities:
        lines += _densities(record, modality, folder)
    lines += ["## Learning curves", "", *_curves(runs, folder)]
    lines += ["## Tried and left", "", *_tried(record)]
    path = folder / "article.md"
    write_atomically(path, "\n".join(lines).rstrip().encode() + b"\n")
    return path


def _head(record: Mapping[str, Any]) -> list[str]:
    runs = record.get("runs", {})
    commits = sorted({run["commit"][:10] for run in runs.values()})
    machines = sorted({str(run["machine"]["processor"]) for run in runs.values()})
    scans = {own["scans"] for run in runs.values() for own in run["scores"].values()}
    return [
        "# The article's own experiment",
        "",
        "Made from `article.json` by `python benchmarks/article.py --table-only`; do not edit. "
        "Everything is simulated. Research software, not for diagnosis.",
        "",
        f"* command: `{record.get('command', 'unknown')}`; parts were run one by one, at commits "
        f"{', '.join(commits) or 'unknown'}",
        f"* machine: {', '.join(machines) or 'unknown'}; hours are those of one core",
        "* cohort: nine source sites and COI, 3 T, drawn from the distribution fitted to real "
        "scanners; five training scans a site, nobody scanned twice; five other people at every "
        "site for cGAN and SiMix; three for validation, which are watched only; 2 mm",
        f"* scored: nine travellers who never train, each at three of the nine sites "
        f"({', '.join(map(str, sorted(scans))) or 'no'} scans a contrast), against the noise-free "
        "image of the target, inside the brain, each image scaled by its own 99.5th percentile",
        "* `flattened`: all of validation in the last fifth of the training lies within 0.1 dB. "
        "Rates fall to 0 at the end of every training, which helps a curve to rest",
        "* seeds: of the training (start and order); cohort and travellers are the same for all",
        "",
    ]


def _missing(record: Mapping[str, Any]) -> list[str]:
    left = [part for part in all_parts() if not is_done(record, part)]
    hours = sum(part.minutes for part in left) / 60
    lines = [f"* {what}: not begun." for what in _MISSING]
    if left:
        lines.append(
            f"* {len(left)} of {len(all_parts())} parts of table 1 and figure 3, "
            f"{hours:.1f} hours of one core: " + ", ".join(f"`{part.key}`" for part in left) + "."
        )
    return [*lines, ""]


def _losses(rows: Sequence[Row], modalities: Sequence[str]) -> list[str]:
    told = "; ".join(f"{name} {rmse} / {psnr} dB" for name, (rmse, psnr) in _ARTICLE.items())
    lines = [
        f"The article's (RMSE / PSNR, other people, scanners and scaling): {told}.",
        "",
    ]
    body = []
    for modality in modalities:
        for method in ("paper", "paper-vgg"):
            for losses in LOSSES:
                own = selected(
                    rows, part="table1", method=method, losses=losses, modality=modality
                )
                if own:
                    body.append([modality, method, losses, *_figures(own)])
    return [*lines, *markdown(["contrast", "method", "losses", *_HEADS], body, words=3)]


_HEADS = [*map(heading, FIGURES), "seeds", "slices", "hours", "flattened"]


def _figures(rows: Sequence[Row]) -> list[str]:
    rests = [row["flattened"] for row in rows if row["flattened"] is not None]
    return [
        *(cell(seed_value(rows, figure), figure) for figure in FIGURES),
        str(len(rows)),
        f"{rows[0]['slices_seen']:,}",
        f"{np.mean([row['hours'] for row in rows]):.2f}",
        "–" if not rests else "yes" if all(rests) else "no" if not any(rests) else "some",
    ]


def _of_method(rows: Sequence[Row], modality: str) -> dict[str, list[Row]]:
    """Rows by method, in the order of the figure."""
    found = {}
    for method in ORDER:
        own = selected(rows, method=method, modality=modality)
        own = [row for row in own if row["losses"] in ("", "both")]
        if own:
            found[method] = own
    return found


def _methods(rows: Sequence[Row], modality: str, folder: Path) -> list[str]:
    found = _of_method(rows, modality)
    picture = folder / "figures" / f"article_methods_{modality}.png"
    values = {f: {m: [row[f] for row in own] for m, own in found.items()} for f in FIGURES}
    bars_figure(list(found), values, f"Travellers, {modality}: every method", picture)
    body = [[method, *_figures(own)] for method, own in found.items()]
    return [
        f"### {modality}",
        "",
        *markdown(["method", *_HEADS], body),
        f"![{modality}](figures/{picture.name})",
        "",
    ]


def _densities(record: Mapping[str, Any], modality: str, folder: Path) -> list[str]:
    runs = record["runs"]
    of = {
        method: own["densities"]
        for key, run in runs.items()
        if f"/{modality}/" in key and "/seed-0" in key and run.get("scores")
        for method, own in run["scores"].items()
        if "/both/" in key or method not in ("paper", "paper-vgg")
    }
    untrained = runs.get(f"figure3c/untrained/{modality}/seed-0")
    if untrained is None:
        return [f"{modality}: not run.", ""]
    target = np.array(untrained["target_density"])
    grid = np.array(record["density_grid"])
    step, body, lines = float(np.diff(grid).mean()), [], []
    for method in [m for m in ORDER if m in of and m not in BOUNDS]:
        apart = [step * np.abs(np.array(c) - target).sum() / 2 for c in of[method].values()]
        body.append([method, f"{np.mean(apart):.3f}", f"{np.max(apart):.3f}"])
    for method in ("paper", "local"):
        if method in of:
            picture = folder / "figures" / f"article_densities_{method}_{modality}.png"
            curves = {
                "grid": grid, "target": target, "before": dict(sorted(of["raw"].items())),
                "after": of[method],
            }  # fmt: skip
            densities_figure(curves, f"Brain intensities, {modality}: {method}", picture)
            lines += [f"![{method}, {modality}](figures/{picture.name})", ""]
    return [
        f"{modality}: share of the density that lies elsewhere than that of {TARGET}, mean of the "
        "nine sites and the worst.",
        "",
        *markdown(["method", "mean", "worst"], body),
        *lines,
    ]


def _tried(record: Mapping[str, Any]) -> list[str]:
    lines = [
        f"* {each['what']}: validation "
        + ", ".join(f"{psnr:.1f} dB at {slices:,.0f}" for slices, _, psnr in each["curve"][::4])
        + f" slices (commit {each['commit'][:10]})."
        for each in record.get("tried", [])
    ]
    return [*(lines or ["Nothing."]), ""]


def _curves(runs: Mapping[str, Any], folder: Path) -> list[str]:
    found = {key: run["curve"] for key, run in runs.items() if len(run.get("curve", [])) > 1}
    if not found:
        return ["None yet.", ""]
    panels: dict[str, dict[str, Any]] = {}
    body = []
    for key, curve in found.items():
        *words, modality, seed = key.split("/")
        name = " ".join(words[1:])
        if seed == "seed-0":
            panels.setdefault(modality, {})[name] = curve
        late = [point[2] for point in curve if point[0] >= 0.8 * curve[-1][0]]
        run = runs[key]
        body.append(
            [f"`{key}`", f"{curve[0][2]:.2f}", f"{max(p[2] for p in curve):.2f}",
             f"{curve[-1][2]:.2f}", f"{max(late) - min(late):.2f}", f"{curve[-1][1] * 60:.0f}",
             f"{run.get('epochs', 0):.2f}", f"{run['peak_mib']:,}",
             f"{run['lambda_art']:.3g}" if "lambda_art" in run else "–"]
        )  # fmt: skip
    picture = folder / "figures" / "article_curves.png"
    curves_figure(panels, picture)
    heads = ["training", "first, dB", "best", "last", "range of the last fifth", "minutes",
             "epochs", "MiB", "weight of the artefact loss"]  # fmt: skip
    return [*markdown(heads, body), f"![curves](figures/{picture.name})", ""]
