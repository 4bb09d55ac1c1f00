"""Candidates for simulated scanners: wide physical ranges, and sequences of wanted contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares

from bids_harmony.phantom.anatomy import TISSUES
from bids_harmony.phantom.file_effects import FileEffects
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.scanner import Scanner
from bids_harmony.phantom.sequences import Sequence

__all__ = ["SCAN_BIAS", "any_scanner", "contrasts", "with_contrasts"]

Array = np.ndarray

#: The scan's own part of the field, in the mean (`phantom.real_scanners` draws it).
SCAN_BIAS = 0.15
#: Contrasts as near as this to what is wanted are as good.
_CLOSE = np.array([0.004, 0.015])
#: Farther off than this, another kind of sequence is tried.
_FAR = np.array([0.02, 0.08])
_CANDIDATES = 120
#: What a candidate may be moved by: bounds of the logarithms of flip angle, time before and after
#: the train and spacing, of the centre, and of the intensity curve; typical steps.
_GAMMA = (0.88, 1.12)
_MPRAGE = (
    np.array([np.log(5), np.log(80), np.log(20), np.log(5), 0.1, _GAMMA[0]]),
    np.array([np.log(16), np.log(1300), np.log(2000), np.log(11), 0.5, _GAMMA[1]]),
    np.array([0.3, 0.4, 0.8, 0.2, 0.1, 0.06]),
)
#: Likewise the logarithms of repetition time and flip angle, and the intensity curve.
_SPGR = (
    np.array([np.log(5), np.log(8), _GAMMA[0]]),
    np.array([np.log(40), np.log(40), _GAMMA[1]]),
    np.array([0.4, 0.3, 0.06]),
)
#: Likewise the logarithms of repetition and echo time of a T2w sequence.
_TSE = (
    np.array([np.log(1500), np.log(20)]),
    np.array([np.log(10000), np.log(200)]),
    np.array([0.4, 0.4]),
)


def any_scanner(seed: int, field_tesla: float, *, smooth: bool) -> Scanner:
    """Draw what measures do not tell: vendor's software, files, transmit field, first sequences.

    ``smooth`` is asked for: slices may be thicker than their pixels.
    """
    rng = np.random.default_rng([seed, 0x4EA2])
    u = rng.uniform
    # Vendors' corrections leave a part of the field; a third of all scans have none.
    corrected = 0.0 if u() < 1 / 3 else float(u(0.4, 0.9))
    bits = int(rng.choice([0, 12, 8], p=[0.3, 0.6, 0.1]))
    in_plane = float(u(0.7, 1.0)) if u() < 0.3 else 1.0
    effects = FileEffects(
        bias_correction=corrected,
        matrix=(1.0, in_plane, in_plane) if u() < 0.5 else (in_plane, in_plane, 1.0),
        elliptical=bool(u() < 0.3),
        unsharp=float(u(0.1, 0.5)) if u() < 0.2 else 0.0,
        saturation=float(u(1.05, 1.3)) if u() < 0.08 else 0.0,
        bits=bits,
        per_slice=bool(bits == 8 and u() < 0.3),
    )
    drawn = random_scanner(seed)
    kind = "spgr" if u() < (0.15 if field_tesla == 3.0 else 0.35) else "mprage"
    scanner = replace(
        drawn,
        field_tesla=field_tesla,
        measured_relaxation=True,
        # The shorter the waves, the less even is the transmit field.
        flip_spread=float(u(0.0, 0.02)) * min(field_tesla, 4.0),
        scan_bias=SCAN_BIAS,
        thick_mm=float(u(1.2, 2.2)) if smooth and u() < 0.3 else 0.0,
        effects=effects,
        gamma=float(u(0.94, 1.06)),
    )
    sequences = {"T1w": _any_t1w(rng, kind), "T2w": Sequence("tse", u(2500, 5000), u(50, 110))}
    return replace(scanner, sequences={**drawn.sequences, **sequences})


def contrasts(scanner: Scanner, modality: str) -> Array:
    """Logarithms of pure grey matter and CSF over white matter, intensity curve included."""
    grey, white, csf = (max(scanner.signal_of(t, modality), 1e-6) for t in TISSUES)
    return scanner.gamma * np.log([grey / white, csf / white])


def with_contrasts(scanner: Scanner, modality: str, wanted: Array, seed: int | None) -> Scanner:
    """Change a sequence as little as it takes to show such contrasts, or those nearest to them.

    With a seed, the sequence may become another one first.
    """
    if seed is None or modality != "T1w":
        return _moved(scanner, modality, wanted)
    rng = np.random.default_rng([seed, 0x5E])
    kind = scanner.sequences["T1w"].kind
    found = []
    for other in (kind, "spgr" if kind == "mprage" else "mprage"):
        drawn = [
            replace(
                scanner,
                sequences={**scanner.sequences, "T1w": _any_t1w(rng, other)},
                gamma=float(rng.uniform(*_GAMMA)),
            )
            for _ in range(_CANDIDATES)
        ]
        nearest = min(drawn, key=lambda s: _miss(s, modality, wanted, _FAR))
        found.append(_moved(nearest, modality, wanted))
        if _miss(found[-1], modality, wanted, _FAR) < 1:
            break
    return min(found, key=lambda s: _miss(s, modality, wanted, _FAR))


def _miss(scanner: Scanner, modality: str, wanted: Array, size: Array) -> float:
    return float(np.square((contrasts(scanner, modality) - wanted) / size).sum())


def _moved(scanner: Scanner, modality: str, wanted: Array) -> Scanner:
    start = _numbers(scanner, modality)
    low, high, step = {"mprage": _MPRAGE, "spgr": _SPGR, "tse": _TSE}[
        scanner.sequences[modality].kind
    ]
    start = np.clip(start, low + 1e-6, high - 1e-6)

    def miss(numbers: Array) -> Array:
        shown = contrasts(_with_numbers(scanner, modality, numbers), modality)
        return np.concatenate([(shown - wanted) / _CLOSE, 0.05 * (numbers - start) / step])

    found = least_squares(miss, start, bounds=(low, high), x_scale=step, max_nfev=40)
    return _with_numbers(scanner, modality, found.x)


def _numbers(scanner: Scanner, modality: str) -> Array:
    own = scanner.sequences[modality]
    if own.kind == "tse":
        return np.log([own.repetition_ms, own.echo_ms])
    if own.kind == "spgr":
        return np.array([np.log(own.repetition_ms), np.log(own.flip_deg), scanner.gamma])
    first = own.inversion_ms - round(own.centre * own.views) * own.spacing_ms
    last = max(own.repetition_ms - first - own.views * own.spacing_ms, 1.0)
    logs = np.log([own.flip_deg, first, last, own.spacing_ms])
    return np.array([*logs, own.centre, scanner.gamma])


def _with_numbers(scanner: Scanner, modality: str, numbers: Array) -> Scanner:
    own = scanner.sequences[modality]
    if own.kind == "tse":
        repetition, echo = (float(v) for v in np.exp(numbers))
        moved, gamma = replace(own, repetition_ms=repetition, echo_ms=echo), scanner.gamma
    elif own.kind == "spgr":
        repetition, flip = (float(v) for v in np.exp(numbers[:2]))
        moved, gamma = replace(own, repetition_ms=repetition, flip_deg=flip), float(numbers[2])
    else:
        flip, first, last, spacing = (float(v) for v in np.exp(numbers[:4]))
        moved, gamma = _mprage(own, flip, (first, last), spacing, float(numbers[4])), numbers[5]
    sequences = {**scanner.sequences, modality: moved}
    return replace(scanner, sequences=sequences, gamma=float(gamma))


def _mprage(
    own: Sequence, flip: float, around: tuple[float, float], spacing: float, centre: float
) -> Sequence:
    first, last = around
    return replace(
        own,
        flip_deg=flip,
        repetition_ms=first + own.views * spacing + last,
        inversion_ms=first + round(centre * own.views) * spacing,
        spacing_ms=spacing,
        centre=centre,
    )


def _any_t1w(rng: np.random.Generator, kind: str) -> Sequence:
    u = rng.uniform
    if kind == "spgr":
        return Sequence("spgr", u(6, 25), u(2, 5), 0, u(10, 35))
    own = Sequence("mprage", 2000, u(2, 5), views=int(rng.integers(80, 210)))
    return _mprage(own, u(6, 15), (u(100, 1000), u(20, 1200)), u(5, 11), u(0.1, 0.5))
