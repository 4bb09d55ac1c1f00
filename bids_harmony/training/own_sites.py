"""Twins between the dataset's own sites: what a network needs to know is how these differ.

Scanners are fitted to the profile of every site (`fitted_scanners`). The network is told of the
real sites, with their real profiles; the images come from the fitted scanners and simulated
people, so that the truth is known.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from tqdm import tqdm

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.noise import deep_noise
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.biology import LOCAL_VARIATION, Biology, with_biology
from bids_harmony.phantom.scanner import Scanner
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.prepared_scans import PreparedScan
from bids_harmony.training.fitted_scanners import (
    FITTED_MODALITIES,
    FittedScanner,
    fit_scanners,
)
from bids_harmony.training.twin_pool import TwinPool

__all__ = ["MOST_BADNESS", "OwnTwins", "fit_sites", "own_twins"]

_LOGGER = logging.getLogger(__name__)

#: Seeds of the people whom fitted scanners scan start here: nobody trains or validates.
_PEOPLE = 9_000_000
_FITTED_PEOPLE = 2
#: Scanners fitted to a site. The last is for validation.
_SCANNERS = 3
#: A site whose fits miss it by more (`FittedScanner.badness`) has no twins: they would teach what
#: is not so. Good fits have 1 to 6.
MOST_BADNESS = 20.0

Fits = Mapping[tuple[str, str], tuple[FittedScanner, ...]]


@dataclass(frozen=True, eq=False)
class OwnTwins(TwinPool):
    """People and scanners of a pool, and scanners fitted to real sites.

    Attributes
    ----------
    fits : mapping of (site, modality) to tuple of FittedScanner
    share : float
        Of the training pairs, those between real sites.
    target : str, optional
        All pairs of real sites lead to this one; else to any.
    """

    fits: Fits = field(default_factory=dict)
    share: float = 1.0
    target: str | None = None

    def draw(self, rng: np.random.Generator) -> tuple[Scanner, Scanner, str]:
        """Draw source, target and modality of a pair for training."""
        if rng.random() >= self.share:
            return super().draw(rng)
        modality = str(rng.choice(self.modalities))
        source, target = (
            fits[int(rng.integers(len(fits) - 1))].scanner for fits in self._two(rng, modality)
        )
        return source, target, modality

    def draw_unseen(self, rng: np.random.Generator, number: int) -> tuple[Scanner, Scanner, str]:
        """Draw those of a pair for validation, of fits that training never has."""
        modality = self.modalities[number % len(self.modalities)]
        source, target = (fits[-1].scanner for fits in self._two(rng, modality))
        return source, target, modality

    def without_own(self) -> TwinPool:
        """The pool that this one was made from, with the same people."""
        return TwinPool(**_fields(self))

    def about_fits(self) -> list[dict[str, Any]]:
        """How near the fitted scanners come to their sites, for ``model.json``."""
        return [
            {"site": site, "modality": modality, **fit.about(modality)}
            for (site, modality), fits in sorted(self.fits.items())
            for fit in fits
        ]

    @property
    def modalities(self) -> list[str]:
        """In which there are two sites and more."""
        kinds = [modality for _, modality in self.fits]
        return sorted({kind for kind in kinds if kinds.count(kind) > 1})

    def _two(self, rng: np.random.Generator, modality: str) -> list[tuple[FittedScanner, ...]]:
        """Fits of a source and of a target."""
        sites = [site for site, kind in self.fits if kind == modality]
        target = str(rng.choice([self.target] if self.target in sites else sites))
        source = str(rng.choice([site for site in sites if site != target]))
        return [self.fits[site, modality] for site in (source, target)]


def fit_sites(
    profiles: Mapping[tuple[str, str], ImageProfile],
    scans: Sequence[PreparedScan],
    grid: ReferenceGrid,
    *,
    seed: int,
    threads: int = 1,
) -> Fits:
    """Fit scanners to all sites.

    Parameters
    ----------
    profiles : mapping of (site, modality) to ImageProfile
    scans : sequence of PreparedScan
        Behind the profiles: noise is measured in them.
    grid : ReferenceGrid
    seed : int
    threads : int
        Sites fitted side by side; does not change the result.

    Returns
    -------
    mapping of (site, modality) to tuple of FittedScanner
        Of modalities that can be simulated, and of sites that simulated scanners are like.
    """
    people: list[Anatomy] = [
        # Nobody in particular: what a site shows is to be the scanner's.
        with_biology(make_anatomy(grid, _PEOPLE + i, variation=LOCAL_VARIATION), Biology())
        for i in range(_FITTED_PEOPLE)
    ]
    wanted = [key for key in sorted(profiles) if key[1] in FITTED_MODALITIES]

    def fit(key: tuple[str, str]) -> tuple[FittedScanner, ...]:
        profile = profiles[key]
        own = [s for s in scans if (s.site, s.modality) == key and s.label in profile.scans]
        noise = np.mean([deep_noise(s.data, s.mask, grid.voxel_mm) for s in own])
        return fit_scanners(
            profile, float(noise), people, count=_SCANNERS, voxel_mm=grid.voxel_mm, seed=seed
        )

    with ThreadPoolExecutor(max_workers=threads) as workers:
        made = workers.map(fit, wanted)
        fitted = list(tqdm(made, "sites fitted", len(wanted), unit="site", disable=None))
    found = dict(zip(wanted, fitted, strict=True))
    for (site, modality), fits in found.items():
        if max(fit.badness for fit in fits) > MOST_BADNESS:
            _LOGGER.warning("no simulated scanner is like %s %s: no twins of it", site, modality)
    return {
        key: fits
        for key, fits in found.items()
        if max(fit.badness for fit in fits) <= MOST_BADNESS
    }


def own_twins(
    pool: TwinPool,
    profiles: Mapping[tuple[str, str], ImageProfile],
    fits: Fits,
    *,
    share: float,
    target: str | None,
) -> OwnTwins:
    """Add pairs between real sites to a pool."""
    known = _fields(pool) | {"profiles": {**pool.profiles, **profiles}}
    return OwnTwins(**known, fits=fits, share=share, target=target)


def _fields(pool: TwinPool) -> dict[str, Any]:
    """What a pool was made of, without what `OwnTwins` adds."""
    return {own.name: getattr(pool, own.name) for own in fields(TwinPool)}
