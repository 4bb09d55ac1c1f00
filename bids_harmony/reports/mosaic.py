"""A table of slices: one row per scan or site, one column per image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.reports import paper
from bids_harmony.reports.planes import Cell

__all__ = ["mosaic_figure"]

_LAYOUT = paper.Layout(1.75, 0.04, foot=0.3, heading=(10, 0.12), bar=(0.12, 0.13, 0.05))


def mosaic_figure(
    rows: Mapping[str, Mapping[str, NDArray]],
    path: str | Path,
    *,
    title: str = "",
    change_label: str = "",
    pixel_mm: float = 1.0,
) -> None:
    """Draw a table of slices: one row per key, one column per inner key.

    Every row has its grey window, 0 to the 99.5th percentile of its positive pixels. Changes are
    drawn around zero in colours, with one range for all.

    Parameters
    ----------
    rows : mapping of row label to mapping of column label to (X, Y) array
        Slices in RAS order: the first axis runs to the right, the second up. A missing cell stays
        empty.
    path : path-like
        The PNG; its folder must exist.
    title : str
        Above the table.
    change_label : str
        If the slices are changes: what the colours mean, with the unit.
    pixel_mm : float
        Edge of a pixel.

    Raises
    ------
    DataError
        If there is nothing to draw or an array is not two-dimensional.
    """
    slices = [np.asarray(image) for row in rows.values() for image in row.values()]
    if not slices or any(image.ndim != 2 for image in slices):
        got = ", ".join(str(image.shape) for image in slices) or "none"
        raise DataError("A mosaic needs two-dimensional slices", where=str(path), got=got)
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    signed = paper.around_zero(_top(np.abs(slice_) for slice_ in slices))
    cells = []
    for row in rows.values():
        style = signed if change_label else paper.grey(_top(row.values()))
        cells.append(
            [Cell(row[c].T, (pixel_mm,) * 2, style) if c in row else None for c in columns]
        )
    layout = _LAYOUT._replace(
        left=0.3 + 0.075 * max(len(name) for name in rows),
        head=0.7 if title else 0.4,
        after_group=1.0 if change_label else 0.1,
    )
    changes = np.concatenate([image.ravel() for image in slices])
    bars = [paper.Bar(0, 0, change_label, changes)] if change_label else []
    paper.draw_table(
        cells, layout, title=title, headings=columns, labels=list(rows), bars=bars
    ).save(path)


def _top(images: Iterable[NDArray]) -> float:
    """The 99.5th percentile of positive pixels."""
    values = np.concatenate([image[image > 0] for image in images])
    return float(np.percentile(values, 99.5)) if values.size else 1.0
