"""Small and bad evidence of what a site looks like, simulated: who is scanned where."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from anatomies import load_people, source_names

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import Anatomy
from bids_harmony.phantom.biology import draw_biology, with_biology
from bids_harmony.phantom.scanner import SITES, Scanner, acquire

__all__ = ["CASES", "PROFILE_PEOPLE", "Cell", "Draw", "Evidence", "draw_evidence"]

Array = np.ndarray
Labelled = list[tuple[str, Prepared]]

TARGET = "COI"
#: People behind the profile of each site.
PROFILE_PEOPLE = (1, 2, 5, 20)
#: Behind those of bad evidence.
FEW = 5
YOUNG, OLD = (20.0, 35.0), (65.0, 80.0)
#: Volume of lesions of the ill.
LOAD_ML = 25.0
CASES = {
    "few": "both profiles are of that many people of the same population",
    "two names": "source and target are one scanner under two names, profiles of different people",
    "another age": "the scan and the source's profile are of people of 20 to 35 years, the "
    "target's of 65 to 80",
    "ill": f"the target's profile is of people with {LOAD_ML:g} ml of lesions",
    "one wrong scan": "one of the five scans behind the target's profile is of another scanner",
    "wrong source": "the source's profile is of scans of another scanner",
    "wrong target": "the target's profile is of scans of another scanner; the twin is at the "
    "scanner of the name",
}
#: Label maps from this one on are test people in the travelling benchmark, too.
_FIRST_TEST_MAP = 4


@dataclass(frozen=True)
class Draw:
    """One draw of everybody.

    Attributes
    ----------
    seed : int
    modality : str
    site, other : str
        Scanner of the scans, and another one whose scans bear wrong names; keys of `SITES`. The
        target is `TARGET`.
    test : int
        People harmonized.
    voxel_mm : float
    """

    seed: int
    modality: str
    site: str
    other: str
    test: int = 2
    voxel_mm: float = 2.0


@dataclass(frozen=True, eq=False)
class Cell:
    """Scans to harmonize by one kind of evidence.

    Attributes
    ----------
    case : str
        Of `CASES`.
    people : int
        Behind each profile.
    source, target : str
        Names of the profiles, keys of `Evidence.profiles`.
    scans : tuple of Prepared
    twins : tuple of (X, Y, Z) float32
        The same people at the target, without noise and without a field of the scan's own.
    """

    case: str
    people: int
    source: str
    target: str
    scans: tuple[Prepared, ...]
    twins: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Evidence:
    """All profiles of a draw by name, and what is harmonized by them."""

    profiles: dict[str, Labelled]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class _Pools:
    """Nobody is in two of them; those of `young_test` are those of `test`, younger."""

    here: list[Anatomy]
    there: list[Anatomy]
    young: list[Anatomy]
    old: list[Anatomy]
    ill: list[Anatomy]
    test: list[Anatomy]
    young_test: list[Anatomy]


def draw_evidence(draw: Draw, cache_dir: Path) -> Evidence:
    """Scan everyone.

    Parameters
    ----------
    draw : Draw
    cache_dir : Path
        Of anatomies.
    """
    pools = _pools(draw.seed, draw.test, draw.voxel_mm, cache_dir)
    home, own, other = (SITES[name] for name in (TARGET, draw.site, draw.other))
    here, there = pools.here, pools.there
    profiles: dict[str, Labelled] = {}
    for n in PROFILE_PEOPLE:
        profiles[f"source of {n}"] = _scans(draw, own, here[:n])
        profiles[f"source again of {n}"] = _scans(draw, own, there[:n])
        profiles[f"target of {n}"] = _scans(draw, home, there[:n])
    profiles["young source"] = _scans(draw, own, pools.young)
    profiles["old target"] = _scans(draw, home, pools.old)
    profiles["ill target"] = _scans(draw, home, pools.ill)
    profiles["wrong source"] = _scans(draw, other, here[:FEW])
    profiles["wrong target"] = _scans(draw, other, there[:FEW])
    right = profiles[f"target of {FEW}"][: FEW - 1]
    profiles["mixed target"] = [*right, profiles["wrong target"][FEW - 1]]

    scans, young = (
        tuple(scan for _, scan in _scans(draw, own, people))
        for people in (pools.test, pools.young_test)
    )
    twins, young_twins = (_twins(draw, home, p) for p in (pools.test, pools.young_test))
    own_twins = _twins(draw, own, pools.test)
    few, target = f"source of {FEW}", f"target of {FEW}"
    cells = [
        *(Cell("few", n, f"source of {n}", f"target of {n}", scans, twins)
          for n in PROFILE_PEOPLE),
        *(Cell("two names", n, f"source of {n}", f"source again of {n}", scans, own_twins)
          for n in PROFILE_PEOPLE),
        Cell("another age", FEW, "young source", "old target", young, young_twins),
        Cell("ill", FEW, few, "ill target", scans, twins),
        Cell("one wrong scan", FEW, few, "mixed target", scans, twins),
        Cell("wrong source", FEW, "wrong source", target, scans, twins),
        Cell("wrong target", FEW, few, "wrong target", scans, twins),
    ]  # fmt: skip
    return Evidence(profiles, tuple(cells))


@cache
def _pools(seed: int, test: int, voxel_mm: float, cache_dir: Path) -> _Pools:
    """As in the travelling benchmark, profiles are of people of the template and of label maps
    that are no test person's."""
    grid, most = reference_grid(voxel_mm), max(PROFILE_PEOPLE)
    counts = (most, most, FEW, FEW, FEW)
    first = 60_000 + 1000 * seed
    maps = source_names("labels")
    taught = maps[:_FIRST_TEST_MAP]
    draws = range(first, first + -(-sum(counts) // (1 + len(taught))))
    sources = [load_people("phantom", grid, cache_dir, draws)]
    sources += [load_people("labels", grid, cache_dir, draws, names=[name]) for name in taught]
    everyone = iter([one for together in zip(*sources, strict=True) for one in together])
    here, there, young, old, ill = ([next(everyone) for _ in range(n)] for n in counts)
    if maps:
        names = maps[_FIRST_TEST_MAP:]
        turned = [names[(seed + i) % len(names)] for i in range(test)]
        heads = load_people("labels", grid, cache_dir, [first], names=turned)
    else:
        heads = load_people("phantom", grid, cache_dir, range(first + 900, first + 900 + test))
    return _Pools(
        here=_varied(here, seed),
        there=_varied(there, seed),
        young=_varied(young, seed, ages=YOUNG),
        old=_varied(old, seed, ages=OLD),
        ill=_varied(ill, seed, load_ml=LOAD_ML),
        test=_varied(heads, seed),
        young_test=_varied(heads, seed, ages=YOUNG),
    )


def _varied(
    people: Sequence[Anatomy],
    seed: int,
    *,
    ages: tuple[float, float] | None = None,
    load_ml: float | None = None,
) -> list[Anatomy]:
    """People who differ as real ones do, of all ages or of some."""
    varied = []
    for person in people:
        own = np.random.default_rng([seed, person.seed % 2**32])
        age = None if ages is None else float(own.uniform(*ages))
        biology = draw_biology(person.seed, age=age)
        if load_ml is not None:
            biology = replace(biology, lesions_ml=load_ml)
        varied.append(with_biology(person, biology))
    return varied


def _scans(draw: Draw, scanner: Scanner, people: Sequence[Anatomy]) -> Labelled:
    grid, made = reference_grid(draw.voxel_mm), []
    for person in people:
        seed = zlib.crc32(f"{draw.seed} {person.seed} {scanner.site} {draw.modality}".encode())
        data = acquire(person, scanner, draw.modality, scan_seed=seed)
        scale = robust_scale(data, person.mask)
        scaled = (data / scale).astype(np.float32)
        label = f"{person.seed}_{scanner.site}"
        made.append((label, Prepared(scaled, person.mask, float(scale), np.eye(4), grid)))
    return made


def _twins(draw: Draw, scanner: Scanner, people: Sequence[Anatomy]) -> tuple[Array, ...]:
    return tuple(
        acquire(person, scanner, draw.modality, scan_seed=0, noise=False, scan_field=False)
        for person in people
    )
