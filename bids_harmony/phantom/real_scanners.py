"""Scanners drawn as real ones differ: contrast, noise, field and sharpness of T1w and T2w scans.

``data/real_scanners.tsv`` holds simulated scanners. `benchmarks/scanner_table.py` drew measures of
image quality from a distribution fitted to tables of real scanners (MRIQC's measures of one man
on about 115 scanners: Frequently Traveling Human Phantom, Opfer et al. 2022, Eur Radiol), and
looked for the scanner whose scans show them: a pulse sequence that physics allows, at some field
strength, with the noise, the receive field and the sharpness that the measures ask for.
`benchmarks/scanner_fit.py` tests what is drawn, with another man, against the tables.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib import resources

import numpy as np

from bids_harmony.phantom.anatomy import TISSUES
from bids_harmony.phantom.file_effects import FileEffects
from bids_harmony.phantom.image_chain import Detail
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.scanner import Scanner
from bids_harmony.phantom.sequences import Sequence

__all__ = ["real_scanner", "scanner_of", "scanner_rows"]

#: How often T2w and FLAIR scans are stacks of slices, and how thick those are, mm.
_STACKS, _THICK_MM = 1 / 3, (1.5, 4.0)
#: FLAIR: repetition and echo time in ms, and the inversion over the one that nulls CSF.
_FLAIR = ((7000.0, 11000.0), (85.0, 135.0), (0.94, 1.05))


@lru_cache(maxsize=1)
def scanner_rows() -> tuple[Mapping[str, str], ...]:
    """Read the table of simulated scanners that travels with the package."""
    file = resources.files("bids_harmony.data") / "real_scanners.tsv"
    return tuple(csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t"))


def real_scanner(seed: int) -> Scanner:
    """Draw a scanner as real ones differ.

    Parameters
    ----------
    seed : int
        The same seed gives the same scanner. Consecutive seeds take consecutive rows of the table,
        so that as many as it has rows cover the distribution; those that share a row share
        contrast, noise, sharpness, the site's field and what the file holds.

    Returns
    -------
    Scanner
        T1w and T2w as the tables have them; FLAIR, of which no table tells contrasts, with the
        noise and sharpness of T1w and nulled CSF; echo-planar sequences as `random_scanner` has
        them. Gain, share of the scan in the field and slices of T2w and FLAIR are drawn.
    """
    rows = scanner_rows()
    return scanner_of(rows[seed % len(rows)], seed)


def scanner_of(row: Mapping[str, str], seed: int) -> Scanner:
    """Make the scanner of a row of the table; `seed` draws what the row leaves open."""
    number = {name: float(value) for name, value in row.items() if name != "kind"}
    rng = np.random.default_rng([seed, 0x4EA1])
    drawn = random_scanner(seed)
    t1w = Sequence(
        row["kind"],
        number["repetition_ms"],
        number["echo_ms"],
        number["inversion_ms"],
        number["flip_deg"],
        views=int(number["views"]),
        spacing_ms=number["spacing_ms"],
        centre=number["centre"],
    )
    t2w = Sequence("tse", number["t2w_repetition_ms"], number["t2w_echo_ms"])
    sequences = {**drawn.sequences, "T1w": t1w, "T2w": t2w, "FLAIR": _flair(rng)}
    thick = float(rng.uniform(*_THICK_MM)) if rng.uniform() < _STACKS else 0.0
    noise, sharpness = number["noise"], number["sharpness_mm"]
    return replace(
        drawn,
        model="Real",
        field_tesla=number["field_tesla"],
        measured_relaxation=True,
        sequences=sequences,
        bias_log_sd=number["bias_log_sd"],
        bias_seed=int(number["bias_seed"]),
        scan_bias=float(rng.uniform(0.05, 0.25)),
        flip_spread=number["flip_spread"],
        noise=noise,
        sharpness_mm=sharpness,
        thick_mm=number["thick_mm"],
        thick_axis=int(number["thick_axis"]),
        gamma=number["gamma"],
        details={
            "T2w": Detail(number["t2w_noise"], number["t2w_sharpness_mm"], thick),
            "FLAIR": Detail(noise, sharpness, thick),
        },
        effects=FileEffects(
            bias_correction=number["bias_correction"],
            matrix=(number["matrix_x"], number["matrix_y"], number["matrix_z"]),
            elliptical=bool(number["elliptical"]),
            unsharp=number["unsharp"],
            saturation=number["saturation"],
            bits=int(number["bits"]),
            per_slice=bool(number["per_slice"]),
        ),
    )


def _flair(rng: np.random.Generator) -> Sequence:
    repetition, echo, share = (float(rng.uniform(*limits)) for limits in _FLAIR)
    t1 = TISSUES[2].t1_ms
    nulling = t1 * np.log(2 / (1 + np.exp(-repetition / t1)))
    return Sequence("tse", repetition, echo, float(share * nulling))
