"""Orthogonal planes of a volume on paper: where to cut, at what scale, and how to draw them.

Everything is laid out in inches and drawn in millimetres, so that voxels of any shape look right
and all panels of a figure share one scale. Matplotlib is used through its objects (no pyplot, no
global state) and imported when the first figure is made.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bids_harmony.io.atomic import write_atomically

__all__ = [
    "BLACK",
    "FAINT",
    "INK",
    "PLANES",
    "Picture",
    "Plane",
    "Sheet",
    "cut",
    "in_ras",
    "voxel_sizes",
]

FOOTER = "bids_harmony: research software, not for diagnosis"
INK, FAINT, BLACK = "#222222", "#666666", "#000000"
_DPI = 110
_OUTLINE = {"gray": "#56B4E9", "RdBu_r": "#555555"}  # sky blue on grey, dark grey on colours


class Plane(NamedTuple):
    """A plane of a RAS volume: its normal, the axes that run right and up, the letters at their
    ends."""

    name: str
    normal: int
    right: int
    up: int
    letters: tuple[str, str]


PLANES = (
    Plane("axial", 2, 0, 1, ("L", "R")),
    Plane("coronal", 1, 0, 2, ("L", "R")),
    Plane("sagittal", 0, 1, 2, ("P", "A")),
)


@dataclass(frozen=True)
class Picture:
    """A grid in RAS order with its voxel size (mm), the voxel to cut at and the box that is
    shown."""

    voxel: NDArray[np.float64]
    centre: tuple[int, ...]
    box: tuple[slice, ...]

    def plane(self, data: NDArray, plane: Plane) -> NDArray:
        """A plane of an array on this grid, within the box, as (up, right)."""
        index: list[Any] = list(self.box)
        index[plane.normal] = self.centre[plane.normal]
        return data[tuple(index)].T

    def size(self, axis: int) -> float:
        """Extent of the box along an axis, mm."""
        return (self.box[axis].stop - self.box[axis].start) * float(self.voxel[axis])

    @property
    def flat(self) -> bool:
        """A single axial slice: there are no other planes to cut."""
        return self.size(2) == 0 or self.box[2].stop - self.box[2].start == 1


def in_ras(data: NDArray, affine: NDArray) -> NDArray:
    """Turn an array into the RAS order of its affine by flips and permutations."""
    return nib.orientations.apply_orientation(data, nib.orientations.io_orientation(affine))


def voxel_sizes(affine: NDArray) -> NDArray[np.float64]:
    """Voxel edges in mm, in the order that `in_ras` leaves."""
    order = np.argsort(nib.orientations.io_orientation(affine)[:, 0])
    return np.asarray(nib.affines.voxel_sizes(affine), dtype=np.float64)[order]


def cut(brain: NDArray[np.bool_], shown: NDArray[np.bool_], voxel: NDArray[np.float64]) -> Picture:
    """Planes where the brain is largest, in the smallest box around everything that is to be seen.

    Parameters
    ----------
    brain, shown : (X, Y, Z) bool arrays
        RAS order. An empty brain is cut in the middle, an empty `shown` is shown whole.
    voxel : (3,) array
        mm.
    """
    centre, box = [], []
    for axis, length in enumerate(brain.shape):
        others = tuple(a for a in range(3) if a != axis)
        areas = brain.sum(axis=others)
        centre.append(int(areas.argmax()) if areas.any() else length // 2)
        filled = np.flatnonzero((brain | shown).any(axis=others))
        first, last = (filled[0], filled[-1]) if filled.size else (0, length - 1)
        margin = round(4 / float(voxel[axis]))
        box.append(slice(max(0, int(first) - margin), min(length, int(last) + 1 + margin)))
    return Picture(voxel, tuple(centre), tuple(box))


class Sheet:
    """A white sheet, measured in inches from its lower left corner.

    Parameters
    ----------
    width, height : float
        Inches.
    footer : str
        Small words at the lower right; none in a picture whose page says them.
    """

    def __init__(self, width: float, height: float, footer: str = FOOTER) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        self.text(width - 0.1, 0.15, footer, size=8, colour=FAINT, ha="right")

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 9,
        colour: str = INK,
        ha: str = "left",
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

    def draw(
        self,
        panel: Any,
        image: NDArray,
        pixel: tuple[float, float],
        style: Mapping[str, Any],
        *,
        outline: NDArray[np.bool_] | None = None,
        letters: tuple[str, str] | None = None,
        inch_per_mm: float,
    ) -> Any:
        """Draw an (up, right) image into the middle of a panel at a given scale.

        Returns
        -------
        matplotlib image
            For the colour bar.
        """
        from matplotlib.patheffects import withStroke

        height, width = image.shape[0] * pixel[1] / 2, image.shape[1] * pixel[0] / 2
        extent = (-width, width, -height, height)
        drawn = panel.imshow(
            image, origin="lower", extent=extent, interpolation="nearest", aspect="equal", **style
        )
        grey = style["cmap"] == "gray"
        panel.set_facecolor("black" if grey else drawn.cmap(0.5))
        if outline is not None:
            self.outline(panel, outline, pixel, _OUTLINE[style["cmap"]])
        # The panel as laid out: matplotlib shrinks the active position to the aspect of the image.
        place = panel.get_position(original=True)
        x_reach = place.width * self.width / inch_per_mm / 2
        y_reach = place.height * self.height / inch_per_mm / 2
        panel.set(xlim=(-x_reach, x_reach), ylim=(-y_reach, y_reach), xticks=[], yticks=[])
        for spine in panel.spines.values():
            spine.set(color="black" if grey else "#BBBBBB", linewidth=0.6)
        ink, halo = ("white", "black") if grey else (INK, "white")
        for x, letter in zip((0.03, 0.97), letters or (), strict=False):
            panel.text(
                x,
                0.97,
                letter,
                transform=panel.transAxes,
                ha="left" if x < 0.5 else "right",
                va="top",
                fontsize=10,
                fontweight="bold",
                color=ink,
                path_effects=[withStroke(linewidth=2, foreground=halo)],
            )
        return drawn

    def outline(
        self,
        panel: Any,
        inside: NDArray[np.bool_],
        pixel: tuple[float, float],
        colour: str,
        width: float = 0.7,
    ) -> None:
        """Draw the border of an (up, right) mask over an image of its shape; `width` in points."""
        if not inside.any() or inside.all():
            return
        up, right = inside.shape[0] * pixel[1] / 2, inside.shape[1] * pixel[0] / 2
        panel.contour(
            inside.astype(float),
            levels=[0.5],
            extent=(-right, right, -up, up),
            colors=colour,
            linewidths=width,
        )

    def colour_bar(
        self, drawn: Any, box: tuple[float, float, float, float], label: str, *, beyond: bool
    ) -> None:
        """Colour bar of a drawn image, in a box (x, y, width, height); pointed if values lie
        beyond."""
        bar = self.figure.colorbar(
            drawn, cax=self.panel(*box), extend="both" if beyond else "neither", extendfrac=0.04
        )
        bar.set_label(label, fontsize=8, color=INK)
        bar.ax.tick_params(labelsize=8, colors=INK, width=0.6, length=3)
        bar.outline.set(linewidth=0.6, edgecolor=FAINT)

    def save(self, path: str | Path) -> None:
        """Write the PNG atomically; the same sheet gives the same bytes."""
        buffer = io.BytesIO()
        # The version of the drawing library is no part of the picture.
        self.figure.savefig(buffer, format="png", metadata={"Software": None})
        write_atomically(path, buffer.getvalue())
