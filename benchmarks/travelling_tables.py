"""Tables of the travelling-subject benchmark: flat rows in, Markdown lines out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "Row",
    "Value",
    "cell",
    "heading",
    "markdown",
    "row_table",
    "seed_value",
    "selected",
    "split",
]

Row = Mapping[str, Any]
#: Mean over seeds, standard deviation between them (None: one seed), number of seeds.
Value = tuple[float, float | None, int]

_DECIMALS = {"_db": 2, "rmse": 4, "lpips": 4, "ssim": 4, "change_rms": 4, "seconds": 1}


def selected(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Rows that have all of the given values."""
    return [r for r in rows if all(r.get(k) == v for k, v in wanted.items())]


def split(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by the values of some keys, in order of appearance."""
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        parts.setdefault(tuple(row.get(k) for k in keys), []).append(row)
    return parts


def seed_value(rows: Sequence[Row], figure: str) -> Value | None:
    """Mean over scans, seed by seed, then over seeds.

    Parameters
    ----------
    rows : sequence of mapping
        Means of ``scans`` scans each (1 if not given), with a ``seed``.
    figure : str

    Returns
    -------
    Value or None
        None where no row has the figure. A figure that is not finite counts as it is, so that it
        shows.
    """
    known = [r for r in rows if r.get(figure) is not None]
    means = [
        float(np.average([r[figure] for r in part], weights=[r.get("scans", 1) for r in part]))
        for part in split(known, "seed").values()
    ]
    if not means:
        return None
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return float(np.mean(means)), spread, len(means)


def cell(value: Value | None, figure: str, *, bold: bool = False, sign: bool = False) -> str:
    """A value with the digits of its figure; an en dash where there is none."""
    if value is None:
        return "–"
    mean, spread, _ = value
    text = _number(mean, figure, sign=sign)
    if spread is not None and spread > 0:
        text += f" ± {_number(spread, figure)}"
    return f"**{text}**" if bold else text


def _number(value: float, figure: str, *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    places = next((n for part, n in _DECIMALS.items() if part in figure), None)
    return f"{value:{plus}.4g}" if places is None else f"{value:{plus}.{places}f}"


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> list[str]:
    """A Markdown table whose first `words` columns are text and the others numbers."""
    marks = ["---"] * words + ["---:"] * (len(heads) - words)
    lines = [heads, marks, *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def row_table(rows: Sequence[Row], *, leave_out: Iterable[str] = ()) -> list[str]:
    """A table of any flat rows: columns from their keys, in order of appearance.

    Fractional numbers are averaged over seeds, and the spread between seeds is given; everything
    else (words, switches, counts) tells rows apart.

    Parameters
    ----------
    rows : sequence of mapping
    leave_out : iterable of str
        Keys without a column.
    """
    hidden = {"seed", "scans", *leave_out}
    keys = [k for k in dict.fromkeys(k for r in rows for k in r) if k not in hidden]
    measured = {k for k in keys if any(isinstance(r.get(k), float) for r in rows)}
    # Beside each other: what tells rows apart, then what was measured.
    named = [k for k in keys if k not in measured]
    words = [k for k in named if any(isinstance(r.get(k), (str, bool)) for r in rows)]
    order = [*words, *(k for k in named if k not in words), *(k for k in keys if k in measured)]
    lines = []
    for values, part in split(rows, *named).items():
        fixed = dict(zip(named, values, strict=True))
        lines.append(
            [
                cell(seed_value(part, k), k, sign=k == "gain_db") if k in measured
                else _fixed(fixed[k])
                for k in order
            ]
        )  # fmt: skip
    heads = [heading(k) for k in order]
    return markdown(heads, lines, words=len(words))


def heading(key: str) -> str:
    """A key as the head of a column."""
    known = {"rmse": "RMSE", "lpips": "LPIPS", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "n": "n"}
    if key in known:
        return known[key]
    text = key.replace("psnr", "PSNR").replace("rmse", "RMSE").replace("ms_ssim", "MS-SSIM")
    for unit in ("db", "mm"):
        text = text.removesuffix(f"_{unit}") + (
            f", {unit.replace('db', 'dB')}" if text.endswith(f"_{unit}") else ""
        )
    return text.replace("gain_free", "gain-free").replace("_", " ")


def _fixed(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "/")
