"""Figures of the travelling-subject benchmark, from its flat rows: dots and densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bids_harmony.reports.paper import BLACK, BLUE, FAINT, INK, SITES, VERMILION, Sheet, plain_axes

__all__ = ["Dot", "densities_figure", "methods_figure", "sites_figure"]

_STROKES = ("-", "--", ":")
_ROW = 0.19  # inches per method
_LEAST_WIDTH = 6.0  # inches, of the key below
_REFERENCES = ("oracle", "ceiling")

#: Method, variant, and PSNR in dB of every seed.
Dot = tuple[str, str, Sequence[float]]


def methods_figure(panels: Mapping[str, Sequence[Dot]], path: Path) -> None:
    """One panel per condition, one line per method: mean PSNR, and every seed as a small tick.

    Parameters
    ----------
    panels : mapping of condition to dots, in the order of the table
    path : Path
        The PNG.
    """
    lines = _lines(panels.values())
    width, left, head = 2.35, 1.75, 0.75
    height = _ROW * len(lines)
    across = max(left + len(panels) * (width + 0.15) + 0.1, _LEAST_WIDTH)
    sheet = Sheet(across, head + height + 1.0)
    sheet.text(0.12, sheet.height - 0.22, "PSNR against the twin, mean over source sites", size=12)
    limits = _limits(panels)
    for index, (name, dots) in enumerate(panels.items()):
        panel = sheet.panel(left + index * (width + 0.15), 0.95, width, height)
        _draw_dots(panel, dots, lines, named=index == 0)
        panel.set_xlim(limits)
        panel.set_title(name, fontsize=10, color=INK, pad=5)
        panel.set_xlabel("PSNR, dB", fontsize=9, color=INK)
    _key(sheet)
    sheet.save(path)


def sites_figure(panels: Mapping[str, Sequence[Dot]], title: str, path: Path) -> None:
    """Small multiples: one panel per source site, all on one scale.

    Parameters
    ----------
    panels : mapping of site to dots
    title : str
    path : Path
        The PNG.
    """
    lines = _lines(panels.values())
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    width, left, gap = 2.35, 1.75, 0.35
    height = 0.16 * len(lines)
    across = max(left + columns * (width + 0.15) + 0.1, _LEAST_WIDTH)
    sheet = Sheet(across, 0.5 + rows * (height + gap) + 0.95)
    sheet.text(0.12, sheet.height - 0.22, title, size=12)
    limits = _limits(panels)
    for index, (site, dots) in enumerate(panels.items()):
        row, column = divmod(index, columns)
        bottom = sheet.height - 0.45 - (row + 1) * (height + gap)
        panel = sheet.panel(left + column * (width + 0.15), bottom, width, height)
        _draw_dots(panel, dots, lines, named=column == 0)
        panel.set_xlim(limits)
        panel.set_title(site, fontsize=9, color=INK, pad=3)
        lowest = index + columns >= len(panels)
        panel.tick_params(labelbottom=lowest)
        if lowest:
            panel.set_xlabel("PSNR, dB", fontsize=9, color=INK)
    _key(sheet)
    sheet.save(path)


def densities_figure(curves: Mapping[str, Any], title: str, path: Path) -> None:
    """Intensity densities of all source sites against the target's, before and after.

    Parameters
    ----------
    curves : mapping
        ``grid`` (K,), ``target`` (K,), ``before`` and ``after`` by site, (K,) each; intensities
        as a fraction of a scan's robust maximum.
    title : str
    path : Path
        The PNG.
    """
    grid = np.asarray(curves["grid"], dtype=float)
    every = [curves["target"], *curves["before"].values(), *curves["after"].values()]
    top = 1.05 * max(np.max(c) for c in every)
    width, height, left = 3.7, 2.5, 0.35
    sheet = Sheet(left + 2 * (width + 0.25) + 1.0, height + 1.5)
    sheet.text(0.12, sheet.height - 0.22, title, size=12)
    sites = list(dict.fromkeys([*curves["before"], *curves["after"]]))
    for index, when in enumerate(("before", "after")):
        panel = sheet.panel(left + index * (width + 0.25), 0.75, width, height)
        panel.plot(grid, curves["target"], color=BLACK, linewidth=2.6, label="target", zorder=1)
        for number, site in enumerate(sites):
            if site not in curves[when]:
                continue
            panel.plot(
                grid,
                curves[when][site],
                color=SITES[number % len(SITES)],
                linestyle=_STROKES[number // len(SITES) % len(_STROKES)],
                linewidth=1.1,
                label=site,
                zorder=2,
            )
        panel.set(xlim=(grid[0], grid[-1]), ylim=(0, top), yticks=[])
        panel.set_title(f"{when} harmonization", fontsize=10, color=INK, pad=5)
        up = "" if index else "density"
        plain_axes(panel, "intensity / robust maximum of the brain", up)
    panel.legend(
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.03),
    )
    sheet.save(path)


def _limits(panels: Mapping[str, Sequence[Dot]]) -> tuple[float, float]:
    """Range of all panels, dB."""
    values = [v for dots in panels.values() for _, _, seeds in dots for v in seeds]
    margin = 0.04 * (max(values) - min(values)) + 0.1
    return min(values) - margin, max(values) + margin


def _lines(panels: Any) -> list[tuple[str, str]]:
    """Every method and variant of any panel, once, in order."""
    return list(dict.fromkeys((m, v) for dots in panels for m, v, _ in dots))


def _draw_dots(
    panel: Any, dots: Sequence[Dot], lines: Sequence[tuple[str, str]], *, named: bool
) -> None:
    for method, variant, seeds in dots:
        y = lines.index((method, variant))
        colour = VERMILION if method == "ihf" else FAINT if method in _REFERENCES else BLUE
        marker = "D" if method == "ihf" else "s" if method in _REFERENCES else "o"
        if len(seeds) > 1:
            panel.plot(seeds, [y] * len(seeds), "|", color=colour, markersize=7, alpha=0.7)
        panel.plot(
            np.mean(seeds),
            y,
            marker,
            color=colour,
            markersize=5,
            markerfacecolor="white" if variant == "blurred" else colour,
        )
    names = [m if v == "sharp" else f"{m}, {v}" for m, v in lines]
    panel.set_yticks(range(len(lines)), names if named else [""] * len(lines))
    panel.set_ylim(len(lines) - 0.4, -0.6)
    panel.grid(color="#E5E5E5", linewidth=0.6)
    panel.set_axisbelow(True)
    plain_axes(panel)


def _key(sheet: Sheet) -> None:
    sheet.text(
        0.12,
        0.35,
        "diamond: ihf; circle: other methods, open: blurred; square: oracle and ceiling; "
        "ticks: seeds",
        size=8,
        colour=FAINT,
    )
