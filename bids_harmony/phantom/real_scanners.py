"""Scanners drawn as real ones differ: contrast, noise, field and sharpness of T1w scans.

``data/scanner_differences.json`` holds numbers of a fitted distribution: quantiles of MRIQC's
measures over scanners that all scanned one man (Frequently Traveling Human Phantom: Opfer et al.
2022, Eur Radiol), the correlations of their normal scores, and how the measures of a simulated
scan follow from a scanner's properties. `benchmarks/scanner_fit.py` makes it and tests what is
drawn against the tables. A draw takes measures from that distribution, then looks for the scanner
that shows them; a pulse sequence with such contrasts comes from wide ranges, so that it is one
that physics allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from bids_harmony.phantom.anatomy import TISSUES
from bids_harmony.phantom.file_effects import FileEffects
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.scanner import Scanner
from bids_harmony.phantom.sequences import Sequence

__all__ = ["PROPERTIES", "Differences", "differences", "features", "real_scanner", "scanner_with"]

Array = np.ndarray

#: What a scanner's measures follow from: logarithms of pure tissue's signal over white matter's,
#: `Scanner.noise`, what the vendor left of `Scanner.bias_log_sd`, `Scanner.sharpness_mm`.
PROPERTIES = ("log_gm_wm", "log_csf_wm", "noise", "bias_left", "sharpness_mm")
#: Their bounds.
_LOW = np.array([-0.9, -3.2, 0.0, 0.0, -0.8])
_HIGH = np.array([-0.02, -0.2, 0.12, 0.35, 2.2])
#: The response is no guide beyond what it was fitted to: contrasts stay so near to the measures.
_BELOW, _ABOVE = np.array([0.3, 0.8]), np.array([0.05, 0.3])
#: The strongest receive field that a vendor corrects.
_STRONGEST_FIELD = 0.6
#: Typical sizes of a property, and of a measure.
_SIZES = np.array([0.1, 0.4, 0.02, 0.08, 0.6])
#: Contrasts of a sequence this near to what is wanted are as good.
_CLOSE = np.array([0.03, 0.15])
_CANDIDATES = 200
_GAMMA = (0.88, 1.12)
_FLIP = {"mprage": (6.0, 15.0), "spgr": (10.0, 35.0)}


@dataclass(frozen=True, eq=False)
class Differences:
    """The fitted distribution, and how measures follow from properties.

    Attributes
    ----------
    scores : (K,) float
        Normal scores of the quantiles.
    quantiles : (5, K) float
        Of each measure (`quality.image_quality.QUALITY_MEASURES`), T1w, as they are asked for so
        that those of the scans come out as the tables'.
    correlation : (5, 5) float
        Of the normal scores, asked for likewise.
    response : (5, F) float
        Coefficients of `features` of the properties; noise and bias range squared, the logarithm
        of the width.
    """

    scores: Array
    quantiles: Array
    correlation: Array
    response: Array

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Differences:
        """Take them from the file's content."""
        return cls(
            *(
                np.array(content[name], dtype=float)
                for name in ("scores", "asked_quantiles", "asked_correlation", "response")
            )
        )

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw the five measures of a scanner."""
        scores = np.linalg.cholesky(self.correlation) @ rng.standard_normal(len(self.correlation))
        scores = np.clip(scores, 1.15 * self.scores[0], 1.15 * self.scores[-1])
        return np.array(
            [_between(s, self.scores, q) for s, q in zip(scores, self.quantiles, strict=True)]
        )

    def measures(self, properties: Array, gain: Array) -> Array:
        """Predict the measures of a scanner's T1w scan, noise and range squared, log of width."""
        return self.response @ features(properties, gain)

    def properties(self, measures: Array, gain: Array) -> Array:
        """Find the properties that show measures, or those nearest to them.

        `gain` is what the file's filters make of noise (`FileEffects.noise_gain`).
        """
        wanted = measures.copy()
        wanted[2:4] **= 2
        wanted[4] = np.log(measures[4])
        sizes = np.array([0.05, 0.2, 0.001, 0.03, 0.1])

        def miss(properties: Array) -> Array:
            return (self.measures(properties, gain) - wanted) / sizes

        start = np.clip(np.array([*measures[:2], 0.04, 0.08, 0.4]), _LOW + 1e-3, _HIGH - 1e-3)
        low, high = _LOW.copy(), _HIGH.copy()
        low[:2] = np.maximum(_LOW[:2], start[:2] - _BELOW)
        high[:2] = np.minimum(_HIGH[:2], start[:2] + _ABOVE)
        return least_squares(miss, start, bounds=(low, high), x_scale=_SIZES).x


