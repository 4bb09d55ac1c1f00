"""Pictures of what harmonization did to the maps of a diffusion series.

Pure drawing, as in `figures`: arrays in, one PNG out, the same bytes for the same input.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bids_harmony.diffusion.maps import world_directions
from bids_harmony.exceptions import DataError
from bids_harmony.quality.diffusion import angle_between
from bids_harmony.quality.distributions import density_curve
from bids_harmony.reports.figures import BLUE, VERMILION, draw_densities
from bids_harmony.reports.planes import (
    FAINT,
    INK,
    PLANES,
    Picture,
    Sheet,
    cut,
    in_ras,
    voxel_sizes,
)

__all__ = ["map_distributions_figure", "maps_figure"]

Maps = Mapping[str, NDArray]


class _Shown(NamedTuple):
    """How a map is drawn: its words with the unit, what its values are multiplied by, the top of
    its grey window and that of an axis."""

    words: str
    times: float
    window: float
    axis: float


_SHOWN = {
    "fa": _Shown("FA", 1.0, 0.8, 1.0),
    # Diffusivities in figures are in µm2/ms, numbers that fit on an axis.
    "md": _Shown("MD (µm²/ms)", 1e3, 2.0, 2.0),
    "ndi": _Shown("NDI", 1.0, 1.0, 1.0),
    "odi": _Shown("ODI", 1.0, 1.0, 1.0),
}
_COLOUR = "colour FA"
_LARGEST_ANGLE = 30.0
_THINNEST_MM = 40.0
_COLUMN, _GAP = 1.45, 0.05  # inches
_STAGES = ("source", "harmonized", "harmonized − source")


def maps_figure(
    source: Maps,
    harmonized: Maps,
    mask: NDArray[np.bool_],
    affine: NDArray,
    path: str | Path,
    title: str = "",
    *,
    note: str = "",
) -> None:
    """Draw the maps of a series before and after harmonization, and their difference.

    One row per map, three planes for each of source, harmonized and difference. Colour FA shows
    the main direction (red right-left, green anterior-posterior, blue superior-inferior), its
    "difference" the angle by which it turned. Windows are fixed, so that figures of different
    people can be compared: FA 0 to 0.8, NDI and ODI 0 to 1, MD 0 to 2 µm2/ms; differences are
    drawn around zero up to their 99th percentile inside the mask.

    Parameters
    ----------
    source, harmonized : mapping of parameter to array
        Any of fa, md (mm2/s), ndi, odi (X, Y, Z) and v1 (X, Y, Z, 3), in the frame of the bvec
        file; what only one has is not drawn.
    mask : (X, Y, Z) bool
        Where maps were fitted.
    affine : (4, 4) array
        Voxels of the stored series to RAS+ mm.
    path : path-like
        The PNG; its folder must exist.
    title, note : str
        First and second line.

    Raises
    ------
    DataError
        No map in common, an empty mask, or shapes that differ.
    """
    rows = [n for n in _SHOWN if n in source and n in harmonized]
    _check(rows, source, harmonized, mask, str(path))
    own = cut(in_ras(mask, affine), in_ras(mask, affine), voxel_sizes(affine))
    # Across a thin slab there is nothing to see; its slices get the room.
    planes = [p for p in PLANES if p.normal == 2 or own.size(2) > _THINNEST_MM]
    column = _COLUMN if len(planes) > 1 else 1.8 * _COLUMN
    inch_per_mm = column / max(own.size(axis) for p in planes for axis in (p.right, p.up))
    widths = [own.size(p.right) * inch_per_mm for p in planes]
    high = max(own.size(p.up) for p in planes) * inch_per_mm
    coloured = "v1" in source and "v1" in harmonized and "fa" in rows
    drawn_rows = [*([_COLOUR] if coloured else []), *rows]

    left, head, group = 0.85, 1.0 if note else 0.75, 0.2
    step = sum(widths) + len(planes) * _GAP + group
    sheet = Sheet(left + 3 * step + 0.95, head + len(drawn_rows) * (high + _GAP) + 0.35)
    sheet.text(0.15, sheet.height - 0.25, title, size=13)
    sheet.text(0.15, sheet.height - 0.5, note, colour=FAINT)
    for stage, words in enumerate(_STAGES):
        middle = left + stage * step + (step - group) / 2
        sheet.text(middle, sheet.height - head + 0.12, words, size=11, ha="center")
    for index, name in enumerate(drawn_rows):
        bottom = sheet.height - head - (index + 1) * (high + _GAP)
        words = name if name == _COLOUR else _SHOWN[name].words
        sheet.text(left - 0.12, bottom + high / 2, words.replace(" ", "\n"), ha="right")
        images, label = (
            _coloured(source, harmonized, mask, affine)
            if name == _COLOUR
            else _scalar(name, source[name], harmonized[name], mask)
        )
        for stage, (image, style) in enumerate(images):
            data = in_ras(image, affine)
            x = left + stage * step
            for plane, width in zip(planes, widths, strict=True):
                drawn = sheet.draw(
                    sheet.panel(x, bottom, width, high),
                    _plane(own, data, plane),
                    (float(own.voxel[plane.right]), float(own.voxel[plane.up])),
                    style,
                    letters=plane.letters if index == 0 else None,
                    inch_per_mm=inch_per_mm,
                )
                x += width + _GAP
        signed = images[2][1]["vmin"] < 0
        beyond = signed and bool(np.abs(images[2][0]).max() > images[2][1]["vmax"])
        box = (sheet.width - 0.92, bottom + 0.08, 0.1, high - 0.16)
        sheet.colour_bar(drawn, box, label, beyond=beyond)
    sheet.save(path)


def map_distributions_figure(
    source: Maps,
    harmonized: Maps,
    tissues: Mapping[str, NDArray[np.bool_]],
    path: str | Path,
    title: str = "",
    *,
    target: Maps | None = None,
    target_name: str = "target site",
) -> None:
    """Draw the distribution of each map in each tissue, before and after harmonization.

    Parameters
    ----------
    source, harmonized : mapping of parameter to (X, Y, Z) array
        Any of fa, md (mm2/s), ndi, odi.
    tissues : mapping of name to (X, Y, Z) bool
        A row each, such as "white matter" and "grey matter", the same for both.
    path : path-like
        The PNG; its folder must exist.
    title : str
    target : mapping of parameter to array, optional
        Values at the target in the same kind of tissue, by ``<parameter>/<tissue>``.
    target_name : str
        For the legend.

    Raises
    ------
    DataError
        No map in common, or no voxel in any tissue.
    """
    columns = [n for n in _SHOWN if n in source and n in harmonized]
    filled = {name: where for name, where in tissues.items() if where.any()}
    if not columns or not filled:
        raise DataError("Nothing to draw the distribution of", where=str(path))
    wide, high, left, head = 2.7, 1.55, 0.95, 0.65
    sheet = Sheet(left + len(columns) * (wide + 0.25), head + len(filled) * (high + 0.62) + 0.3)
    sheet.text(0.15, sheet.height - 0.25, title, size=13)
    for i, (tissue, where) in enumerate(filled.items()):
        bottom = sheet.height - head - (i + 1) * (high + 0.62) + 0.55
        sheet.text(left - 0.3, bottom + high / 2, tissue.replace(" ", "\n"), ha="right")
        for j, name in enumerate(columns):
            shown = _SHOWN[name]
            grid = np.linspace(0, shown.axis, 300)
            curves = [
                (stage, density_curve(maps[name][where] * shown.times, grid), colour, stroke)
                for stage, maps, colour, stroke in (
                    ("source", source, BLUE, "--"),
                    ("harmonized", harmonized, VERMILION, "-"),
                )
            ]
            values = (target or {}).get(f"{name}/{tissue}")
            if values is not None and values.size:
                density = density_curve(values * shown.times, grid)
                curves.append((target_name, density, INK, ":"))
            panel = sheet.panel(left + j * (wide + 0.25), bottom, wide, high)
            draw_densities(panel, grid, curves, shown.words)
            panel.locator_params(axis="x", nbins=5)
            panel.get_legend().remove()
            if j:
                panel.set_ylabel("")
    # Above the panels: inside, it would hide a curve.
    lines = panel.get_legend_handles_labels()
    sheet.figure.legend(*lines, loc="upper right", ncols=3, frameon=False, fontsize=9)
    sheet.save(path)


def _scalar(
    name: str, source: NDArray, harmonized: NDArray, mask: NDArray[np.bool_]
) -> tuple[list[tuple[NDArray, dict[str, Any]]], str]:
    """A map before, after and their difference, each with its style; label
    of the colour bar."""
    shown = _SHOWN[name]
    before, after = (np.where(mask, a, 0) * shown.times for a in (source, harmonized))
    change = after - before
    limit = float(np.percentile(np.abs(change[mask]), 99)) or float(np.abs(change).max()) or 0.01
    grey = {"cmap": "gray", "vmin": 0.0, "vmax": shown.window}
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    return [(before, grey), (after, grey), (change, colours)], "change"


def _coloured(
    source: Maps, harmonized: Maps, mask: NDArray[np.bool_], affine: NDArray
) -> tuple[list[tuple[NDArray, dict[str, Any]]], str]:
    """Colour FA before and after, and the angle between the main directions, dimmed by FA."""
    grey = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0}
    images = []
    for maps in (source, harmonized):
        weight = np.where(mask, maps["fa"] / _SHOWN["fa"].window, 0)[..., None]
        images.append((np.abs(world_directions(maps["v1"], affine)) * weight, grey))
    angle = np.nan_to_num(angle_between(source["v1"], harmonized["v1"]))
    # Directions of round tensors are noise.
    angle = np.where(mask & (source["fa"] > 0.2), angle, 0)
    style = {"cmap": "gray", "vmin": 0.0, "vmax": _LARGEST_ANGLE}
    return [*images, (angle, style)], "turn where FA > 0.2 (°)"


def _plane(picture: Picture, data: NDArray, plane: Any) -> NDArray:
    """A plane of a scalar or of a coloured volume, (up, right) or (up, right, 3)."""
    if data.ndim == 3:
        return picture.plane(data, plane)
    parts = [picture.plane(data[..., i], plane) for i in range(3)]
    return np.clip(np.stack(parts, axis=-1), 0, 1)


def _check(
    names: list[str], source: Maps, harmonized: Maps, mask: NDArray[np.bool_], where: str
) -> None:
    if not names:
        raise DataError("No map that both series have", where=where)
    if not mask.any():
        raise DataError("The mask is empty", where=where, expected="at least one voxel")
    shapes = {maps[n].shape for maps in (source, harmonized) for n in names} | {mask.shape}
    if len(shapes) > 1:
        got = ", ".join(map(str, sorted(shapes)))
        raise DataError("Maps are not on one grid", where=where, got=got)
