"""Pictures of what harmonization did to a diffusion series and to the maps fitted to it.

Pure drawing, as in `change`: arrays in, one PNG out, the same bytes for the same input.
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
from bids_harmony.reports import paper
from bids_harmony.reports.planes import PLANES, Cell, check_one_grid, cut, in_ras, voxel_sizes

__all__ = ["map_distributions_figure", "maps_figure", "series_figure"]

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
    "nd": _Shown("ND (FORCE)", 1.0, 1.0, 1.0),
    "dispersion": _Shown("dispersion (FORCE)", 1.0, 1.0, 1.0),
}
_COLOUR = "colour FA"
_LARGEST_ANGLE = 30.0
_THINNEST_MM = 40.0
_STAGES = ("source", "harmonized", "harmonized − source")
_MAPS = paper.Layout(
    1.45, 0.05, left=0.85, right=0.95, after_group=0.2, fitted=True, heading=(11, 0.12),
    bar=(0.28, 0.1, 0.08),
)  # fmt: skip
_SERIES = paper.Layout(
    2.0, left=0.2, head=1.0, after_group=0.8, heading=(9, 0.044), bar=(0.1, 0.11, 0.1)
)
# Rounding to integers shall not pass for a change.
_SMALLEST_RANGE = 0.01


def series_figure(
    b0: tuple[NDArray, NDArray],
    shell: tuple[NDArray, NDArray],
    mask: NDArray[np.bool_],
    affine: NDArray,
    path: str | Path,
    *,
    shell_name: str,
    title: str,
    note: str,
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
    check_one_grid(mask, *b0, *shell, where=path)
    inside = in_ras(np.asarray(mask, bool), affine)
    images: list[tuple[NDArray, dict[str, Any], str]] = []
    for pair, shown in ((b0, True), (shell, inside)):
        before, after = (in_ras(np.asarray(a, np.float32), affine) * shown for a in pair)
        change, window = after - before, paper.grey(paper.bright(inside, before, after))
        signed = paper.around_zero(max(paper.strongest(change, inside), _SMALLEST_RANGE))
        images += [
            (before, window, paper.ON_GREY),
            (after, window, paper.ON_GREY),
            (change, signed, paper.ON_COLOURS),
        ]
    picture = cut(inside, images[0][0] > 0.1 * images[0][1]["vmax"], voxel_sizes(affine))
    sheet = paper.draw_table(
        [
            [picture.cell(data, plane, style, {line: inside}) for data, style, line in images]
            for plane in PLANES
        ],
        _SERIES,
        title=title,
        note=note,
        groups=("mean b = 0", f"S/S0 at {shell_name}"),
        headings=("source", "harmonized", "change") * 2,
        bars=[
            paper.Bar(0, 2, "fraction of the scale", images[2][0]),
            paper.Bar(0, 5, "S/S0", images[5][0]),
        ],
    )
    sheet.save(path)


def maps_figure(
    source: Maps,
    harmonized: Maps,
    mask: NDArray[np.bool_],
    affine: NDArray,
    path: str | Path,
    title: str,
    note: str,
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
    names = [n for n in _SHOWN if n in source and n in harmonized]
    if not names:
        raise DataError("No map that both series have", where=str(path))
    check_one_grid(mask, *(maps[n] for maps in (source, harmonized) for n in names), where=path)
    inside = in_ras(mask, affine)
    picture = cut(inside, inside, voxel_sizes(affine))
    # Across a thin slab there is nothing to see; its slices get the room.
    planes = [p for p in PLANES if p.normal == 2 or picture.size(2) > _THINNEST_MM]
    rows: list[list[Cell]] = []
    labels, bars = [], []

    def add(words: str, bar: str, *images: tuple[NDArray, dict[str, Any]]) -> None:
        turned = [(in_ras(image, affine), style) for image, style in images]
        cells = [picture.cell(data, plane, style) for data, style in turned for plane in planes]
        bars.append(paper.Bar(len(rows), len(cells) - 1, bar, images[-1][0]))
        rows.append([c._replace(letters=None) for c in cells] if rows else cells)
        labels.append(words.replace(" ", "\n"))

    if "v1" in source and "v1" in harmonized and "fa" in names:
        colours = [
            (_directions(maps, mask, affine), paper.grey(1.0)) for maps in (source, harmonized)
        ]
        angle = np.nan_to_num(angle_between(source["v1"], harmonized["v1"]))
        # Directions of round tensors are noise.
        angle = np.where(mask & (source["fa"] > 0.2), angle, 0)
        add(_COLOUR, "turn where FA > 0.2 (°)", *colours, (angle, paper.grey(_LARGEST_ANGLE)))
    for name in names:
        shown = _SHOWN[name]
        before, after = (
            np.where(mask, maps[name], 0) * shown.times for maps in (source, harmonized)
        )
        change, window = after - before, paper.grey(shown.window)
        signed = paper.around_zero(paper.strongest(change, mask, percentile=99) or 0.01)
        add(shown.words, "change", (before, window), (after, window), (change, signed))
    layout = _MAPS if len(planes) > 1 else _MAPS._replace(column=1.8 * _MAPS.column)
    sheet = paper.draw_table(
        rows, layout, title=title, note=note, groups=("",) * len(_STAGES), headings=_STAGES,
        labels=labels, bars=bars,
    )  # fmt: skip
    sheet.save(path)


def map_distributions_figure(
    source: Maps,
    harmonized: Maps,
    tissues: Mapping[str, NDArray[np.bool_]],
    path: str | Path,
    title: str,
) -> None:
    """Draw the distribution of each map in each tissue, before and after harmonization.

    Parameters
    ----------
    source, harmonized : mapping of parameter to (X, Y, Z) array
        Any of fa, md (mm2/s), ndi, odi, nd, dispersion.
    tissues : mapping of name to (X, Y, Z) bool
        A row each, such as "white matter" and "grey matter", the same for both.
    path : path-like
        The PNG; its folder must exist.
    title : str

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
    sheet = paper.Sheet(
        left + len(columns) * (wide + 0.25), head + len(filled) * (high + 0.62) + 0.3
    )
    sheet.text(0.15, sheet.height - 0.25, title, size=13)
    for i, (tissue, where) in enumerate(filled.items()):
        bottom = sheet.height - head - (i + 1) * (high + 0.62) + 0.55
        sheet.text(left - 0.3, bottom + high / 2, tissue.replace(" ", "\n"), ha="right")
        for j, name in enumerate(columns):
            shown = _SHOWN[name]
            grid = np.linspace(0, shown.axis, 300)
            before, after = (
                density_curve(maps[name][where] * shown.times, grid)
                for maps in (source, harmonized)
            )
            panel = sheet.panel(left + j * (wide + 0.25), bottom, wide, high)
            paper.draw_densities(panel, grid, paper.before_and_after(before, after), shown.words)
            panel.locator_params(axis="x", nbins=5)
            panel.get_legend().remove()
            if j:
                panel.set_ylabel("")
    # Above the panels: inside, it would hide a curve.
    lines = panel.get_legend_handles_labels()
    sheet.figure.legend(*lines, loc="upper right", ncols=3, frameon=False, fontsize=9)
    sheet.save(path)


def _directions(maps: Maps, mask: NDArray[np.bool_], affine: NDArray) -> NDArray:
    """Red, green and blue of the main directions, as bright as FA."""
    weight = np.where(mask, maps["fa"] / _SHOWN["fa"].window, 0)[..., None]
    return np.clip(np.abs(world_directions(maps["v1"], affine)) * weight, 0, 1)
