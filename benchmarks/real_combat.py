"""What the group level's statistics say of twenty real travelling people, and what ComBat changes.

    python benchmarks/real_combat.py --tables FOLDER

Regional diffusion measures (TBSS, 48 regions) of 20 people at 6 of 8 scanners each (ON-Harmony;
Warrington et al. 2023, 2025; CC0): FOLDER holds its ``phaseAB_120sessions_idps_iqms.csv`` and
``phaseA_80sessions_1022idps.csv``. Variation between scanners and its floor, two scans at one
scanner (`quality.diffusion_sites`), agreement between scanners (`quality.reliability`, two groups
of ten, who share six scanners each), and slope of age, before and after ComBat over scanners with
age and sex kept (`quality.combat`). The MR750 has one shell: NDI, ODI and FWF leave it out.
Medians over regions. ComBat sees the very scans that are measured, as at the level group: a study
without travelling people gets less. Writes ``benchmarks/results/real_combat.json`` and a table;
only numbers over people are written.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import provenance
from travelling_tables import markdown

from bids_harmony.io.atomic import write_atomically
from bids_harmony.quality.combat import combat
from bids_harmony.quality.diffusion_sites import coefficient_of_variation
from bids_harmony.quality.reliability import icc

RESULTS = Path(__file__).resolve().parent / "results"
MEASURES = {"FA": "fa", "MD": "md", "ICVF": "ndi", "OD": "odi", "ISOVF": "fwf"}
#: Needs several shells, which this scanner does not have.
_SHELLS, _ONE_SHELL = {"ICVF", "OD", "ISOVF"}, "750"
#: Third region of the JHU atlas, genu of the corpus callosum: the source of the data names it.
_GENU = 2
_STATES = ("source", "combat")

Array = np.ndarray


def main() -> None:
    """Measure, adjust, measure again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=Path, required=True)
    options = parser.parse_args()
    people = pd.read_csv(options.tables / "phaseAB_120sessions_idps_iqms.csv")
    repeats = pd.read_csv(options.tables / "phaseA_80sessions_1022idps.csv")
    rows = [row for name in MEASURES for row in _rows(name, people, repeats)]
    record = {
        "name": "real_combat",
        "command": "python benchmarks/real_combat.py --tables FOLDER",
        "seeds": [],
        **provenance(("numpy", "scipy", "pandas")),
        "rows": rows,
    }
    write_atomically(RESULTS / "real_combat.json", (json.dumps(record, indent=1) + "\n").encode())
    write_atomically(RESULTS / "real_combat.md", _page(rows).encode())
    print(_page(rows))


def _rows(name: str, people: pd.DataFrame, repeats: pd.DataFrame) -> list[dict[str, Any]]:
    """Before and after ComBat."""
    columns = _columns(name, people, "TBSS")
    people, repeats = _with(name, people, columns), _with(name, repeats, columns)
    before = people[columns].to_numpy(np.float64)
    covariates = {"age": people.age.to_numpy(), "sex": people.sex.to_numpy()}
    after = combat(before, people.scanner_code.astype(str), covariates=covariates)
    floor = float(np.nanmedian(coefficient_of_variation(_repeated(repeats, columns))))
    rows = []
    for state, values in zip(_STATES, (before, after), strict=True):
        table = people[["subject", "scanner_code", "age"]].reset_index(drop=True)
        between = coefficient_of_variation(_by_person(table, values))
        agreement = [_agreement(table, own) for own in values.T]
        slopes = [np.polyfit(table.age, own / own.mean(), 1)[0] for own in values.T]
        rows.append(
            {
                "measure": MEASURES[name], "state": state, "n": table.subject.nunique(),
                "scans": len(table),
                "scanners": table.scanner_code.nunique(), "regions": len(columns),
                "cov_scanners": _rounded(between),
                "cov_scanners_genu": round(float(between[_GENU]), 4),
                "cov_people": _rounded(_between_people(table, values)),
                "cov_floor": round(floor, 4),
                "icc": _rounded(np.array(agreement)),
                "age_per_decade": _rounded(10 * np.array(slopes)),
            }
        )  # fmt: skip
    return rows


