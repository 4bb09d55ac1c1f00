"""The pictures of a scan's report: each one row of three planes, all of one size.

Before and after can be laid over each other, so they have no words in them; the page says what
they are. Pure drawing, as in `figures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.quality.distributions import density_curve, density_of_quantiles
from bids_harmony.reports.figures import BLUE, VERMILION, draw_densities
from bids_harmony.reports.planes import (
    BLACK,
    PLANES,
    Picture,
    Sheet,
    cut,
    in_ras,
    voxel_sizes,
)

__all__ = ["BRAIN_COLOUR", "WHITE_MATTER_COLOUR", "draw_scanner_settings", "draw_outlines"]

# Okabe and Ito's sky blue and orange: all readers tell them from grey and from each other.
BRAIN_COLOUR, WHITE_MATTER_COLOUR = "#56B4E9", "#E69F00"
_PANEL = 4.0  # inches
_BAR = 1.1  # inches beside the planes, for the colour bar


def draw_scanner_settings(
    source: NDArray,
    harmonized: NDArray,
    target_mean: NDArray,
    mask: NDArray[np.bool_],
    affine: NDArray,
    folder: Path,
    *,
    target_name: str,
    target_quantiles: ArrayLike | None = None,
    units: str = "native units",
) -> list[Path]:
    """Draw what changed: ``before.png``, ``after.png``, ``target.png``, ``change.png`` and
    ``densities.png``.

    Grey windows are those of `figures.subject_figure`: one for all, from 0 to the larger 99.5th
    percentile of source and harmonized inside the mask; the change around zero.

    Parameters
    ----------
    source, harmonized : (X, Y, Z) arrays
        On one grid, in one intensity unit.
    target_mean : (X, Y, Z) array
        What the target site's images mean like, on the same grid and in the same unit.
    mask : (X, Y, Z) bool array
        The brain.
    affine : (4, 4) array
        Voxel to world of the grid, RAS+ mm.
    folder : Path
        Gets the pictures.
    target_name : str
    target_quantiles : (K,) array-like, optional
        Brain intensities of the target site at even probabilities, for its density; by default the
        positive voxels of its mean image.
    units : str
        Of all images, for axes.

    Returns
    -------
    list of Path
        The five, in the order above.

    Raises
    ------
    DataError
        If shapes differ or the mask is empty.
    """
    shapes = {np.shape(a) for a in (source, harmonized, target_mean, mask)}
    if len(shapes) != 1 or not mask.any():
        got = f"shapes {shapes}" if mask.any() else "an empty mask"
        raise DataError("Pictures need images and a brain on one grid", got=got)
    images = [np.asarray(a, np.float32) for a in (source, harmonized, target_mean)]
    before, after, mean = (in_ras(image, affine) for image in images)
    brain = in_ras(np.asarray(mask, bool), affine)
    change = after - before
    top = float(max(np.percentile(a[brain], 99.5) for a in (before, after))) or 1.0
    limit = float(np.percentile(np.abs(change[brain]), 99.5)) or float(np.abs(change).max()) or 1.0
    shown = cut(brain, (before > 0.1 * top) | (mean > 0.1 * top), voxel_sizes(affine))

    grey = {"cmap": "gray", "vmin": 0.0, "vmax": top}
    paths = [folder / f"{name}.png" for name in ("before", "after", "target", "change")]
    for path, data in zip(paths[:3], (before, after, mean), strict=True):
        _row(shown, data, grey)[0].save(path)
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    sheet, drawn, _ = _row(shown, change, colours, beside=_BAR)
    box = (sheet.width - _BAR + 0.1, 0.3, 0.15, sheet.height - 0.6)
    beyond = bool(np.abs(change).max() > limit)
    sheet.colour_bar(drawn, box, f"harmonized − source ({units})", beyond=beyond)
    sheet.save(paths[3])

    grid = np.linspace(0, 1.2 * top, 400)
    target = (
        density_curve(mean[mean > 0], grid)
        if target_quantiles is None
        else density_of_quantiles(target_quantiles, grid)
    )
    curves = [
        ("source", density_curve(before[brain], grid), BLUE, "--"),
        ("harmonized", density_curve(after[brain], grid), VERMILION, "-"),
        (target_name, target, BLACK, ":"),
    ]
    sheet = Sheet(8.0, 2.8, footer="")
    draw_densities(
        sheet.panel(0.4, 0.65, 7.4, 2.0),
        grid,
        curves,
        f"intensity inside the brain mask ({units})",
    )
    sheet.save(folder / "densities.png")
    return [*paths, folder / "densities.png"]


def draw_outlines(
    data: NDArray, outlines: Mapping[str, NDArray[np.bool_]], affine: NDArray, path: Path
) -> None:
    """Draw a scan with the borders of one or more regions over it.

    Parameters
    ----------
    data : (X, Y, Z) array
        Any unit; its grey window is 0 to the 99.5th percentile inside the first region.
    outlines : mapping of colour to (X, Y, Z) bool array
        On the same grid; planes are cut where the first is largest.
    affine : (4, 4) array
        Voxel to world, RAS+ mm.
    path : Path
        The PNG; its folder must exist.

    Raises
    ------
    DataError
        If shapes differ or there is no region.
    """
    regions = {c: in_ras(np.asarray(m, bool), affine) for c, m in outlines.items()}
    image = in_ras(np.asarray(data, np.float32), affine)
    if not regions or any(region.shape != image.shape for region in regions.values()):
        got = ", ".join(str(region.shape) for region in regions.values()) or "no region"
        raise DataError("Outlines must be on the scan's grid", where=str(path), got=got)
    first = next(iter(regions.values()))
    inside = image[first] if first.any() else image
    top = float(np.percentile(inside, 99.5)) or 1.0
    shown = cut(first, image > 0.1 * top, voxel_sizes(affine))
    style = {"cmap": "gray", "vmin": 0.0, "vmax": top}
    sheet, _, panels = _row(shown, image, style)
    for panel, plane in zip(panels, PLANES, strict=True):
        pixel = float(shown.voxel[plane.right]), float(shown.voxel[plane.up])
        for colour, region in regions.items():
            sheet.outline(panel, shown.plane(region, plane), pixel, colour, width=1.3)
    sheet.save(path)


def _row(
    shown: Picture, data: NDArray, style: Mapping[str, Any], *, beside: float = 0.0
) -> tuple[Sheet, Any, Sequence[Any]]:
    """Axial, coronal and sagittal plane, each on a third of a sheet; room in inches beside them.

    Returns the sheet, the last image drawn and the three panels.
    """
    inch_per_mm = _PANEL / max(shown.size(plane.right) for plane in PLANES)
    height = max(shown.size(plane.up) for plane in PLANES) * inch_per_mm
    sheet = Sheet(len(PLANES) * _PANEL + beside, height, footer="")
    panels, drawn = [], None
    for index, plane in enumerate(PLANES):
        panel = sheet.panel(index * _PANEL, 0, _PANEL, height)
        drawn = sheet.draw(
            panel,
            shown.plane(data, plane),
            (float(shown.voxel[plane.right]), float(shown.voxel[plane.up])),
            style,
            letters=plane.letters,
            inch_per_mm=inch_per_mm,
        )
        panels.append(panel)
    return sheet, drawn, panels
