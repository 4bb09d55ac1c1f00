"""Figures of the group page: what all sites look like, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.quality.distributions import density_of_quantiles
from bids_harmony.reports.mosaic import mosaic_figure
from bids_harmony.reports.paper import (
    BLACK,
    BLUE,
    FAINT,
    GREEN,
    INK,
    SITES,
    VERMILION,
    Sheet,
    plain_axes,
)

__all__ = [
    "STATE_STYLES",
    "Estimate",
    "changes_figure",
    "densities_figure",
    "forest_figure",
    "pairs_figure",
]

# With four strokes, 28 sites are told apart, by colour-blind readers too.
_COLOURS = (*SITES, "#999999")
_STROKES = ("-", "--", "-.", ":")
#: Words, colour and mark of every state.
STATE_STYLES = {
    "source": ("before", BLUE, "o"),
    "harmonized": ("after", VERMILION, "D"),
    "combat": ("before, with ComBat", GREEN, "s"),
}
_POINTS = 300


class Estimate(NamedTuple):
    """A value with its interval, drawn as one of the states."""

    state: str
    value: float
    low: float
    high: float


def densities_figure(
    before: Mapping[str, Sequence[ArrayLike]],
    after: Mapping[str, Sequence[ArrayLike]],
    target: ArrayLike | None,
    target_name: str,
    path: Path,
) -> None:
    """Draw mean intensity densities of all sites, before and after, against the target's.

    Parameters
    ----------
    before, after : mapping of site to quantiles of every scan
        Evenly from probability 0 to 1, in fractions of one scale per scan.
    target : array-like, optional
        Quantiles of the target site.
    target_name : str
    path : Path
    """
    quantiles = [np.asarray(q) for own in (before, after) for qs in own.values() for q in qs]
    # The 99th percentile of the brightest scan; single bright voxels would flatten the rest.
    top = 1.15 * max(float(np.interp(0.99, np.linspace(0, 1, q.size), q)) for q in quantiles)
    grid = np.linspace(0, top, _POINTS)
    names = list(dict.fromkeys([*before, *after]))
    rows = -(-(len(names) + 1) // 5)
    sheet = Sheet(10.0, 3.6 + 0.22 * rows)
    highest = 0.0
    panels = []
    for index, (heading, sites) in enumerate((("before", before), ("after", after))):
        panel = sheet.panel(0.4 + 4.85 * index, 0.75 + 0.22 * rows, 4.5, 2.5)
        for site, curve in ((s, _mean_density(sites[s], grid)) for s in names if s in sites):
            colour, stroke = _line(names.index(site))
            panel.plot(grid, curve, color=colour, linestyle=stroke, linewidth=1.4, label=site)
            highest = max(highest, float(curve.max()))
        if target is not None:
            curve = density_of_quantiles(target, grid)
            panel.plot(grid, curve, color=BLACK, linewidth=2.4, label=f"{target_name} (target)")
            highest = max(highest, float(curve.max()))
        panel.set_title(heading, fontsize=11, color=INK)
        plain_axes(panel, "intensity, fraction of each scan's scale")
        panel.set(xlim=(0, top), yticks=[])
        panels.append(panel)
    for panel in panels:
        panel.set_ylim(0, 1.05 * highest)
    handles, labels = panels[0].get_legend_handles_labels()
    sheet.figure.legend(
        handles, labels, loc="lower center", ncol=5, frameon=False, fontsize=8,
        labelcolor=INK, bbox_to_anchor=(0.5, 0.06),
    )  # fmt: skip
    sheet.save(path)


def forest_figure(
    rows: Mapping[str, Sequence[Estimate]],
    path: Path,
    label: str,
    *,
    line: float | None = None,
    line_name: str = "",
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw estimates with their intervals, one row per name.

    Parameters
    ----------
    rows : mapping of row name to estimates
    path : Path
    label : str
        Of the axis, with its unit.
    line : float, optional
        A vertical line, such as chance.
    line_name : str
    limits : (float, float), optional
        Of the axis; what lies beyond is drawn up to it.
    """
    left, row_height = 2.1, 0.42
    height = 1.35 + row_height * len(rows)
    sheet = Sheet(8.2, height)
    panel = sheet.panel(left, 0.75, 5.8, height - 1.2)
    shown: dict[str, Any] = {}
    for y, estimates in enumerate(rows.values()):
        for k, estimate in enumerate(estimates):
            words, colour, mark = STATE_STYLES[estimate.state]
            at = y + 0.22 * (k - (len(estimates) - 1) / 2)
            ends = np.clip([estimate.low, estimate.high], *(limits or (-np.inf, np.inf)))
            panel.plot(ends, [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
            (dot,) = panel.plot(
                [estimate.value], [at], mark, color=colour, markersize=5, clip_on=False
            )
            shown.setdefault(words, dot)
    if line is not None:
        panel.axvline(line, color=FAINT, linewidth=1, linestyle="--")
        panel.text(
            line, -0.75, f" {line_name}", fontsize=8, color=FAINT, va="center", clip_on=False
        )
    panel.set_yticks(range(len(rows)), list(rows), fontsize=9, color=INK)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    if limits is not None:
        panel.set_xlim(*limits)
    plain_axes(panel, label)
    if len(shown) > 1:
        panel.legend(
            shown.values(), shown, frameon=False, fontsize=8, labelcolor=INK, ncol=len(shown),
            loc="lower right", bbox_to_anchor=(1, 1),
        )  # fmt: skip
    sheet.save(path)


def changes_figure(changes: Mapping[str, NDArray], path: Path) -> None:
    """Draw every site's mean change in three slices.

    Parameters
    ----------
    changes : mapping of site to (X, Y, Z) float
        On the reference grid in RAS order, in blocks of 4 mm; fractions of the scans' scale.
    path : Path
    """
    rows = {}
    for site, change in changes.items():
        y, z = change.shape[1] // 2, change.shape[2]
        rows[site] = {
            "lower axial": change[:, :, int(0.45 * z)],
            "upper axial": change[:, :, int(0.6 * z)],
            "coronal": change[:, y],
        }
    mosaic_figure(rows, path, change_label="mean change (fraction of scale)", pixel_mm=4.0)


def pairs_figure(
    rows: Sequence[tuple[str, float, float]], floor: Sequence[float], path: Path, label: str
) -> None:
    """Draw every scan's figure before and after, joined by a line.

    Parameters
    ----------
    rows : sequence of (site, before, after)
    floor : sequence of float
        Of repeated scans at the target.
    path : Path
    label : str
        Of the axis, with its unit.
    """
    sheet = Sheet(6.4, 4.0)
    panel = sheet.panel(0.8, 0.7, 3.6, 3.0)
    names = list(dict.fromkeys(site for site, _, _ in rows))
    for site, before, after in rows:
        colour, stroke = _line(names.index(site))
        panel.plot([0, 1], [before, after], color=colour, linestyle=stroke, marker="o",
                   markersize=4, linewidth=1.2, label=site)  # fmt: skip
    for value in floor:
        panel.plot([1.12], [value], "_", color=BLACK, markersize=12, label="rescan at the target")
    panel.set_xticks([0, 1], ["before", "after"], fontsize=9, color=INK)
    panel.set_xlim(-0.15, 1.25)
    panel.set_ylim(bottom=0)
    plain_axes(panel, up=label)
    handles, labels = panel.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    sheet.figure.legend(
        once.values(), once, loc="center right", frameon=False, fontsize=8, labelcolor=INK
    )
    sheet.save(path)


def _mean_density(scans: Sequence[ArrayLike], grid: NDArray) -> NDArray[np.float64]:
    return np.mean([density_of_quantiles(q, grid) for q in scans], axis=0)


def _line(index: int) -> tuple[str, str]:
    return _COLOURS[index % len(_COLOURS)], _STROKES[index // len(_COLOURS) % len(_STROKES)]