def _between(score: float, scores: Array, quantiles: Array) -> float:
    """Interpolate between quantiles; beyond the last go on as steeply."""
    at = int(np.clip(np.searchsorted(scores, score) - 1, 0, len(scores) - 2))
    slope = (quantiles[at + 1] - quantiles[at]) / (scores[at + 1] - scores[at])
    return float(quantiles[at] + slope * (score - scores[at]))


def features(properties: Array, gain: Array) -> Array:
    """Terms that measures are linear in: the properties, their products and squares.

    Parameters
    ----------
    properties : (5,) or (5, N) float
    gain : (2,) or (2, N) float
        As `FileEffects.noise_gain` gives it: noise counts as it is in the file.

    Returns
    -------
    (F,) or (F, N) float
    """
    scaled = (properties.T / _SIZES).T
    steps = np.square(scaled[2]) * gain[1]
    scaled[2] = scaled[2] * np.sqrt(gain[0])
    terms = [np.ones_like(scaled[0]), *scaled]
    terms += [scaled[i] * scaled[j] for i in range(5) for j in range(i, 5)]
    # Sharpening and blur act differently.
    terms += [np.maximum(scaled[4], 0), np.maximum(scaled[4], 0) ** 2, steps]
    return np.stack(terms)


@lru_cache(maxsize=1)
def differences() -> Differences:
    """Read the numbers that travel with the package."""
    file = resources.files("bids_harmony.data") / "scanner_differences.json"
    return Differences.of(json.loads(file.read_text(encoding="utf-8")))


def real_scanner(seed: int) -> Scanner:
    """Draw a scanner as real ones differ.

    Parameters
    ----------
    seed : int
        The same seed gives the same scanner.

    Returns
    -------
    Scanner
        T1w as the tables have it; T2w, FLAIR and echo-planar sequences, for which no table tells
        enough scanners apart, as `random_scanner` has them.
    """
    known = differences()
    measures = known.draw(np.random.default_rng([seed, 0x4EA1]))
    scanner, _ = _any_scanner(seed)
    assert scanner.effects is not None
    gain = np.array(scanner.effects.noise_gain())
    return scanner_with(known.properties(measures, gain), seed)


def scanner_with(properties: Array, seed: int) -> Scanner:
    """Make a scanner of such properties; all else is drawn.

    Parameters
    ----------
    properties : (5,) float
        In the order of `PROPERTIES`.
    seed : int
    """
    grey, csf, noise, bias, sharpness = (float(v) for v in properties)
    scanner, rng = _any_scanner(seed)
    assert scanner.effects is not None
    corrected = min(scanner.effects.bias_correction, max(0.0, 1 - bias / _STRONGEST_FIELD))
    scanner = replace(
        scanner,
        noise=noise,
        bias_log_sd=bias / (1 - corrected),
        effects=replace(scanner.effects, bias_correction=corrected),
        sharpness_mm=sharpness,
        # An uneven transmit field shows in the range, too.
        flip_spread=scanner.flip_spread * min(1.0, bias / 0.05),
    )
    t1w, gamma = _sequence(scanner, np.array([grey, csf]), rng)
    return replace(scanner, sequences={**scanner.sequences, "T1w": t1w}, gamma=gamma)


def _any_scanner(seed: int) -> tuple[Scanner, np.random.Generator]:
    """Draw what is not one of `PROPERTIES`, and the generator that goes on."""
    rng = np.random.default_rng([seed, 0x4EA2])
    u = rng.uniform
    # Vendors' corrections leave a part of the field; a third of all scans have none.
    corrected = 0.0 if u() < 1 / 3 else float(u(0.4, 0.9))
    field_tesla = _field_strength(rng)
    # The shorter the waves, the less even is the transmit field.
    transmit = float(u(0.0, 0.02)) * min(field_tesla, 4.0)
    scanner = replace(
        random_scanner(seed),
        model="Real",
        field_tesla=field_tesla,
        measured_relaxation=True,
        flip_spread=transmit,
        thick_mm=0.0,
        effects=_effects(rng, corrected),
    )
    return scanner, rng


