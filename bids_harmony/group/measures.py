"""One row of numbers for every scan, before and after: what site effects are looked for in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_harmony.bids.scan_records import part
from bids_harmony.diffusion.maps import SHOWN
from bids_harmony.group.outputs import Output
from bids_harmony.quality.summary import REGION_TISSUES, STAGES, ScanSummary, SeriesSummary

if TYPE_CHECKING:
    from pandas import DataFrame

    from bids_harmony.group.covariates import Covariates

__all__ = ["COMBAT", "Measure", "describe_columns", "measures_of", "table_of", "values_of"]

#: State of measures of the source after ComBat: what readers use where images are left alone.
COMBAT = "combat"
_BRAIN, _GM, _WM, _CSF = range(4)
_MEDIAN, _TOP = 50, 99


@dataclass(frozen=True)
class Measure:
    """A number of a scan: its column, its name on paper, what it says, its unit."""

    key: str
    name: str
    words: str
    unit: str = "1"


_OWN = "fraction of the image's own 99th percentile inside the brain"
_STRUCTURAL = (
    Measure("gm", "grey matter", "Median intensity of grey matter", _OWN),
    Measure("wm", "white matter", "Median intensity of white matter", _OWN),
    Measure("csf", "CSF", "Median intensity of cerebrospinal fluid", _OWN),
    Measure("gm_wm", "grey / white", "Median of grey matter over median of white matter"),
    Measure("wm_spread", "spread of white matter", "Interquartile range of white matter over its "
            "median: noise and receive field"),
    Measure("detail", "fine detail", "Energy of the finest detail in the brain: noise, sharpness",
            "log10 of squared fractions"),
)  # fmt: skip
_TISSUES = ("grey matter", "white matter")
_UNITS = {"md": "mm2/s", "ad": "mm2/s", "rd": "mm2/s"}


def measures_of(outputs: Sequence[Output]) -> tuple[Measure, ...]:
    """What can be measured in all scans of one suffix."""
    series = [o.summary for o in outputs if isinstance(o.summary, SeriesSummary)]
    if not series:
        return _STRUCTURAL
    names = dict.fromkeys(name for summary in series for name in summary.parameters)
    return tuple(
        Measure(
            f"{name}_{'gm' if tissue == 'grey matter' else 'wm'}",
            f"{name.upper()}, {tissue}",
            f"Median {name.upper()} of {tissue}",
            _UNITS.get(name, "1"),
        )
        for name in names
        if name in SHOWN
        for tissue in reversed(_TISSUES)
    )


def table_of(outputs: Sequence[Output], covariates: Covariates) -> DataFrame:
    """Scans as rows: who, where, covariates, and every measure before and after.

    Parameters
    ----------
    outputs : sequence of Output
        Of one suffix and target.
    covariates : mapping
        One value per output.

    Returns
    -------
    DataFrame
        NaN where a scan has no summary.
    """
    import pandas as pd

    rows = []
    for index, output in enumerate(outputs):
        row: dict[str, Any] = {
            "participant_id": f"sub-{output.participant}",
            "session_id": f"ses-{output.session}" if output.session else None,
            "scan": output.label,
            "site": output.site,
            "target_site": output.target,
            "method": output.scan.sidecar.get("HarmonizationMethod"),
        }
        row |= {name: values[index] for name, values in covariates.items() if name not in row}
        row |= values_of(output.summary)
        quality = part(output.scan.sidecar, "HarmonizationQuality")
        row |= {k: v for k, v in quality.items() if k not in row and isinstance(v, float | int)}
        rows.append(row)
    return pd.DataFrame(rows)


def describe_columns(
    measures: Sequence[Measure], covariates: Covariates, described: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """A BIDS data dictionary of `table_of`.

    Parameters
    ----------
    measures : sequence of Measure
    covariates : mapping
    described : mapping
        Descriptions of the quality numbers of single scans.
    """
    words = {
        "participant_id": "Participant",
        "session_id": "Session",
        "scan": "Name of the scan in the dataset, without extension",
        "site": "Site the scan was made at",
        "target_site": "Site to which the scan was harmonized",
        "method": "Method of harmonization",
    }
    columns = {name: {"Description": text} for name, text in words.items()}
    columns |= {
        name: {"Description": f"{name}, from participants.tsv or sessions.tsv of the dataset"}
        for name in covariates
    }
    for measure in measures:
        for state in (*STAGES, COMBAT):
            columns[f"{measure.key}_{state}"] = {
                "Description": f"{measure.words}, {state}",
                "Units": measure.unit,
            }
    return columns | {name: dict(text) for name, text in described.items()}


def values_of(summary: ScanSummary | SeriesSummary | None) -> dict[str, float]:
    """Every measure before and after, by its column; nothing of no summary."""
    if isinstance(summary, ScanSummary):
        return _of_scan(summary)
    return _of_series(summary) if summary is not None else {}


def _of_scan(summary: ScanSummary) -> dict[str, float]:
    row = {}
    for state, quantiles, detail in zip(STAGES, summary.quantiles, summary.detail, strict=True):
        # Whatever gain a scan has is arbitrary: it is divided out.
        # An image without signal or detail has no ratios.
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.asarray(quantiles, np.float64) / quantiles[_BRAIN, _TOP]
            middle = own[:, _MEDIAN]
            row[f"gm_{state}"], row[f"wm_{state}"], row[f"csf_{state}"] = middle[[_GM, _WM, _CSF]]
            row[f"gm_wm_{state}"] = middle[_GM] / middle[_WM]
            row[f"wm_spread_{state}"] = (own[_WM, 75] - own[_WM, 25]) / middle[_WM]
        row[f"detail_{state}"] = detail
    return {key: float(value) if np.isfinite(value) else np.nan for key, value in row.items()}


def _of_series(summary: SeriesSummary) -> dict[str, float]:
    return {
        f"{name}_{tissue}_{state}": float(summary.tissues[s, p, t])
        for s, state in enumerate(STAGES)
        for p, name in enumerate(summary.parameters)
        for t, tissue in enumerate(REGION_TISSUES)
    }
