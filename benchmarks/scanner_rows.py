"""The file of simulated scanners: written here, read by `phantom.real_scanners`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np

from bids_harmony.phantom.file_effects import FileEffects
from bids_harmony.phantom.real_scanners import scanner_rows
from bids_harmony.phantom.scanner import Scanner

__all__ = ["rows_in_order", "write_rows"]

Array = np.ndarray

TABLE = Path(__file__).resolve().parent.parent / "bids_harmony" / "data" / "real_scanners.tsv"


def write_rows(scanners: list[Scanner]) -> None:
    """Write rows in mixed order: neighbours are to differ."""
    rows = [_row(scanners[i]) for i in _mixed(len(scanners))]
    lines = ["\t".join(rows[0])] + ["\t".join(row.values()) for row in rows]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _mixed(count: int) -> Array:
    return np.random.default_rng(1).permutation(count)


def rows_in_order() -> list[Mapping[str, str]]:
    rows = scanner_rows()
    return [rows[k] for k in np.argsort(_mixed(len(rows)))]


def _row(scanner: Scanner) -> dict[str, str]:
    t1w, t2w = (scanner.sequences[m] for m in ("T1w", "T2w"))
    assert scanner.effects is not None
    numbers = {
        "field_tesla": scanner.field_tesla,
        "bias_log_sd": scanner.bias_log_sd,
        "bias_seed": scanner.bias_seed,
        "flip_spread": scanner.flip_spread,
        "gamma": scanner.gamma,
        "noise": scanner.noise,
        "sharpness_mm": scanner.sharpness_mm,
        "thick_mm": scanner.thick_mm,
        "thick_axis": scanner.thick_axis,
        **{
            name: getattr(t1w, name)
            for name in ("repetition_ms", "echo_ms", "inversion_ms", "flip_deg")
        },
        **{name: getattr(t1w, name) for name in ("views", "spacing_ms", "centre")},
        "t2w_repetition_ms": t2w.repetition_ms,
        "t2w_echo_ms": t2w.echo_ms,
        "t2w_noise": scanner.detail("T2w").noise,
        "t2w_sharpness_mm": scanner.detail("T2w").sharpness_mm,
        **dict(zip(("matrix_x", "matrix_y", "matrix_z"), scanner.effects.matrix, strict=True)),
        **{
            f.name: float(getattr(scanner.effects, f.name))
            for f in fields(FileEffects)
            if f.name != "matrix"
        },
    }
    return {"kind": t1w.kind, **{name: f"{value:.6g}" for name, value in numbers.items()}}
