"""Figures of the article's experiment: bars of every method, and curves of every training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from travelling_tables import heading

from bids_harmony.reports.paper import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    VERMILION,
    Sheet,
    plain_axes,
)

__all__ = ["BOUNDS", "bars_figure", "curves_figure"]

#: Rows that know the truth.
BOUNDS = ("oracle", "ceiling")
_STROKES = ("-", "--", ":", "-.")
_COLOURS = (VERMILION, BLUE, GREEN, ORANGE, FAINT, INK)


def bars_figure(
    methods: Sequence[str],
    values: Mapping[str, Mapping[str, Sequence[float]]],
    title: str,
    path: Path,
) -> None:
    """One panel per figure of merit, one bar per method; ticks are seeds.

    Parameters
    ----------
    methods : sequence of str
        From above.
    values : mapping of figure of merit to method to values of the seeds
    title : str
    path : Path
        The PNG.
    """
    width, left, foot, gap = 1.75, 1.55, 0.75, 0.35
    height = 0.2 * len(methods)
    sheet = Sheet(left + len(values) * (width + gap), foot + height + 0.7)
    sheet.text(0.12, sheet.height - 0.22, title, size=12)
    for index, (figure, of) in enumerate(values.items()):
        panel = sheet.panel(left + index * (width + gap), foot, width, height)
        for place, method in enumerate(methods):
            colour = FAINT if method in BOUNDS else VERMILION if "local" in method else BLUE
            colour = GREEN if method.startswith("paper") else colour
            panel.barh(place, np.mean(of[method]), 0.7, color=colour, alpha=0.85)
            if len(of[method]) > 1:
                panel.plot(of[method], [place] * len(of[method]), "|", color=INK, markersize=7)
        every = [value for seeds in of.values() for value in seeds]
        low = 0.0 if figure in ("rmse", "lpips") else min(every) - 0.3 * np.ptp(every)
        panel.set_xlim(low, max(every) * 1.02)
        panel.set_yticks(range(len(methods)), methods if index == 0 else [""] * len(methods))
        panel.set_ylim(len(methods) - 0.4, -0.6)
        plain_axes(panel, heading(figure), "")
    note = "green: the article's; red: ours; grey: know the truth; marks: seeds of the training"
    sheet.text(0.12, 0.2, note, size=8, colour=FAINT)
    sheet.save(path)


def curves_figure(
    panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], path: Path
) -> None:
    """Validation over hours of processor, a panel per contrast, a line per training.

    Parameters
    ----------
    panels : mapping of contrast to name to curve of (slices, hours, psnr_db)
    path : Path
        The PNG.
    """
    width, height, left, foot = 3.6, 2.6, 0.75, 0.85
    sheet = Sheet(left + len(panels) * (width + 0.5) + 1.6, foot + height + 0.75)
    sheet.text(0.12, sheet.height - 0.22, "Validation over training", size=12)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for index, (contrast, curves) in enumerate(panels.items()):
        panel = sheet.panel(left + index * (width + 0.5), foot, width, height)
        for name, curve in curves.items():
            number = names.index(name)
            _, hours, psnr = zip(*curve, strict=True)
            panel.plot(
                np.array(hours) * 60,
                psnr,
                color=_COLOURS[number % len(_COLOURS)],
                linestyle=_STROKES[number // len(_COLOURS) % len(_STROKES)],
                linewidth=1.3,
                label=name,
            )
        panel.set_title(contrast, fontsize=10, color=INK, pad=5)
        plain_axes(panel, "minutes of one core", "" if index else "PSNR, dB")
        if index == len(panels) - 1:
            panel.legend(
                frameon=False, fontsize=8, labelcolor=INK, loc="upper left",
                bbox_to_anchor=(1.0, 1.03),
            )  # fmt: skip
    sheet.save(path)
