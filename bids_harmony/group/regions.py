"""Do sites agree on diffusion maps, region by region, beside what two scans at one site do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_harmony.diffusion.maps import SHOWN
from bids_harmony.group.outputs import Output
from bids_harmony.quality.diffusion_sites import coefficient_of_variation
from bids_harmony.quality.summary import SeriesSummary

__all__ = ["RegionVariation", "region_variations"]


@dataclass(frozen=True)
class RegionVariation:
    """Variation of one parameter over white-matter regions; medians, fractions of the mean.

    Attributes
    ----------
    parameter : str
    source, harmonized : float
        Of the same people across sites; or, where nobody travelled, of different people.
    floor : float
        Of repeated scans of a person at one site before harmonization; NaN without repeats.
    same_people : bool
    n_people : int
    """

    parameter: str
    source: float
    harmonized: float
    floor: float
    same_people: bool
    n_people: int


def region_variations(outputs: Sequence[Output]) -> list[RegionVariation]:
    """Coefficients of variation across sites before and after, and the scan-rescan floor.

    Parameters
    ----------
    outputs : sequence of Output
        Diffusion series of one target.
    """
    series = [(o, o.summary) for o in outputs if isinstance(o.summary, SeriesSummary)]
    found = []
    for name in SHOWN:
        own = [
            (o, s.regions[:, s.parameters.index(name)].astype(np.float64))
            for o, s in series
            if name in s.parameters
        ]
        if len(own) < 2:
            continue
        across = _by_person(own)
        same_people = bool(across)
        if not same_people:
            # Site means of different people: differences of people are in it.
            across = {"": _site_means(own)}
        if min(len(v) for v in across.values()) < 2:
            continue
        found.append(
            RegionVariation(
                name,
                _median([v[:, 0] for v in across.values()]),
                _median([v[:, 1] for v in across.values()]),
                _median([v[:, 0] for v in _repeats(own).values()]),
                same_people,
                len({o.participant for o, _ in own}),
            )
        )
    return found


Regions = NDArray[np.float64]


def _by_person(own: Sequence[tuple[Output, Regions]]) -> dict[str, Regions]:
    """Site means of everyone scanned at two sites or more: (sites, states, regions)."""
    people: dict[str, list[tuple[Output, Regions]]] = {}
    for pair in own:
        people.setdefault(pair[0].participant, []).append(pair)
    several = {p: v for p, v in people.items() if len({o.site for o, _ in v}) > 1}
    return {person: _site_means(pairs) for person, pairs in several.items()}


def _site_means(own: Sequence[tuple[Output, Regions]]) -> Regions:
    sites: dict[str, list[Regions]] = {}
    for output, regions in own:
        sites.setdefault(output.site, []).append(regions)
    return np.stack([np.mean(values, axis=0) for values in sites.values()])


def _repeats(own: Sequence[tuple[Output, Regions]]) -> dict[tuple[str, str], Regions]:
    found: dict[tuple[str, str], list[Regions]] = {}
    for output, regions in own:
        found.setdefault((output.participant, output.site), []).append(regions)
    return {key: np.stack(values) for key, values in found.items() if len(values) > 1}


def _median(people: Sequence[Regions]) -> float:
    """Median over regions of the variation within people; NaN where there is nobody."""
    if not people:
        return float("nan")
    longest = max(len(scans) for scans in people)
    values = np.full((len(people), longest, people[0].shape[-1]), np.nan)
    for index, scans in enumerate(people):
        values[index, : len(scans)] = scans
    variation = coefficient_of_variation(values)
    return float(np.nanmedian(variation)) if np.isfinite(variation).any() else float("nan")
