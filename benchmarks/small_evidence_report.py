"""Table and figure of the benchmark of small and bad evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from small_evidence_cells import CASES

__all__ = ["draw_figure", "page"]

Row = Mapping[str, Any]
#: What is asked: no cell below raw by more, dB; change of one scanner under two names, percent of
#: the range by people behind the profiles.
WORST_DB = -0.1
MOST_CHANGE = {5: 1.0, 20: 0.5}
_SHOWN = ("ihf", "ihf-before", "histogram-tissue", "histogram-relative")


def page(rows: Sequence[Row], name: str) -> str:
    """Markdown: gain over raw of every case and method, worst cell beside the mean."""
    seeds = sorted({r["seed"] for r in rows if "seed" in r})
    parts = [
        "# Small and bad evidence\n",
        f"Mean gain in PSNR over the scan as it is, dB, and the worst cell (one source scanner, "
        f"one seed) in brackets; seeds {', '.join(map(str, seeds))}. No cell may be below "
        f"{WORST_DB} dB. Rows of single cells are in `{name}.json`.\n",
        *(f"- {case}: {about}." for case, about in CASES.items()),
    ]
    for modality in dict.fromkeys(r["modality"] for r in rows):
        own = [r for r in rows if r["modality"] == modality]
        methods = [m for m in dict.fromkeys(r["method"] for r in own) if m != "none"]
        parts += [
            f"\n## {modality}\n",
            "| case | people | raw dB | " + " | ".join(methods) + " |",
            "| --- | ---: | ---: |" + " ---: |" * len(methods),
        ]
        for case, people in dict.fromkeys((r["case"], r["profile_people"]) for r in own):
            same = [r for r in own if (r["case"], r["profile_people"]) == (case, people)]
            raw = np.mean([r["psnr_db_raw"] for r in same])
            cells = [_gain([r for r in same if r["method"] == m]) for m in methods]
            parts.append(f"| {case} | {people} | {raw:.2f} | " + " | ".join(cells) + " |")
    parts += ["\n## One scanner under two names: RMS change, percent of the range\n"]
    parts += _changes(rows)
    return "\n".join(parts) + "\n"


def _gain(rows: Sequence[Row]) -> str:
    gains = [r["psnr_db"] - r["psnr_db_raw"] for r in rows]
    return f"{np.mean(gains):+.2f} ({min(gains):+.2f})" if gains else ""


def _changes(rows: Sequence[Row]) -> list[str]:
    own = [r for r in rows if r["case"] == "two names" and r["method"] != "none"]
    counts = sorted({r["profile_people"] for r in own})
    lines = [
        "| contrast | method | " + " | ".join(f"profiles of {n}" for n in counts) + " |",
        "| --- | --- |" + " ---: |" * len(counts),
    ]
    for modality, method in dict.fromkeys((r["modality"], r["method"]) for r in own):
        found = [
            [
                r["rms_change_percent"]
                for r in own
                if (r["modality"], r["method"], r["profile_people"]) == (modality, method, n)
            ]
            for n in counts
        ]
        cells = " | ".join(f"{np.mean(f):.2f}" if f else "" for f in found)
        lines.append(f"| {modality} | {method} | {cells} |")
    return lines


def draw_figure(rows: Sequence[Row], path: Path) -> None:
    """Gain over raw of every cell, by case; the band is what no cell may leave."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    methods = [m for m in _SHOWN if any(r["method"] == m for r in rows)]
    modalities = list(dict.fromkeys(r["modality"] for r in rows))
    places = list(dict.fromkeys((r["case"], r["profile_people"]) for r in rows))
    places.sort(key=lambda place: (place[0].startswith("real"), list(CASES).index(place[0])
                                   if place[0] in CASES else 0, place[1]))  # fmt: skip
    figure, axes = plt.subplots(
        1, len(modalities), figsize=(3.6 * len(modalities) + 2, 0.32 * len(places) + 1.6),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, modality in zip(axes[0], modalities, strict=True):
        for number, method in enumerate(methods):
            shift = (number - (len(methods) - 1) / 2) * 0.2
            own = [r for r in rows if (r["modality"], r["method"]) == (modality, method)]
            gains = [r["psnr_db"] - r["psnr_db_raw"] for r in own]
            heights = [places.index((r["case"], r["profile_people"])) + shift for r in own]
            axis.plot(gains, heights, ".", ms=4, alpha=0.7, label=method, color=f"C{number}")
        axis.axvline(0, color="0.6", lw=0.8)
        axis.axvline(WORST_DB, color="0.2", lw=0.8, ls=":")
        axis.set(title=modality, xlabel="PSNR over raw, dB")
        axis.set_xscale("symlog", linthresh=2)
    axes[0, 0].set_yticks(range(len(places)), [f"{case}, {n}" for case, n in places])
    axes[0, 0].invert_yaxis()
    axes[0, -1].legend(fontsize=7, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
