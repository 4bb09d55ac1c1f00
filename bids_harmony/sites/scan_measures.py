"""Measures of the single scans behind a site's average: what the model of sites is fitted to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bids_harmony.imaging.legendre import FIELD_TERMS
from bids_harmony.sites.tissue_profile import contrasts

__all__ = ["DETAIL_BANDS", "ScanMeasures"]

Array = np.ndarray

#: Bands of fine detail of which a scan's mean energy is kept.
DETAIL_BANDS = 2


@dataclass(frozen=True, eq=False)
class ScanMeasures:
    """Measures of each of N scans of one site and modality.

    Attributes
    ----------
    people : tuple of str
        Whose scan each is.
    means : (N, 3) float64
        Intensities of grey matter, white matter and CSF without the field, fraction of scale.
    fields : (N, 20) float64
        Coefficients of the logarithm of each scan's field (`imaging.legendre.log_field`).
    detail : (N, 2) float64
        Log-energy of fine detail, mean over the brain, two bands.
    covariates : mapping of str to (N,) float64
        What is known of the people; NaN where it is not.
    curves : (N, K) float64, optional
        Quantiles of each scan's intensities (`TissueProfile.curve`); None where they were not
        kept.
    blur : (N, 3) float64, optional
        Variance of the edges' blur along each axis, mm^2; NaN where it could not be measured.
    groups : tuple of str, optional
        Where they stand for the mean of several sites, of which site each scan is.
    """

    people: tuple[str, ...]
    means: Array
    fields: Array
    detail: Array
    covariates: Mapping[str, Array] = field(default_factory=dict)
    curves: Array | None = None
    blur: Array | None = None
    groups: tuple[str, ...] | None = None

    @classmethod
    def of_sites(cls, sites: Mapping[str, ScanMeasures]) -> ScanMeasures:
        """The scans of several sites, which stand for the mean of these sites.

        Parameters
        ----------
        sites : mapping of str to ScanMeasures
            By name. Of curves, blur and covariates those are kept that all of them have.
        """
        parts = list(sites.values())
        names = set.intersection(*(set(own.covariates) for own in parts))

        def joined(arrays: Sequence[Array | None]) -> Array | None:
            known = [array for array in arrays if array is not None]
            return np.concatenate(known) if len(known) == len(arrays) else None

        return cls(
            # Names of people are those of a site.
            tuple(f"{site}: {person}" for site, own in sites.items() for person in own.people),
            np.concatenate([own.means for own in parts]),
            np.concatenate([own.fields for own in parts]),
            np.concatenate([own.detail for own in parts]),
            {
                name: np.concatenate([own.covariates[name] for own in parts])
                for name in sorted(names)
            },
            joined([own.curves for own in parts]),
            joined([own.blur for own in parts]),
            tuple(site for site, own in sites.items() for _ in own.people),
        )

    def seen_from(self, site: str) -> tuple[ScanMeasures, float]:
        """What a site is compared with, and which share of the difference is to the mean.

        With S sites, the mean of all less a site is (S - 1) / S times the mean of the others less
        that site: so no scan stands on both sides of a comparison.
        """
        if self.groups is None or site not in self.groups:
            return self, 1.0
        own = np.array(self.groups) != site
        count = len(set(self.groups))

        def others(values: Any) -> Any:
            return None if values is None else np.asarray(values)[own]

        measures = ScanMeasures(
            tuple(str(person) for person in others(self.people)),
            others(self.means),
            others(self.fields),
            others(self.detail),
            {name: others(values) for name, values in self.covariates.items()},
            others(self.curves),
            others(self.blur),
            tuple(str(name) for name in others(self.groups)),
        )
        return measures, (count - 1) / count

    def average(self, values: Array) -> Array:
        """Mean of one row for each scan, in which each site counts once."""
        if self.groups is None:
            return np.asarray(values.mean(axis=0))
        groups = np.array(self.groups)
        return np.asarray(
            np.mean([values[groups == site].mean(axis=0) for site in sorted(set(groups))], axis=0)
        )

    def groups_of(self, people: Sequence[str]) -> tuple[str, ...] | None:
        """The site of each of some people; None where there is only one."""
        if self.groups is None:
            return None
        own = dict(zip(self.people, self.groups, strict=True))
        return tuple(own[person] for person in people)

    def people_of_sites(self) -> dict[str, int]:
        """How many people show each of the sites whose mean they stand for."""
        pairs = set(zip(self.groups or (), self.people, strict=False))
        return dict(sorted(Counter(site for site, _ in pairs).items()))

    @classmethod
    def from_average(
        cls, scans: tuple[str, ...], means: Array, site_field: Array, detail: Array
    ) -> ScanMeasures:
        """Measures of a site of which only the average was kept: every scan is the average."""
        count = max(len(scans), 1)
        return cls(
            scans or ("unknown",),
            np.tile(means, (count, 1)),
            np.tile(site_field, (count, 1)),
            np.tile(detail, (count, 1)),
        )

    @property
    def contrasts(self) -> Array:
        """(N, 2): log of grey and of CSF over white matter."""
        return contrasts(self.means)

    @property
    def measures(self) -> Array:
        """All measures side by side, (N, 2 + 20 + 2): contrasts, field, detail."""
        return np.concatenate([self.contrasts, self.fields, self.detail], axis=1)

    @staticmethod
    def parts() -> tuple[slice, slice, slice]:
        """Where contrasts, field and detail lie in `measures`."""
        ends = np.cumsum([0, 2, FIELD_TERMS, DETAIL_BANDS])
        return slice(*ends[0:2]), slice(*ends[1:3]), slice(*ends[2:4])