def between_and_repeated(
    name: str, people: pd.DataFrame, repeats: pd.DataFrame, atlas: str
) -> tuple[Array, Array]:
    """CoV between scanners and between scans at one, by region.

    Parameters
    ----------
    name : str
        Of `MEASURES`.
    people, repeats : DataFrame
        The two tables.
    atlas : {"TBSS", "xtract"}
    """
    columns = _columns(name, people, atlas)
    people, repeats = _with(name, people, columns), _with(name, repeats, columns)
    table = people[["subject"]].reset_index(drop=True)
    between = coefficient_of_variation(_by_person(table, people[columns].to_numpy(np.float64)))
    return between, coefficient_of_variation(_repeated(repeats, columns))


def _columns(name: str, table: pd.DataFrame, atlas: str) -> list[str]:
    return [c for c in table if c.startswith(f"dMRI_{atlas}_{name}_")]


def _with(name: str, table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Scans that have the measure."""
    if name in _SHELLS:
        table = table[table.scanner_code.astype(str) != _ONE_SHELL]
    return table[table[columns].notna().all(axis=1)]


def _rounded(values: Array) -> float:
    return round(float(np.nanmedian(values)), 4)


def _by_person(table: pd.DataFrame, values: Array) -> Array:
    """(people, scans, regions)."""
    return _filled([values[index] for index in table.groupby("subject").indices.values()])


def _filled(groups: list[Array]) -> Array:
    """Scans of each as one table, NaN where somebody has fewer."""
    most = max(len(group) for group in groups)
    return np.stack(
        [np.pad(g, ((0, most - len(g)), (0, 0)), constant_values=np.nan) for g in groups]
    )


def _between_people(table: pd.DataFrame, values: Array) -> Array:
    """Standard deviation of people's means over the mean, by region."""
    means = np.nanmean(_by_person(table, values), axis=1)
    return np.asarray(means.std(axis=0, ddof=1) / means.mean(axis=0))


def _agreement(table: pd.DataFrame, values: Array) -> float:
    """ICC(2,1), mean of the groups who share their scanners."""
    wide = table.assign(value=values).pivot_table(
        index="subject", columns="scanner_code", values="value"
    )
    groups = wide.notna().apply(tuple, axis=1)
    found = [
        icc(own.dropna(axis=1).to_numpy()).icc for _, own in wide.groupby(groups) if len(own) > 1
    ]
    return float(np.mean(found))


def _repeated(table: pd.DataFrame, columns: list[str]) -> Array:
    """People at one scanner, twice and more."""
    groups = (own for _, own in table.groupby(["subject", "scanner_code"]) if len(own) > 1)
    return _filled([own[columns].to_numpy(np.float64) for own in groups])


def _page(rows: list[dict[str, Any]]) -> str:
    heads = {
        "measure": "measure", "state": "state", "n": "people", "scanners": "scanners",
        "cov_scanners": "CoV between scanners", "cov_floor": "two scans at one",
        "cov_people": "CoV between people", "icc": "ICC(2,1)", "age_per_decade": "age, per decade",
    }  # fmt: skip
    shown = ("cov_scanners", "cov_floor", "cov_people", "age_per_decade")

    def cell(row: dict[str, Any], name: str) -> str:
        return f"{100 * row[name]:.1f} %" if name in shown else str(row[name])

    body = [[cell(row, name) for name in heads] for row in rows]
    about = (__doc__ or "").split("\n\n")[2].strip()
    return f"# ComBat on real travelling people\n\n{about}\n\n" + "\n".join(
        [*markdown(list(heads.values()), body, words=2), ""]
    )


if __name__ == "__main__":
    main()
