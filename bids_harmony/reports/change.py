"""Pictures of what harmonization did to a scan: a figure, and pictures of its page.

Pure drawing: arrays in, PNG files out, written atomically, the same bytes for the same input. The
subject's left is drawn on the left-hand side and marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_harmony.quality.distributions import density_curve, density_of_quantiles
from bids_harmony.reports import paper
from bids_harmony.reports.planes import PLANES, Picture, check_one_grid, cut, in_ras, voxel_sizes

__all__ = ["Comparison", "draw_outlines", "page_pictures", "subject_figure"]

_UNITS = "fraction of the scan's scale"
_CHANGE_LABEL = f"harmonized − source ({_UNITS})"
_DENSITIES = 1.9, 0.85  # height, and what is below
_FIGURE = paper.Layout(2.5, left=0.25, after_group=1.0, foot=0.35 + sum(_DENSITIES))
# Before and after can be laid over each other in a page, so they have no words in them.
_STRIP = paper.Layout(4.0, gap=0, head=0, foot=0, bar=(0.1, 0.15, 0.3), footer="")


@dataclass(frozen=True)
class Comparison:
    """A scan before and after, beside what scans of the target site mean like.

    Attributes
    ----------
    source, harmonized, target_mean : (X, Y, Z) arrays
        On one grid, in fractions of the scan's scale; the last is the target's mean image.
    mask : (X, Y, Z) bool array
        The brain.
    affine : (4, 4) array
        Voxel to world of the grid, RAS+ mm. Arrays in another voxel order are turned for drawing.
    target_quantiles : (K,) array
        Brain intensities of the target site at even probabilities from 0 to 1.
    target_name : str

    Raises
    ------
    DataError
        If shapes differ or the mask is empty.
    """

    source: NDArray
    harmonized: NDArray
    target_mean: NDArray
    mask: NDArray[np.bool_]
    affine: NDArray
    target_quantiles: NDArray
    target_name: str

    def __post_init__(self) -> None:
        images = ("source", "harmonized", "target_mean")
        where = f"comparison with {self.target_name}"
        check_one_grid(self.mask, *(getattr(self, name) for name in images), where=where)
        for name, kind in (*((name, np.float32) for name in images), ("mask", np.bool_)):
            turned = in_ras(np.asarray(getattr(self, name), kind), self.affine)
            object.__setattr__(self, name, turned)

    @property
    def change(self) -> NDArray:
        """Harmonized less source."""
        return self.harmonized - self.source

    @property
    def window(self) -> dict[str, Any]:
        """One grey window for all: 0 to the larger 99.5th percentile of source and harmonized."""
        return paper.grey(paper.bright(self.mask, self.source, self.harmonized))

    @property
    def colours(self) -> dict[str, Any]:
        """Of the change: around zero, up to its 99.5th percentile inside the mask."""
        return paper.around_zero(paper.strongest(self.change, self.mask) or 1.0)

    def draw_densities(self, panel: Any) -> None:
        """Draw the densities of brain intensities."""
        grid = np.linspace(0, 1.2 * self.window["vmax"], 400)
        images = (self.source, self.harmonized)
        curves = paper.before_and_after(*(density_curve(a[self.mask], grid) for a in images))
        target = density_of_quantiles(self.target_quantiles, grid)
        curves.append((self.target_name, target, paper.BLACK, ":"))
        paper.draw_densities(panel, grid, curves, f"intensity inside the brain mask ({_UNITS})")


def subject_figure(shown: Comparison, path: str | Path, title: str, note: str) -> None:
    """Draw source, harmonized, target mean and change in three planes, and the densities.

    Planes are cut where the brain is largest (of the target mean, where that is), and all have one
    scale in mm. The folder of `path` must exist; `title` and `note` are the first lines.
    """
    window, visible, voxel = shown.window, 0.1 * shown.window["vmax"], voxel_sizes(shown.affine)
    mean, line = shown.target_mean > visible, {paper.ON_GREY: shown.mask}
    own, of_mean = cut(shown.mask, shown.source > visible, voxel), cut(mean, mean, voxel)
    columns: tuple[tuple[str, Picture, NDArray, Any, Any], ...] = (
        ("source", own, shown.source, window, line),
        ("harmonized", own, shown.harmonized, window, line),
        (f"mean of {shown.target_name}", of_mean, shown.target_mean, window, {}),
        ("change", own, shown.change, shown.colours, {paper.ON_COLOURS: shown.mask}),
    )
    sheet = paper.draw_table(
        [[picture.cell(data, plane, *how) for _, picture, data, *how in columns]
         for plane in PLANES],
        _FIGURE, title=title, note=note, headings=[heading for heading, *_ in columns],
        bars=[paper.Bar(0, 3, _CHANGE_LABEL, shown.change)],
    )  # fmt: skip
    high, below = _DENSITIES
    left, width = _FIGURE.left + 0.1, sheet.width - _FIGURE.left - 1.1
    shown.draw_densities(sheet.panel(left, below, width, high))
    sheet.save(path)


def page_pictures(shown: Comparison, folder: Path) -> list[Path]:
    """Draw what changed, for a page: before, after, target, change and densities, a PNG each.

    Returns
    -------
    list of Path
        The five, in the order above.
    """
    window = shown.window
    visible = np.maximum(shown.source, shown.target_mean) > 0.1 * window["vmax"]
    picture = cut(shown.mask, visible, voxel_sizes(shown.affine))
    images = {"before": shown.source, "after": shown.harmonized, "target": shown.target_mean}
    for name, data in images.items():
        cells = [picture.cell(data, plane, window) for plane in PLANES]
        paper.draw_table([cells], _STRIP).save(folder / f"{name}.png")
    cells = [picture.cell(shown.change, plane, shown.colours) for plane in PLANES]
    bar = paper.Bar(0, 2, _CHANGE_LABEL, shown.change)
    sheet = paper.draw_table([cells], _STRIP._replace(after_group=1.1), bars=[bar])
    sheet.save(folder / "change.png")
    sheet = paper.Sheet(8.0, 2.8, footer="")
    shown.draw_densities(sheet.panel(0.4, 0.65, 7.4, 2.0))
    sheet.save(folder / "densities.png")
    return [folder / f"{name}.png" for name in (*images, "change", "densities")]


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
        If shapes differ or the first region is empty.
    """
    for region in outlines.values():
        check_one_grid(region, data, where=path)
    image = in_ras(np.asarray(data, np.float32), affine)
    regions = {c: in_ras(np.asarray(r, bool), affine) for c, r in outlines.items()}
    first = next(iter(regions.values()))
    top = paper.bright(first, image)
    picture = cut(first, image > 0.1 * top, voxel_sizes(affine))
    cells = [picture.cell(image, plane, paper.grey(top), regions) for plane in PLANES]
    paper.draw_table([[cell._replace(stroke=1.3) for cell in cells]], _STRIP).save(path)
