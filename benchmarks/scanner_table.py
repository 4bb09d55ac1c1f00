"""Make the table that `phantom.real_scanners` draws from.

    python benchmarks/scanner_table.py --tables FOLDER [--rounds N] [--resume | --contrasts]

Measures of image quality are drawn from distributions fitted to tables of real scanners, and a
simulated scanner is looked for that shows each: it is simulated, and what is missing changes
contrast, noise, field and sharpness by Newton's steps, whose slopes are those of all scanners
first (regression) and then its own (Broyden 1965). What physics cannot reach comes out as near as
it can. The table holds parameters of simulated scanners, nothing of the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scanner_draw import SCAN_BIAS, any_scanner, contrasts, with_contrasts
from scanner_rows import rows_in_order, write_rows
from scanner_targets import real_t1w, t1w_targets, t2w_targets

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.image_chain import Detail
from bids_harmony.phantom.real_scanners import scanner_of
from bids_harmony.phantom.scanner import Scanner, acquire
from bids_harmony.quality.image_quality import image_quality, smooth_field

__all__ = ["VOXEL_MM", "man", "measures"]

#: The tables' median voxel is 0.96 mm; widths are in voxels.
VOXEL_MM = 1.0
_MAN, _SEED = 47, 700_000
#: What is turned: contrasts, noise squared, what is left of the field squared, sharpness; T2w.
_LOW = np.array([-1.2, -4.5, 1e-6, 1e-6, -1.0, 0.0, -0.3, 1e-6, -1.0])
_HIGH = np.array([-0.02, -0.1, 0.02, 0.3, 2.0, 1.0, 2.5, 0.06, 2.0])
_STEP = np.array([0.08, 0.35, 6e-4, 0.008, 0.5, 0.1, 0.3, 4e-3, 0.5])
#: Two measures of a kind differ by less than this: contrasts; relative for the rest.
_NEAR = np.array([0.006, 0.025, 0.03, 0.05, 0.025, 0.04, 0.15, 0.1, 0.1])
#: Share of white matter that blur (mm) mixes into grey matter and CSF as they are measured, seen
#: in simulated scans; CSF is not made darker than what is wanted by more than this (logarithm).
_BLUR = np.array([-1.0, 0.0, 0.8, 1.2, 1.6, 2.2, 3.0])
_MIXED = np.array(
    [[0.01, 0.018, 0.022, 0.038, 0.062, 0.103, 0.15], [-0.015, 0, 0.02, 0.072, 0.143, 0.257, 0.4]]
)
_DARKER = 0.8
#: Slopes before anything is known, of even measures over what is turned.
_GUESSED = np.array([1.0, 1.0, 0.9, 9.0, 0.25, 1.0, 1.0, 0.9, 0.25])
_RELATIVE = [2, 3, 4, 7, 8]
_FARTHEST_STEPS, _FAR_OFF = 2.0, 8.0
_STRONGEST_FIELD = 0.6

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Search:
    """One scanner on its way: what is wanted, where it stands, its slopes, the best so far."""

    seed: int
    wanted: Array
    scanner: Scanner
    turned: Array
    shown: Array
    slopes: Array
    best: tuple[float, Scanner]


def main() -> None:
    """Draw, search, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--scanners", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--resume", action="store_true", help="start from the table's scanners")
    parser.add_argument(
        "--contrasts", action="store_true", help="no simulation: T1w contrasts of the table anew"
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    rng = np.random.default_rng(0x7AB1E)
    real, field = real_t1w(options.tables)
    wanted, tesla = t1w_targets(real, field, options.scanners, rng)
    wanted = np.hstack([wanted, t2w_targets(options.tables, wanted, rng)])
    smooth = wanted[:, 4] > np.median(wanted[:, 4])
    known = options.resume or options.contrasts
    rows = rows_in_order() if known else [None] * len(wanted)
    jobs = [
        (_SEED + i, w, float(t), bool(s), row)
        for i, (w, t, s, row) in enumerate(zip(wanted, tesla, smooth, rows, strict=True))
    ]
    if options.contrasts:
        write_rows([_with_pure_contrasts(*job) for job in jobs])
        return
    with ProcessPoolExecutor(options.workers) as pool:
        searches = list(pool.map(_begun, jobs, chunksize=2))
        slopes = _slopes(searches)
        searches = [replace(s, slopes=slopes) for s in searches]
        for number in range(options.rounds):
            _report(number, searches)
            write_rows([s.best[1] for s in searches])
            open_ = [i for i, s in enumerate(searches) if s.best[0] > 1]
            for i, found in zip(
                open_, pool.map(_stepped, [searches[i] for i in open_], chunksize=2), strict=True
            ):
                searches[i] = found
    _report(options.rounds, searches)
    write_rows([s.best[1] for s in searches])


@lru_cache(maxsize=2)
def man(seed: int) -> Anatomy:
    """A simulated man."""
    # White matter that varies more than this would be taken for noise.
    return make_anatomy(reference_grid(VOXEL_MM), seed, variation=0.01)


def measures(anatomy: Anatomy, scanner: Scanner, modality: str, seed: int) -> Array:
    """Measures of a scan, in the order of `quality.image_quality.QUALITY_MEASURES`."""
    data = acquire(anatomy, scanner, modality, scan_seed=seed)
    found = image_quality(data, anatomy.mask, anatomy.fractions, VOXEL_MM)
    return np.array(found.values())


def _all_measures(scanner: Scanner, seed: int) -> Array:
    person, found = man(_MAN), []
    field = None
    for modality in ("T1w", "T2w"):
        data = acquire(person, scanner, modality, scan_seed=seed)
        if field is None:
            # One receive field for both: the second scan need not wait for N4.
            field = smooth_field(data, person.mask, VOXEL_MM)
        own = image_quality(data, person.mask, person.fractions, VOXEL_MM, field=field)
        found.append(own.values())
    return np.array([*found[0], *np.delete(found[1], 3)])


def _even(values: Array) -> Array:
    """Measures as they follow from what is turned most evenly."""
    even = values.copy()
    even[[2, 3, 7]] **= 2
    even[[4, 8]] = np.log(values[[4, 8]])
    return even


def _miss(shown: Array, wanted: Array) -> float:
    off = shown - wanted
    off[_RELATIVE] = np.log(shown[_RELATIVE] / wanted[_RELATIVE])
    # What cannot be reached is not to decide about the rest.
    return float(np.sqrt(np.square(np.minimum(np.abs(off / _NEAR), _FAR_OFF)).mean()))


def _turn(scanner: Scanner, turned: Array, seed: int | None) -> tuple[Scanner, Array]:
    """Set a scanner, and tell where it came to stand."""
    turned = np.clip(turned, _LOW, _HIGH)
    noise, left, second = (float(np.sqrt(turned[i])) for i in (2, 3, 7))
    assert scanner.effects is not None
    corrected = min(scanner.effects.bias_correction, max(0.0, 1 - left / _STRONGEST_FIELD))
    scanner = replace(
        scanner,
        noise=noise,
        sharpness_mm=float(turned[4]),
        bias_log_sd=left / (1 - corrected),
        effects=replace(scanner.effects, bias_correction=corrected),
        # An uneven transmit field shows in the range, too.
        flip_spread=min(scanner.flip_spread, 0.4 * left),
        details={"T2w": Detail(second, float(turned[8]))},
    )
    scanner = with_contrasts(scanner, "T1w", turned[:2], seed)
    scanner = with_contrasts(scanner, "T2w", turned[5:7], seed)
    reached = turned.copy()
    reached[:2], reached[5:7] = contrasts(scanner, "T1w"), contrasts(scanner, "T2w")
    return scanner, reached


def _begun(job: tuple[int, Array, float, bool, Mapping[str, str] | None]) -> Search:
    seed, wanted, tesla, smooth, row = job
    if row is not None and np.isclose(float(row["field_tesla"]), tesla, rtol=1e-3):
        scanner = replace(scanner_of(row, seed), scan_bias=SCAN_BIAS)
        return _seen(seed, wanted, scanner, _turned(scanner))
    t1w, t2w = wanted[:5], wanted[5:]
    turned = np.array(
        [
            *_pure(t1w, t1w[2], 0.0),
            max(t1w[2] ** 2 - 0.025**2, 1e-5),
            max(t1w[3] ** 2 - 0.1**2, 4e-4) / 3.3**2,
            3 * np.log(t1w[4] / 4.4),
            *t2w[:2],
            max(t2w[2] ** 2 - 0.03**2, 1e-4),
            2 * np.log(t2w[3] / 3.0),
        ]
    )
    scanner, turned = _turn(any_scanner(seed, tesla, smooth=smooth), turned, seed)
    return _seen(seed, wanted, scanner, turned)


def _pure(t1w: Array, noise: float, blur: float) -> tuple[float, float]:
    """Contrasts of pure tissues behind those measured, by the floor of noise and by blur.

    Noise lifts the dark CSF (Rician median); blur mixes white matter into both.
    """
    mixed_grey, mixed_csf = (np.interp(blur, _BLUR, share) for share in _MIXED)
    grey = (np.exp(t1w[0]) - mixed_grey) / (1 - mixed_grey)
    seen = max((np.exp(t1w[1]) - mixed_csf) / (1 - mixed_csf), 0.0)
    darkest = np.exp(t1w[1] - _DARKER)
    signal = np.sqrt(max(seen**2 - 1.12 * noise**2, darkest**2))
    return float(np.log(grey)), float(np.log(signal))


def _with_pure_contrasts(
    seed: int, wanted: Array, tesla: float, smooth: bool, row: Mapping[str, str] | None
) -> Scanner:
    """A scanner of the table with contrasts set anew; one of another field strength is new."""
    assert row is not None
    old = replace(scanner_of(row, seed), scan_bias=SCAN_BIAS)
    turned = _turned(old)
    turned[4] = min(turned[4], _HIGH[4])
    turned[:2] = _pure(wanted[:5], old.noise, turned[4])
    scanner = old
    if not np.isclose(old.field_tesla, tesla, rtol=1e-3):
        scanner = any_scanner(seed, tesla, smooth=smooth)
    # Another sequence is looked for: the old one may have been led astray.
    return _turn(scanner, turned, seed)[0]


def _turned(scanner: Scanner) -> Array:
    """What is turned, as a scanner of the table has it."""
    assert scanner.effects is not None
    left = scanner.bias_log_sd * (1 - scanner.effects.bias_correction)
    detail = scanner.detail("T2w")
    t1w, t2w = (contrasts(scanner, modality) for modality in ("T1w", "T2w"))
    own = [*t1w, scanner.noise**2, left**2, scanner.sharpness_mm]
    return np.array([*own, *t2w, detail.noise**2, detail.sharpness_mm])


def _seen(seed: int, wanted: Array, scanner: Scanner, turned: Array) -> Search:
    detail = replace(scanner.detail("T2w"), thick_mm=0.0)
    scanner = replace(scanner, details={"T2w": detail})
    shown = _all_measures(scanner, seed)
    best = (_miss(shown, wanted), scanner)
    return Search(seed, wanted, scanner, turned, shown, np.eye(9), best)


def _slopes(searches: list[Search]) -> Array:
    """Slopes of even measures over what is turned, in units of `_STEP`, over all scanners.

    The regression tells how they differ from `_GUESSED`: grey matter and CSF go together, and
    cannot be told apart by it alone.
    """
    x = np.array([s.turned for s in searches]) / _STEP
    y = np.array([_even(s.shown) for s in searches])
    size = y.std(axis=0)
    slopes = np.diag(_GUESSED * _STEP)
    left = y - x @ slopes.T
    left = np.clip((left - np.median(left, axis=0)) / size, -2, 2)
    x1 = x - x.mean(axis=0)
    # A T1w scan knows nothing of T2w; of the field, both do.
    for rows, columns in ((range(5), range(5)), (range(5, 9), (3, 5, 6, 7, 8))):
        a = x1[:, list(columns)]
        ridge = 0.3 * len(a) * np.diag(a.var(axis=0))
        found = np.linalg.solve(a.T @ a + ridge, a.T @ left[:, list(rows)])
        slopes[np.ix_(list(rows), list(columns))] += found.T * size[list(rows), None]
    return slopes


def _stepped(search: Search) -> Search:
    """One Newton's step, and what came of it."""
    missing = _even(search.wanted) - _even(search.shown)
    # Every measure counts by how near it has to be.
    at = _even(search.wanted)
    near = _NEAR * np.where(np.isin(np.arange(9), [2, 3, 7]), 2 * at, 1.0)
    weighed = search.slopes / near[:, None]
    step = np.linalg.solve(weighed.T @ weighed + 1e-2 * np.eye(9), weighed.T @ (missing / near))
    step = np.clip(step, -_FARTHEST_STEPS, _FARTHEST_STEPS)
    scanner, turned = _turn(search.scanner, search.turned + step * _STEP, None)
    shown = _all_measures(scanner, search.seed)
    moved = (turned - search.turned) / _STEP
    change = _even(shown) - _even(search.shown)
    slopes = search.slopes
    if moved @ moved > 1e-6:
        slopes = slopes + np.outer(change - slopes @ moved, moved) / (moved @ moved)
    best = min(search.best, (_miss(shown, search.wanted), scanner), key=lambda b: b[0])
    return Search(search.seed, search.wanted, scanner, turned, shown, slopes, best)


def _report(number: int, searches: list[Search]) -> None:
    off = np.array([_even(s.shown) - _even(s.wanted) for s in searches])
    misses = np.array([s.best[0] for s in searches])
    print(
        f"round {number}: {np.mean(misses <= 1):.2f} found",
        np.quantile(misses, [0.5, 0.9]).round(1),
        np.abs(off).mean(axis=0).round(4),
        flush=True,
    )


if __name__ == "__main__":
    main()