def _field_strength(rng: np.random.Generator) -> float:
    """1.5 and 3 T as often as among the scanners of the table; some from 0.05 to 7 T."""
    if rng.uniform() < 0.04:
        return float(np.exp(rng.uniform(np.log(0.05), np.log(7.0))))
    return float(rng.choice([1.0, 1.5, 3.0], p=[0.01, 0.72, 0.27]))


def _effects(rng: np.random.Generator, corrected: float) -> FileEffects:
    u = rng.uniform
    bits = int(rng.choice([0, 12, 8], p=[0.3, 0.6, 0.1]))
    in_plane = float(u(0.7, 1.0)) if u() < 0.3 else 1.0
    return FileEffects(
        bias_correction=corrected,
        matrix=(1.0, in_plane, in_plane) if u() < 0.5 else (in_plane, in_plane, 1.0),
        elliptical=bool(u() < 0.3),
        unsharp=float(u(0.1, 0.5)) if u() < 0.2 else 0.0,
        saturation=float(u(1.05, 1.3)) if u() < 0.08 else 0.0,
        bits=bits,
        per_slice=bool(bits == 8 and u() < 0.3),
    )


def _sequence(scanner: Scanner, wanted: Array, rng: np.random.Generator) -> tuple[Sequence, float]:
    """Of many sequences and intensity curves, the one whose contrasts are nearest."""

    def miss(found: tuple[Sequence, float]) -> float:
        sequence, gamma = found
        shown = replace(scanner, sequences={"T1w": sequence})
        grey, white, csf = (max(shown.signal_of(t, "T1w"), 1e-6) for t in TISSUES)
        contrast = gamma * np.log([grey / white, csf / white])
        return float(np.square((contrast - wanted) / _CLOSE).sum())

    drawn = [(_any_t1w(rng), float(rng.uniform(*_GAMMA))) for _ in range(_CANDIDATES)]
    best = min(drawn, key=miss)
    least = miss(best)
    for step in range(_CANDIDATES):
        near = _near(*best, rng, 0.2 * (1 - step / _CANDIDATES))
        if (other := miss(near)) < least:
            best, least = near, other
    return best


def _near(
    sequence: Sequence, gamma: float, rng: np.random.Generator, size: float
) -> tuple[Sequence, float]:
    """Change times, angle and intensity curve a little, within what scanners do."""
    grow = np.exp(size * rng.standard_normal(4))
    flip = float(np.clip(sequence.flip_deg * grow[0], *_FLIP[sequence.kind]))
    gamma = float(np.clip(gamma * grow[1] ** 0.3, *_GAMMA))
    if sequence.kind == "spgr":
        repetition = float(np.clip(sequence.repetition_ms * grow[2], 6, 25))
        return replace(sequence, repetition_ms=repetition, flip_deg=flip), gamma
    train = sequence.views * sequence.spacing_ms
    before = round(sequence.centre * sequence.views) * sequence.spacing_ms
    first = sequence.inversion_ms - before
    last = sequence.repetition_ms - first - train
    first, last = np.clip([first * grow[2], last * grow[3]], [100, 0], [1000, 1500])
    moved = replace(
        sequence,
        flip_deg=flip,
        inversion_ms=float(first + before),
        repetition_ms=float(first + train + last),
    )
    return moved, gamma


def _any_t1w(rng: np.random.Generator) -> Sequence:
    u = rng.uniform
    if u() < 0.35:
        return Sequence("spgr", u(6, 25), u(2, 5), 0, u(*_FLIP["spgr"]))
    views, spacing, centre = int(rng.integers(80, 210)), u(5, 11), u(0.1, 0.5)
    first, last = u(100, 1000), u(0, 1200)
    inversion = first + round(centre * views) * spacing
    return Sequence(
        "mprage", first + views * spacing + last, u(2, 5), inversion, u(*_FLIP["mprage"]),
        views=views, spacing_ms=spacing, centre=centre,
    )  # fmt: skip
