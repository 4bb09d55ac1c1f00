"""White paper for figures: slices in a table, densities, colours and strokes.

Everything is laid out in inches and drawn in millimetres, so that voxels of any shape look right
and all slices of a figure share one scale. Matplotlib is used through its objects (no pyplot, no
global state) and imported when the first figure is made.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bids_harmony.io.atomic import write_atomically
from bids_harmony.reports.planes import Cell

__all__ = [
    "BLACK", "BLUE", "FAINT", "GREEN", "INK", "ON_COLOURS", "ON_GREY", "ORANGE", "SITES",
    "VERMILION", "Bar", "Curve", "Layout", "Sheet", "around_zero", "before_and_after", "bright",
    "draw_densities", "draw_table", "grey", "plain_axes", "strongest",
]  # fmt: skip

INK, FAINT, BLACK = "#222222", "#666666", "#000000"
# Okabe and Ito's colours, told apart by all readers; strokes and marks differ as well.
BLUE, VERMILION, GREEN, ORANGE, _PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
#: Outlines: sky blue on grey, dark grey on colours.
ON_GREY, ON_COLOURS = "#56B4E9", "#555555"
#: Of curves, a colour per site.
SITES = (ORANGE, ON_GREY, GREEN, _PURPLE, BLUE, VERMILION)
_FOOTER = "bids_harmony: research software, not for diagnosis"
_DPI = 110


class Layout(NamedTuple):
    """Measures of a table of slices, in inches."""

    column: float  #: width of the widest slice, which sets the scale of all
    gap: float = 0.06  #: between slices
    left: float = 0.0
    right: float = 0.0
    head: float = 0.75  #: holds the title; a note adds a quarter of an inch
    foot: float = 0.35
    after_group: float = 0.0  #: to the right of every group of columns
    fitted: bool = False  #: columns as wide as their slices, none of which is higher than `column`
    heading: tuple[float, float] = (11, 0.053)  #: points, and inches above the table
    bar: tuple[float, float, float] = (0.14, 0.13, 0.1)  #: away, wide, shorter at either end
    footer: str = _FOOTER  #: at the lower right; none in a picture whose page says it


#: A density: its name, values on a grid, colour and stroke.
Curve = tuple[str, NDArray, str, str]


class Bar(NamedTuple):
    """A colour bar beside a row, for one of its slices; pointed where values of `data` (the whole
    volume) lie beyond the range of colours."""

    row: int
    column: int
    label: str
    data: NDArray


def grey(top: float) -> dict[str, Any]:
    """Style of a grey slice, white from `top` on."""
    return {"cmap": "gray", "vmin": 0.0, "vmax": top}


def around_zero(limit: float) -> dict[str, Any]:
    """Style of a difference: white at zero, darkest red from `limit` on, darkest blue below."""
    return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}


def bright(mask: NDArray[np.bool_], *images: NDArray) -> float:
    """Upper end of a grey window: the largest 99.5th percentile inside a mask."""
    return float(max(np.percentile(image[mask], 99.5) for image in images)) or 1.0


def strongest(change: NDArray, mask: NDArray[np.bool_], percentile: float = 99.5) -> float:
    """Size of the strongest change inside a mask, less a few voxels; elsewhere if it is zero."""
    inside = float(np.percentile(np.abs(change[mask]), percentile))
    return inside or float(np.abs(change).max())


class Sheet:
    """A white sheet, measured in inches from its lower left corner; `footer` stands at the lower
    right."""

    def __init__(self, width: float, height: float, footer: str = _FOOTER) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        self.text(width - 0.1, 0.15, footer, size=8, colour=FAINT, ha="right")

    def text(
        self, x: float, y: float, words: str, size: float = 9, colour: str = INK, ha: str = "left"
    ) -> None:
        """Write at a point."""
        self.figure.text(
            x / self.width, y / self.height, words, fontsize=size, color=colour, ha=ha, va="center"
        )

    def panel(self, x: float, y: float, width: float, height: float) -> Any:
        """Axes whose lower left corner is at a point."""
        return self.figure.add_axes(
            (x / self.width, y / self.height, width / self.width, height / self.height)
        )

    def draw(self, panel: Any, cell: Cell, inch_per_mm: float) -> Any:
        """Draw a slice into the middle of a panel at a given scale; gives matplotlib's image."""
        from matplotlib.patheffects import withStroke

        right, up = (length / 2 for length in cell.size)
        extent = (-right, right, -up, up)
        drawn = panel.imshow(
            cell.image, origin="lower", extent=extent, interpolation="nearest", aspect="equal",
            **cell.style,
        )  # fmt: skip
        on_grey = cell.style["cmap"] == "gray"
        panel.set_facecolor("black" if on_grey else drawn.cmap(0.5))
        for colour, inside in cell.outlines.items():
            if inside.any() and not inside.all():
                panel.contour(inside.astype(float), levels=[0.5], extent=extent, colors=colour,
                              linewidths=cell.stroke)  # fmt: skip
        # The panel as laid out: matplotlib shrinks the active position to the aspect of the image.
        place = panel.get_position(original=True)
        x = place.width * self.width / inch_per_mm / 2
        y = place.height * self.height / inch_per_mm / 2
        panel.set(xlim=(-x, x), ylim=(-y, y), xticks=[], yticks=[])
        for spine in panel.spines.values():
            spine.set(color="black" if on_grey else "#BBBBBB", linewidth=0.6)
        ink, halo = ("white", "black") if on_grey else (INK, "white")
        for x, side, letter in zip(
            (0.03, 0.97), ("left", "right"), cell.letters or (), strict=False
        ):
            panel.text(
                x, 0.97, letter, transform=panel.transAxes, ha=side, va="top", fontsize=10,
                fontweight="bold", color=ink,
                path_effects=[withStroke(linewidth=2, foreground=halo)],
            )  # fmt: skip
        return drawn

    def save(self, path: str | Path) -> None:
        """Write the PNG atomically; the same sheet gives the same bytes."""
        buffer = io.BytesIO()
        # The version of the drawing library is no part of the picture.
        self.figure.savefig(buffer, format="png", metadata={"Software": None})
        write_atomically(path, buffer.getvalue())


