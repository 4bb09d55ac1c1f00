"""The picture of what harmonization did to a diffusion series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.reports.planes import FAINT, INK, PLANES, Sheet, cut, in_ras, voxel_sizes

__all__ = ["series_figure"]

_COLUMN = 2.0  # inches
# Rounding to integers shall not look like a change.
_SMALLEST_RANGE = 0.01


def series_figure(
    b0: tuple[NDArray, NDArray],
    shell: tuple[NDArray, NDArray],
    mask: NDArray[np.bool_],
    affine: NDArray,
    path: str | Path,
    *,
    shell_name: str,
    title: str = "",
    note: str = "",
) -> None:
    """Draw mean b=0 and mean S/S0 of a shell in three planes: source, harmonized, change.

    Both images of a pair share one grey window, 0 to the larger 99.5th percentile inside the mask;
    S/S0 is drawn inside the mask alone, because outside it is noise over noise. Changes are drawn
    around zero up to their 99.5th percentile inside the mask, at least to 0.01.

    Parameters
    ----------
    b0 : pair of (X, Y, Z) arrays
        Mean b=0 of source and harmonized series, in units of the source's scale.
    shell : pair of (X, Y, Z) arrays
        Mean S/S0 over the volumes of one shell.
    mask : (X, Y, Z) bool array
        The brain; its outline is drawn.
    affine : (4, 4) array
        Voxel to world, RAS+ mm; arrays in another voxel order are turned for drawing.
    path : path-like
        The PNG; its folder must exist.
    shell_name : str
        Such as ``b = 1000 s/mm²``.
    title, note : str
        First and second line.

    Raises
    ------
    DataError
        If shapes differ or the mask is empty.
    """
    shapes = {np.shape(image) for image in (*b0, *shell, mask)}
    if len(shapes) > 1 or not np.any(mask):
        got = ", ".join(map(str, shapes)) if len(shapes) > 1 else "an empty mask"
        raise DataError("A figure needs volumes of one shape", where=str(path), got=got)
    inside = in_ras(np.asarray(mask, bool), affine)
    columns: list[tuple[str, NDArray, dict[str, Any]]] = []
    limits = []
    names = ("mean b = 0", f"S/S0 at {shell_name}")
    for pair, masked in ((b0, False), (shell, True)):
        before, after = (in_ras(np.asarray(image, np.float32), affine) for image in pair)
        if masked:
            before, after = before * inside, after * inside
        change = after - before
        top = float(max(np.percentile(a[inside], 99.5) for a in (before, after))) or 1.0
        limit = max(float(np.percentile(np.abs(change[inside]), 99.5)), _SMALLEST_RANGE)
        grey = {"cmap": "gray", "vmin": 0.0, "vmax": top}
        columns += [
            ("source", before, grey),
            ("harmonized", after, grey),
            ("change", change, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}),
        ]
        limits.append(limit)

    picture = cut(inside, columns[0][1] > 0.1 * columns[0][2]["vmax"], voxel_sizes(affine))
    inch_per_mm = _COLUMN / max(picture.size(plane.right) for plane in PLANES)
    heights = [picture.size(plane.up) * inch_per_mm for plane in PLANES]
    gap, left, head, bar = 0.06, 0.2, 1.25 if note else 1.0, 0.8
    half = 3 * (_COLUMN + gap) + bar
    sheet = Sheet(left + 2 * half, head + sum(heights) + 3 * gap + 0.35)
    sheet.text(left, sheet.height - 0.25, title, size=13)
    sheet.text(left, sheet.height - 0.52, note, colour=FAINT)
    bottom = sheet.height - head
    for index, name in enumerate(names):
        sheet.text(left + index * half, bottom + 0.32, name, size=11)
    for plane, height in zip(PLANES, heights, strict=True):
        bottom -= height + gap
        for index, (heading, data, style) in enumerate(columns):
            x = left + (index // 3) * half + (index % 3) * (_COLUMN + gap)
            panel = sheet.panel(x, bottom, _COLUMN, height)
            drawn = sheet.draw(
                panel,
                picture.plane(data, plane),
                (float(picture.voxel[plane.right]), float(picture.voxel[plane.up])),
                style,
                outline=picture.plane(inside, plane),
                letters=plane.letters,
                inch_per_mm=inch_per_mm,
            )
            if plane is not PLANES[0]:
                continue
            panel.set_title(heading, fontsize=9, color=INK, pad=5)
            if index % 3 == 2:
                box = (x + _COLUMN + 0.1, bottom + 0.1, 0.11, height - 0.2)
                units = "fraction of the scale" if index == 2 else "S/S0"
                beyond = bool(np.abs(data).max() > limits[index // 3])
                sheet.colour_bar(drawn, box, units, beyond=beyond)
    sheet.save(path)
