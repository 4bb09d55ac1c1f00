"""Does a harmonized scan still find its own person among scans of another site?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.smoothing import masked_smooth
from bids_harmony.methods.closed_form import SMOOTHING_MM

__all__ = ["Fingerprint", "fingerprint"]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Outcome of looking people up.

    Attributes
    ----------
    rate : float
        Share of queries whose own person is the most similar of the gallery.
    chance : float
        One over the number of people in the gallery.
    margin : float
        Mean over queries of the correlation with the own person minus the best of the others.
    n : int
        Queries.
    correlations : (N, M) float64
        Of every query with every scan of the gallery.
    """

    rate: float
    chance: float
    margin: float
    n: int
    correlations: NDArray[np.float64]


def fingerprint(
    queries: Sequence[NDArray],
    gallery: Sequence[NDArray],
    query_subjects: Sequence[str],
    gallery_subjects: Sequence[str],
    mask: NDArray[np.bool_],
    voxel_mm: float,
) -> Fingerprint:
    """Look every query up among the scans of another site, by correlation.

    Images are divided by their own local mean (Gaussian, 12 mm standard deviation, inside the
    mask) before they are standardized: receive fields and gain drop out, what remains are folds
    and tissue contrast.

    Parameters
    ----------
    queries, gallery : sequences of (X, Y, Z) float
        On one grid (the reference grid), any units. One scan of each person in the gallery.
    query_subjects, gallery_subjects : sequences of str
        Every query's subject must be in the gallery.
    mask : (X, Y, Z) bool
        Voxels that lie in the brain of every scan.
    voxel_mm : float

    Returns
    -------
    Fingerprint

    Raises
    ------
    DataError
        If the gallery has fewer than two people or one of them twice, a query's subject is not in
        it, shapes differ or the mask is empty.
    """
    people = list(gallery_subjects)
    lost = sorted(set(query_subjects) - set(people))
    if len(people) < 2 or len(set(people)) < len(people) or lost or not len(queries):
        raise DataError(
            "People cannot be looked up in this gallery",
            expected="two people or more, once each, and every query's subject among them",
            got=f"{len(people)} scans of {len(set(people))} people, {len(queries)} queries;"
            f" not in the gallery: {', '.join(lost) or 'none'}",
        )
    if len(queries) != len(query_subjects) or len(gallery) != len(people):
        raise DataError(
            "Every scan needs its subject",
            expected=f"{len(queries)} and {len(gallery)}",
            got=f"{len(query_subjects)} and {len(people)}",
        )
    mask = np.asarray(mask, dtype=bool)
    if not mask.any() or any(s.shape != mask.shape for s in (*queries, *gallery)):
        raise DataError("Scans and mask must be on one grid, and the mask must not be empty")
    sides = [np.stack([_detail(s, mask, voxel_mm) for s in scans]) for scans in (queries, gallery)]
    correlations = (sides[0] @ sides[1].T).astype(np.float64)
    own = np.array([people.index(subject) for subject in query_subjects])
    rows = np.arange(len(own))
    others = correlations.copy()
    others[rows, own] = -np.inf
    margins = correlations[rows, own] - others.max(axis=1)
    return Fingerprint(
        rate=float(np.mean(margins > 0)),
        chance=1 / len(people),
        margin=float(margins.mean()),
        n=len(own),
        correlations=correlations,
    )


def _detail(scan: NDArray, mask: NDArray[np.bool_], voxel_mm: float) -> NDArray[np.float64]:
    """High-passed intensities inside the mask, of zero mean and unit length."""
    data = np.asarray(scan, dtype=np.float32)
    local = masked_smooth(data, mask, SMOOTHING_MM / voxel_mm)
    floor = np.float32(1e-3 * max(float(local[mask].max()), 1e-12))
    ratio = data[mask].astype(np.float64) / np.maximum(local[mask], floor)
    ratio -= ratio.mean()
    return ratio / max(float(np.linalg.norm(ratio)), 1e-12)
