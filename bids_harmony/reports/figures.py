"""Pictures of what harmonization did: one page per subject, and a mosaic of slices.

Pure drawing: arrays in, one PNG out, written atomically, the same bytes for the same input. The
subject's left is drawn on the left-hand side and marked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.quality.distributions import density_curve, density_of_quantiles
from bids_harmony.reports.planes import (
    BLACK,
    FAINT,
    INK,
    PLANES,
    Picture,
    Sheet,
    cut,
    in_ras,
    voxel_sizes,
)

__all__ = ["BLUE", "VERMILION", "draw_densities", "mosaic_figure", "subject_figure"]

# Okabe and Ito's colours, told apart by all readers; the strokes differ as well.
BLUE, VERMILION = "#0072B2", "#D55E00"
_CHANGE_LABEL = "harmonized − source"
_COLUMN = 2.5  # inches


def subject_figure(
    source: NDArray,
    harmonized: NDArray,
    target_mean: NDArray | None,
    mask: NDArray[np.bool_],
    change: NDArray | None,
    affine: NDArray,
    path: str | Path,
    title: str = "",
    *,
    target_affine: NDArray | None = None,
    target_quantiles: ArrayLike | None = None,
    target_probabilities: ArrayLike | None = None,
    target_name: str = "target site",
    note: str = "",
    units: str = "native units",
) -> None:
    """Draw source, harmonized, target mean and change in three planes, and the intensity
    densities.

    Source, harmonized and target mean share one grey window: 0 to the larger 99.5th percentile
    inside the mask of source and harmonized. The change is drawn around zero, symmetric, up to its
    99.5th percentile inside the mask. Planes are cut where the mask is largest, and all have one
    scale in mm.

    Parameters
    ----------
    source, harmonized : (X, Y, Z) arrays
        On one grid, in one intensity unit.
    target_mean : (Xt, Yt, Zt) or (Xt, Yt) array, or None
        What the target site's images mean like (its mean image, say), in the unit of the others;
        an axial slice in RAS order if two-dimensional. Without it the figure has no such column.
    mask : (X, Y, Z) bool array
        The brain; its outline is drawn.
    change : (X, Y, Z) array, optional
        Harmonized minus source, which is computed if not given.
    affine : (4, 4) array
        Voxel to world of the source's grid, RAS+ mm. Arrays in another voxel order are turned for
        drawing.
    path : path-like
        The PNG; its folder must exist.
    title : str
        First line of the figure.
    target_affine : (4, 4) array, optional
        Of the target mean; by default the source's.
    target_quantiles, target_probabilities : (K,) array-like, optional
        Brain intensities of the target site, in the unit of the images, for its density;
        probabilities evenly from 0 to 1 if not given. By default the positive voxels of the target
        mean.
    target_name : str
        The target site, for headings.
    note : str
        Second line, small: quality numbers, say.
    units : str
        Of all images, for the axis and the colour bar.

    Raises
    ------
    DataError
        If shapes differ or the mask is empty.
    """
    source, harmonized = np.asarray(source, np.float32), np.asarray(harmonized, np.float32)
    mask = np.asarray(mask, bool)
    if source.ndim != 3 or not source.shape == harmonized.shape == mask.shape:
        got = f"{source.shape}, {harmonized.shape}, {mask.shape}"
        raise DataError("A figure needs volumes of one shape", where=str(path), got=got)
    if not mask.any():
        raise DataError("The mask is empty", where=str(path), expected="at least one voxel")
    change = harmonized - source if change is None else np.asarray(change, np.float32)
    source, harmonized, mask, change = (
        in_ras(array, affine) for array in (source, harmonized, mask, change)
    )
    top = float(max(np.percentile(a[mask], 99.5) for a in (source, harmonized))) or 1.0
    limit = float(np.percentile(np.abs(change[mask]), 99.5)) or float(np.abs(change).max()) or 1.0
    grey = {"cmap": "gray", "vmin": 0.0, "vmax": top}
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}

    own = cut(mask, source > 0.1 * top, voxel_sizes(affine))
    columns: list[tuple[str, Picture, NDArray, dict[str, Any], NDArray | None]] = [
        ("source", own, source, grey, mask),
        ("harmonized", own, harmonized, grey, mask),
        ("change", own, change, colours, mask),
    ]
    mean = None
    if target_mean is not None:
        mean = np.asarray(target_mean, np.float32)
        mean_affine = affine if target_affine is None else target_affine
        mean = mean[..., None] if mean.ndim == 2 else in_ras(mean, mean_affine)
        visible = mean > 0.1 * top
        picture = cut(visible, visible, voxel_sizes(mean_affine))
        columns.insert(2, (f"mean of {target_name}", picture, mean, grey, None))

    pictures = [own] if mean is None else [own, columns[2][1]]
    inch_per_mm = _COLUMN / max(p.size(plane.right) for p in pictures for plane in PLANES)
    heights = [max(p.size(plane.up) for p in pictures) * inch_per_mm for plane in PLANES]
    gap, left, head = 0.06, 0.25, 1.0 if note else 0.75
    densities_height, below = 1.9, 0.85
    width = left + len(columns) * (_COLUMN + gap) + 1.0
    sheet = Sheet(width, head + sum(heights) + 3 * gap + 0.35 + densities_height + below)
    sheet.text(left, sheet.height - 0.25, title, size=13)
    sheet.text(left, sheet.height - 0.52, note, colour=FAINT)

    bottom = sheet.height - head
    for plane, height in zip(PLANES, heights, strict=True):
        bottom -= height + gap
        for index, (heading, picture, data, style, line) in enumerate(columns):
            if plane.normal != 2 and picture.flat:
                continue
            panel = sheet.panel(left + index * (_COLUMN + gap), bottom, _COLUMN, height)
            drawn = sheet.draw(
                panel,
                picture.plane(data, plane),
                (float(picture.voxel[plane.right]), float(picture.voxel[plane.up])),
                style,
                outline=None if line is None else picture.plane(line, plane),
                letters=plane.letters,
                inch_per_mm=inch_per_mm,
            )
            if plane is PLANES[0]:
                panel.set_title(heading, fontsize=11, color=INK, pad=5)
                if style is colours:
                    box = (width - 0.92, bottom + 0.1, 0.13, height - 0.2)
                    beyond = bool(np.abs(change).max() > limit)
                    sheet.colour_bar(drawn, box, f"{_CHANGE_LABEL} ({units})", beyond=beyond)

    grid = np.linspace(0, 1.2 * top, 400)
    curves = [
        ("source", density_curve(source[mask], grid), BLUE, "--"),
        ("harmonized", density_curve(harmonized[mask], grid), VERMILION, "-"),
    ]
    if target_quantiles is not None:
        density = density_of_quantiles(target_quantiles, grid, target_probabilities)
        curves.append((target_name, density, BLACK, ":"))
    elif mean is not None and visible.any():
        curves.append((target_name, density_curve(mean[visible], grid), BLACK, ":"))
    panel = sheet.panel(left + 0.1, below, width - left - 1.1, densities_height)
    draw_densities(panel, grid, curves, f"intensity inside the brain mask ({units})")
    sheet.save(path)


def mosaic_figure(
    rows: Mapping[str, Mapping[str, NDArray]],
    path: str | Path,
    *,
    title: str = "",
    window: tuple[float, float] | None = None,
    diverging: Collection[str] = (),
    diverging_label: str = _CHANGE_LABEL,
    voxel_mm: tuple[float, float] = (1.0, 1.0),
) -> None:
    """Draw a table of slices: one row per key, one column per inner key.

    Parameters
    ----------
    rows : mapping of row label to mapping of column label to (X, Y) array
        Slices in RAS order: the first axis runs to the right, the second up. A missing cell stays
        empty.
    path : path-like
        The PNG; its folder must exist.
    title : str
        Above the table.
    window : (float, float), optional
        Grey window of all slices; by default, row by row, 0 to the 99.5th percentile of the
        positive pixels.
    diverging : collection of str
        Columns that hold differences: drawn around zero in colours, with one range for all rows.
    diverging_label : str
        What the colours mean, with the unit.
    voxel_mm : (float, float)
        Pixel size along both axes, mm.

    Raises
    ------
    DataError
        If there is nothing to draw or an array is not two-dimensional.
    """
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    shapes = [np.shape(a) for row in rows.values() for a in row.values()]
    if not shapes or any(len(shape) != 2 for shape in shapes):
        got = ", ".join(map(str, shapes)) or "none"
        raise DataError("A mosaic needs two-dimensional slices", where=str(path), got=got)
    differences = [np.abs(row[c]).ravel() for row in rows.values() for c in diverging if c in row]
    pooled = np.concatenate(differences) if differences else np.zeros(1)
    limit = float(np.percentile(pooled[pooled > 0], 99.5)) if pooled.any() else 1.0

    cell = 1.75
    across, high = np.max(shapes, axis=0) * np.asarray(voxel_mm)
    inch_per_mm, row_height, gap = cell / across, cell * high / across, 0.04
    left = 0.3 + 0.075 * max(len(name) for name in rows)
    head = 0.7 if title else 0.4
    width = left + len(columns) * (cell + gap) + (1.0 if differences else 0.1)
    sheet = Sheet(width, head + len(rows) * (row_height + gap) + 0.3)
    sheet.text(0.12, sheet.height - 0.22, title, size=12)
    signed = None
    for i, (name, row) in enumerate(rows.items()):
        bottom = sheet.height - head - (i + 1) * (row_height + gap)
        sheet.text(left - 0.1, bottom + row_height / 2, name, ha="right")
        pixels = [np.asarray(a)[np.asarray(a) > 0] for c, a in row.items() if c not in diverging]
        bright = np.concatenate(pixels) if pixels else np.zeros(0)
        low, top = window or (0.0, float(np.percentile(bright, 99.5)) if bright.size else 1.0)
        for j, column in enumerate(columns):
            x = left + j * (cell + gap)
            if i == 0:
                sheet.text(x + cell / 2, sheet.height - head + 0.12, column, size=10, ha="center")
            if column not in row:
                continue
            style = {"cmap": "gray", "vmin": low, "vmax": top}
            if column in diverging:
                style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
            drawn = sheet.draw(
                sheet.panel(x, bottom, cell, row_height),
                np.asarray(row[column]).T,
                voxel_mm,
                style,
                letters=PLANES[0].letters,
                inch_per_mm=inch_per_mm,
            )
            signed = drawn if column in diverging else signed
    if signed is not None:
        bottom = sheet.height - head - row_height
        box = (width - 0.92, bottom + 0.05, 0.13, row_height - 0.1)
        sheet.colour_bar(signed, box, diverging_label, beyond=bool(pooled.max() > limit))
    sheet.save(path)


def draw_densities(
    panel: Any, grid: NDArray, curves: list[tuple[str, NDArray, str, str]], label: str
) -> None:
    """Draw densities on one axis; a curve is its name, values on the grid, colour and stroke."""
    for name, density, colour, stroke in curves:
        panel.plot(grid, density, color=colour, linestyle=stroke, linewidth=1.6, label=name)
    panel.set(xlim=(grid[0], grid[-1]), yticks=[])
    panel.set_ylim(bottom=0)
    panel.set_xlabel(label, fontsize=9, color=INK)
    panel.set_ylabel("density", fontsize=9, color=INK)
    panel.tick_params(labelsize=8, colors=INK, width=0.6, length=3)
    for side, spine in panel.spines.items():
        spine.set(visible=side in ("bottom", "left"), color=FAINT, linewidth=0.6)
    panel.legend(frameon=False, fontsize=9, labelcolor=INK, handlelength=2.6)
