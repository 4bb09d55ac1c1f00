"""Table and figure of the pairs of diffusion series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from travelling_tables import markdown

from bids_harmony.reports import paper
from bids_harmony.reports.planes import PLANES, Cell, cut, in_ras, voxel_sizes

__all__ = ["axial_slices", "write_report"]

LIMITS = {"fa": 0.3, "md": 6e-4}
"""Where the colours of a distance end."""
_LAYOUT = paper.Layout(1.0, 0.04, left=1.3, right=0.1, foot=0.3, heading=(9, 0.1))
Array = np.ndarray


def axial_slices(states: dict[str, Any], shared: Array, affine: Array) -> dict[str, Any]:
    """Axial slices of the target's FA and of the distances to it, (up, right)."""
    brain = in_ras(shared, affine)
    picture = cut(brain, brain, voxel_sizes(affine))

    def plane(data: Array) -> Array:
        return picture.plane(in_ras(data * shared, affine), PLANES[0])

    slices: dict[str, Any] = {"voxel": picture.voxel[:2]}
    slices["FA, target"] = plane(states["wanted"]["fa"])
    for name in ("fa", "md"):
        for state in ("before", "after"):
            change = states[state][name] - states["wanted"][name]
            slices[f"{name.upper()}, {state}"] = plane(change / LIMITS[name])
    return slices


def _draw(pictures: dict[str, dict[str, Any]], path: Path) -> None:
    columns = [c for c in next(iter(pictures.values())) if c != "voxel"]
    rows = []
    for slices in pictures.values():
        pixel = tuple(float(size) for size in slices["voxel"])
        rows.append(
            [
                Cell(slices[column], pixel, paper.around_zero(1.0) if i else paper.grey(0.8),
                     None if rows or i else PLANES[0].letters)
                for i, column in enumerate(columns)
            ]
        )  # fmt: skip
    sheet = paper.draw_table(
        rows, _LAYOUT, title="One person scanned twice: distance to the target's scan",
        headings=columns, labels=list(pictures),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(256).save(path, optimize=True)


def write_report(
    record: dict[str, Any], pictures: dict[str, dict[str, Any]], result: Path
) -> None:
    """Write the record, ``diffusion_pairs.md`` and ``figures/diffusion_pairs.png`` beside it."""
    rows, (seed,) = record["rows"], record["seeds"]
    figure = result.parent / "figures" / f"{result.stem}.png"
    _draw(pictures, figure)
    heads = ["person", "way", "mode", "map", "region", "before", "after", "noise alone",
             "bias before", "after", "changed by"]  # fmt: skip
    table = markdown(heads, [_cells(row) for row in rows], words=5)
    differs = ". ".join({f"`{row['person']}`: {row['differs']}": None for row in rows})
    lines = [
        "# One person scanned twice: diffusion", "",
        f"`{record['command']}`: n = 1 person in every row. {differs}. Series as "
        "they came, neither preprocessed nor freed of distortions. One is harmonized to the other "
        "by a run of the program; the person's own scan is all that shows either site, which is "
        "the best case. Distances (RMSE) of its FA, and MD in 1e-3 mm2/s, to those of the "
        "target's scan, halfway between the two after rigid registration of the mean b=0 as it "
        "came; white matter as the mean of both tensors tells it. `noise alone`: what two series "
        f"of the fitted tensors would differ by, with noise as the fits leave it (seed {seed}); "
        "what a tensor cannot describe counts there as noise. `changed by`: RMSE between before "
        "and after. Research software, not for diagnosis.", "",
        "What this cannot show: how sites differ, for there is one person; whether a difference "
        "is the scanner's or the year's (canon01); what the mode `rish` does with gradients and "
        "levels, for it believes no site that one scan shows, and only noise is left to match.",
        "",
        f"![Distances in an axial slice](figures/{figure.name})", "",
        f"Red: above the target's, darkest at {LIMITS['fa']:g} (FA) and "
        f"{1000 * LIMITS['md']:g}e-3 mm2/s (MD); mode `{rows[0]['mode']}`.", "", *table,
    ]  # fmt: skip
    result.with_suffix(".md").write_text("\n".join(lines).rstrip() + "\n")
    result.write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table))


def _cells(row: dict[str, Any]) -> list[str]:
    factor = 1000 if row["map"] == "md" else 1
    figures = ("rmse_before", "rmse_after", "rmse_noise_alone", "bias_before", "bias_after",
               "changed_by")  # fmt: skip
    return [
        row["person"], f"{row['source']} to {row['target']}", row["mode"], row["map"].upper(),
        row["region"],
        *(f"{factor * row[f]:{'+' if f.startswith('bias') else ''}.4f}" for f in figures),
    ]  # fmt: skip
