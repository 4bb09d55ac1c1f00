"""Table and figure of the biology benchmark, from its record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from biology_diffusion_data import EFFECTS
from biology_measures import MEASURE_OF
from travelling_tables import markdown, split

__all__ = ["write_report"]

Row = Mapping[str, Any]

_EFFECTS = {
    "grey_t1": "T1 of grey matter",
    "white_t1": "T1 of white matter",
    "deep_t2": "T2 of deep grey matter",
    "atrophy": "atrophy",
    "lesions_ml": "load of lesions",
}
#: A slope of the truth that is not sure by so much has no share to keep.
SURE = 1e-3


def write_report(record: Mapping[str, Any], result: Path) -> None:
    """Write ``biology.md`` and ``figures/biology.png`` beside the record."""
    lines = [
        "# Effects of biology kept, sites gone",
        "",
        f"`{record['command']}`, commit {record['commit'][:10]}, {record['date']}, seeds "
        f"{', '.join(map(str, record['seeds']))}. Simulated people, each scanned at four sites "
        "and harmonized to COI.",
        "",
        "Slope kept: slope of the measure on the planted effect after harmonization, over that of "
        "the noise-free truth at the target; multiple regression on all effects, mean over sites, "
        "median over seeds, and Fieller's 95 % interval of all seeds together. Atrophy is the "
        "log-odds of true CSF in the brain. In brackets: the truth itself shows no sure slope "
        "(p > 0.001), so there is nothing to keep. Person: correlation of each person's deviation "
        "with the truth. Site: variance of the measure between sites (target included) on the "
        "same people, share of raw. `ceiling`: the person's own noisy scan at the target.",
        "",
        *([record["note"], ""] if record.get("note") else []),
    ]
    images = [r for r in record["rows"] if r["effect"] in MEASURE_OF]
    for (modality,), part in split(images, "modality").items():
        lines += [f"## {modality}", "", *_table(part)]
    diffusion = [r for r in record["rows"] if r["effect"] in EFFECTS]
    if diffusion:
        lines += [
            "## Diffusion",
            "",
            "Medians of white matter; effects are its true NDI and ODI. `none` is raw.",
            "",
            *_diffusion(diffusion),
        ]
    lines += ["## Contrasts of tissues between sites", "", *_contrasts(record["contrasts"])]
    segmented = [r for r in record["rows"] if "segmented" in r["effect"]]
    if segmented:
        lines += [
            "## Segmented volumes",
            "",
            "N4 and Atropos of ANTs with the template's tissues. CoV: between sites, of one "
            "person, target included.",
            "",
            *_volumes(segmented),
        ]
    lines += ["![Slope kept](figures/biology.png)", ""]
    result.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")
    _figure(record["rows"], result.parent / "figures" / f"{result.stem}.png")


def _share(row: Row) -> str:
    if row["slope_kept"] is None:
        return "–"
    ends = [row[f"slope_kept_{end}"] for end in ("low", "high")]
    known = "any" if None in ends else f"{ends[0]:.2f} to {ends[1]:.2f}"
    text = f"{row['slope_kept']:.2f} ({known})"
    return text if row["truth_p"] < SURE else f"[{text}]"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _table(rows: Sequence[Row]) -> list[str]:
    lines = []
    for (method,), part in split(rows, "method").items():
        by_effect = {r["effect"]: r for r in part if r["effect"] in MEASURE_OF}
        if not by_effect:
            continue
        first = next(iter(by_effect.values()))
        cells = [method, _number(first.get("psnr_db"))]
        for effect in MEASURE_OF:
            row = by_effect[effect]
            cells += [_share(row)]
        for effect in ("grey_t1", "deep_t2", "lesions_ml"):
            cells += [_number(by_effect[effect]["person_correlation"], 3)]
            cells += [_number(by_effect[effect]["site_variance_left"])]
        lines.append(cells)
    heads = ["method", "PSNR, dB", *(f"{name}: slope kept" for name in _EFFECTS.values())]
    for measure in ("grey/white", "deep/white", "lesions"):
        heads += [f"{measure}: person", "site"]
    return markdown(heads, lines)


def _diffusion(rows: Sequence[Row]) -> list[str]:
    lines = []
    for (method, name), part in split(rows, "method", "modality").items():
        by_effect = {r["effect"]: r for r in part}
        first = part[0]
        lines.append(
            [method, name, *(_share(by_effect[e]) for e in EFFECTS),
             _number(first["person_correlation"], 3), _number(first["site_variance_left"]),
             str(first["n"])]
        )  # fmt: skip
    heads = ["method", "map", "NDI: slope kept", "ODI: slope kept", "person", "site", "n"]
    return markdown(heads, lines, words=2)


def _contrasts(rows: Sequence[Row]) -> list[str]:
    return markdown(
        ["method", "modality", "contrast", "between sites, sd of log", "between people", "person",
         "site"],
        [
            [r["method"], r["modality"], r["contrast"].replace("_", "/"),
             _number(r["site_sd"], 3), _number(r["person_sd"], 3),
             _number(r["person_correlation"], 3), _number(r["site_variance_left"])]
            for r in rows
        ],
        words=3,
    )  # fmt: skip


def _volumes(rows: Sequence[Row]) -> list[str]:
    raw = {r["effect"]: r["site_cov"] for r in rows if r["method"] == "none"}
    lines = []
    for r in rows:
        before = raw.get(r["effect"])
        share = r["site_cov"] / before if before else None
        lines.append(
            [r["method"], r["measure"].removesuffix("_ml"), f"{100 * r['site_cov']:.1f} %",
             _number(share), r["effect"].partition(" ")[0], _share(r),
             _number(r["person_correlation"], 3), str(r["n"])]
        )  # fmt: skip
    heads = ["method", "measure", "CoV", "share of raw", "effect", "slope kept", "person", "n"]
    return markdown(heads, lines, words=2)


def _figure(rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    shown = [r for r in rows if r["effect"] in MEASURE_OF and r["slope_kept"] is not None]
    if not shown:
        return
    modalities = list(dict.fromkeys(r["modality"] for r in shown))
    methods = list(dict.fromkeys(r["method"] for r in shown))
    figure = Figure(figsize=(13, 1 + len(modalities) * (0.8 + 0.22 * len(methods))))
    axes = figure.subplots(len(modalities), len(MEASURE_OF), sharey=True, squeeze=False)
    for line, modality in zip(axes, modalities, strict=True):
        for axis, (effect, title) in zip(line, _EFFECTS.items(), strict=True):
            axis.axvspan(0.9, 1.1, color="0.9")
            axis.axvline(1, color="0.5", linewidth=0.8)
            axis.set_xlim(-0.5, 2)
            axis.set_title(f"{modality}: {title}", fontsize=8)
            axis.set_yticks(range(len(methods)), methods, fontsize=7)
            axis.tick_params(axis="x", labelsize=7)
            for r in shown:
                if (r["modality"], r["effect"]) == (modality, effect):
                    _mark(axis, r, methods.index(r["method"]))
        line[0].set_ylim(len(methods) - 0.5, -0.5)
    figure.supxlabel("slope kept, share of the truth at the target (grey: not sure)", fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _mark(axis: Any, row: Row, height: int) -> None:
    colour = "C0" if row["truth_p"] < SURE else "0.7"
    low, high = (
        np.clip(limit if row[f"slope_kept_{end}"] is None else row[f"slope_kept_{end}"], -0.5, 2)
        for end, limit in (("low", -0.5), ("high", 2.0))
    )
    axis.plot([low, high], [height, height], color=colour, linewidth=1.5)
    axis.plot(np.clip(row["slope_kept"], -0.5, 2), height, "o", color=colour, markersize=4)