def draw_table(
    rows: Sequence[Sequence[Cell | None]],
    layout: Layout,
    *,
    title: str = "",
    note: str = "",
    groups: Sequence[str] = ("",),
    headings: Sequence[str] = (),
    labels: Sequence[str] = (),
    bars: Sequence[Bar] = (),
) -> Sheet:
    """Lay out slices in rows and columns, all at one scale.

    Parameters
    ----------
    rows : sequence of sequence of Cell
        Equally long; None stays empty. A row is as high as its highest slice.
    layout : Layout
    title, note : str
        First and second line.
    groups, headings : sequence of str
        Names above equally many columns each; groups stand above headings, and apart.
    labels : sequence of str
        Left of the rows.
    bars : sequence of Bar
    """
    column, gap = layout.column, layout.gap
    cells = [cell for row in rows for cell in row if cell]
    scale = column / max(length for c in cells for length in c.size[: 2 if layout.fitted else 1])
    heights = [scale * max((c.size[1] for c in row if c), default=0.0) for row in rows]
    n_columns = len(rows[0])
    in_group, under_heading = (n_columns // max(len(words), 1) for words in (groups, headings))
    lefts, widths, x = [], [], layout.left
    for j in range(n_columns):
        own = (cell.size[0] for row in rows if (cell := row[j]))
        widths.append(scale * max(own) if layout.fitted else column)
        lefts.append(x)
        x += widths[j] + gap + (layout.after_group if (j + 1) % in_group == 0 else 0.0)
    head = layout.head + (0.25 if note else 0.0)
    sheet = Sheet(
        x + layout.right, head + sum(heights) + len(rows) * gap + layout.foot, layout.footer
    )
    top = sheet.height - head
    beside = 0.15 if labels else layout.left
    sheet.text(beside, sheet.height - 0.25, title, size=13)
    sheet.text(beside, sheet.height - 0.52, note, colour=FAINT)
    for k, words in enumerate(groups):
        sheet.text(lefts[k * in_group], top + 0.32, words, size=11)
    size, rise = layout.heading
    for k, words in enumerate(headings):
        first, last = k * under_heading, (k + 1) * under_heading - 1
        middle = (lefts[first] + lefts[last] + widths[last]) / 2
        sheet.text(middle, top + rise, words, size=size, ha="center")
    drawn, bottoms = {}, []
    for i, (row, height) in enumerate(zip(rows, heights, strict=True)):
        bottoms.append(top - sum(heights[: i + 1]) - (i + 1) * gap)
        if labels:
            sheet.text(
                layout.left - 2 * gap - 0.02, bottoms[i] + height / 2, labels[i], ha="right"
            )
        for j, cell in enumerate(row):
            if cell:
                panel = sheet.panel(lefts[j], bottoms[i], widths[j], height)
                drawn[i, j] = sheet.draw(panel, cell, scale)
    away, width, shorter = layout.bar
    for i, j, label, data in bars:
        edge = (j // in_group + 1) * in_group - 1
        x, y = lefts[edge] + widths[edge] + away, bottoms[i] + shorter
        low, high = drawn[i, j].get_clim()
        made = sheet.figure.colorbar(
            drawn[i, j], cax=sheet.panel(x, y, width, heights[i] - 2 * shorter), extendfrac=0.04,
            extend="both" if low < 0 and np.abs(data).max() > high else "neither",
        )  # fmt: skip
        made.set_label(label, fontsize=8, color=INK)
        made.ax.tick_params(labelsize=8, colors=INK, width=0.6, length=3)
        made.outline.set(linewidth=0.6, edgecolor=FAINT)
    return sheet


def before_and_after(source: NDArray, harmonized: NDArray) -> list[Curve]:
    """Densities of an image before and after, in the colours of all figures."""
    return [("source", source, BLUE, "--"), ("harmonized", harmonized, VERMILION, "-")]


def draw_densities(panel: Any, grid: NDArray, curves: Sequence[Curve], label: str) -> None:
    """Draw densities on one axis, which is labelled."""
    for name, density, colour, stroke in curves:
        panel.plot(grid, density, color=colour, linestyle=stroke, linewidth=1.6, label=name)
    panel.set(xlim=(grid[0], grid[-1]), yticks=[])
    panel.set_ylim(bottom=0)
    plain_axes(panel, label, "density")
    panel.legend(frameon=False, fontsize=9, labelcolor=INK, handlelength=2.6)


def plain_axes(panel: Any, right: str = "", up: str = "") -> None:
    """Thin axes at the left and below, without a frame, and what they show."""
    panel.set_xlabel(right, fontsize=9, color=INK)
    panel.set_ylabel(up, fontsize=9, color=INK)
    panel.tick_params(labelsize=8, colors=INK, width=0.6, length=3)
    for side, spine in panel.spines.items():
        spine.set(visible=side in ("bottom", "left"), color=FAINT, linewidth=0.6)
