"""Measures of the single scans behind a site's average: what the model of sites is fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    """

    people: tuple[str, ...]
    means: Array
    fields: Array
    detail: Array
    covariates: Mapping[str, Array] = field(default_factory=dict)
    curves: Array | None = None
    blur: Array | None = None

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
