"""What a training did: a page and a figure beside the model, written from its record and logs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bids_harmony.io.atomic import write_atomically
from bids_harmony.training.training_log import read_log

__all__ = ["REPORT_FILE", "write_training_report"]

REPORT_FILE = "training.md"
_FIGURE_FILE = "training.png"
#: Numbers of a log that are losses or validations; the others (rates, weights) are not drawn.
_DRAWN = ("loss", "validation", "mse_network", "mse_closed_form")
_LEGEND = {
    "loss": "training loss",
    "validation": "held-out loss",
    "mse_network": "squared error to the ground truth",
    "mse_closed_form": "the same, closed form alone",
}


def write_training_report(folder: Path, made: Mapping[str, Any]) -> Path:
    """Write ``training.md`` and, where there are logs, ``training.png``.

    Parameters
    ----------
    folder : Path
        Of the model, with its ``*_log.csv``.
    made : mapping
        The ``extra`` of ``model.json``.

    Returns
    -------
    Path
        The page.
    """
    lines = [
        "# Training",
        "",
        f"bids_harmony {made.get('version', '')}. Research software, not for diagnosis.",
        "",
        *_stages(made),
    ]
    logs = {p.name.removesuffix("_log.csv"): read_log(p) for p in sorted(folder.glob("*_log.csv"))}
    logs = {stage: rows for stage, rows in logs.items() if rows}
    if logs:
        write_atomically(folder / _FIGURE_FILE, _figure(logs))
        lines += [f"![Losses by step]({_FIGURE_FILE})", ""]
    profiles = made.get("banks", [])
    if profiles:
        lines += ["## Sites", "", "| site | modality | scans |", "| --- | --- | --- |"]
        lines += [f"| {b['site']} | {b['modality']} | {', '.join(b['scans'])} |" for b in profiles]
    path = folder / REPORT_FILE
    write_atomically(path, ("\n".join(lines).rstrip() + "\n").encode())
    return path


def _stages(made: Mapping[str, Any]) -> list[str]:
    twins, adaptation = made.get("twins") or {}, made.get("adaptation") or {}
    rows = []
    for old, new, whose in (
        ("own_before", "own_unseen", "of the own sites"),
        ("before", "unseen", "of any scanners"),
    ):
        if twins.get("steps") and twins.get(new):
            before = twins.get(old) or {}
            rows.append(
                ["synthetic twins", twins["steps"], f"RMSE on unseen twins {whose}",
                 before.get("network"), twins[new]["network"], twins.get("kept", True), ""]
            )  # fmt: skip
    if adaptation.get("done"):
        rows.append(
            ["adaptation", adaptation["steps"], "loss of people held out",
             adaptation["held_out_before"], adaptation["held_out_after"], adaptation["kept"],
             adaptation["reason"]]
        )  # fmt: skip
    if not rows:
        return [
            adaptation.get("reason", "Nothing was trained: site profiles alone were made."),
            "",
        ]
    head = ["stage", "steps", "validation", "before", "after", "kept", "why"]
    lines = ["| " + " | ".join(head) + " |", "| --- | ---: | --- | ---: | ---: | --- | --- |"]
    return [*lines, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows), ""]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _figure(logs: Mapping[str, list[dict[str, float]]]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(logs), 3), layout="constrained")
    for number, (stage, rows) in enumerate(logs.items(), start=1):
        axes = figure.add_subplot(1, len(logs), number)
        axes.set(title=stage, xlabel="step")
        for name in (n for n in _DRAWN if n in rows[0]):
            values = np.array([row[name] for row in rows])
            known = np.flatnonzero(np.isfinite(values))
            # Few points are marked; many are a line.
            axes.plot(known, values[known], "o-" if len(known) < 20 else "-", ms=3, lw=0.8,
                      label=_LEGEND[name])  # fmt: skip
        axes.legend(fontsize=7, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
