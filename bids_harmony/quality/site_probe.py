"""Can a classifier still tell the site of a harmonized scan?

The classifier is trained on the method's own outputs: one that was trained on raw scans only shows
that the old differences are gone, not that none are left. People never sit in training and test at
once. `mask_features` is the control: what the shape of the head alone gives away, which no
intensity harmonization can take back. Research software, not for diagnosis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.texture import log_energy, squared_bands
from bids_harmony.quality.site_classifiers import CLASSIFIERS, recognized

__all__ = [
    "CLASSIFIERS",
    "ProbeResult",
    "block_means",
    "mask_features",
    "scan_features",
    "site_probes",
]

_PERCENTILE = 99.5
_QUANTILES = (0.01, *np.linspace(0.05, 0.95, 19), 0.99)
_CELLS = 4  # per axis, for fine detail
_COARSE_MM = 8.0
_BOOTSTRAPS = 1000
#: Folds at most, never more than the subjects of the smallest site; and cross-validations with
#: other folds, whose results are averaged.
FOLDS, REPEATS = 5, 5


@dataclass(frozen=True)
class ProbeResult:
    """How well sites were told apart.

    Attributes
    ----------
    balanced_accuracy : float
        Mean recall of the sites, averaged over repeated cross-validation.
    low, high : float
        95 % interval from resampling subjects; it holds the trained classifiers fixed.
    chance : float
        One over the number of sites.
    n : int
        Scans.
    classifier : str
        One of `CLASSIFIERS`.
    """

    balanced_accuracy: float
    low: float
    high: float
    chance: float
    n: int
    classifier: str


def scan_features(
    data: NDArray,
    mask: NDArray[np.bool_],
    voxel_mm: float,
    *,
    unit: float | None = None,
    within: NDArray[np.bool_] | None = None,
    bands: Sequence[NDArray[np.float32]] | None = None,
) -> NDArray[np.float32]:
    """Describe how a scan looks.

    Intensities are divided by their own 99.5th percentile, since stored units are arbitrary.

    Parameters
    ----------
    data : (X, Y, Z) float
        On a grid that all scans share (the reference grid), any unit; what lies outside the mask
        does not count.
    mask : (X, Y, Z) bool
        The brain.
    voxel_mm : float
    unit : float, optional
        What intensities are divided by instead: with the inverse of a scan's scale, a classifier
        is offered scans as they come.
    within : (X, Y, Z) bool, optional
        Keep the blocks of which most lies in here; the same for all scans. By default all.
    bands : sequence of (X, Y, Z) float32, optional
        `squared_bands` of the data where it is 0 outside the mask; made here by default.

    Returns
    -------
    (F,) float32
        21 quantiles, the log-energy of both detail bands in 4 x 4 x 4 cells, and the image in
        blocks of 8 mm; no unit.

    Raises
    ------
    DataError
        If the mask holds no positive signal.
    """
    mask = np.asarray(mask, dtype=bool)
    # Levels of what is sorted are found at once.
    values = np.sort(np.asarray(data[mask], np.float32))
    scale = float(np.percentile(values, _PERCENTILE)) if mask.any() else 0.0
    if not scale > 0:
        raise DataError("No positive signal inside the mask to describe", got=f"{scale:g}")
    inside = np.where(mask, data, 0).astype(np.float32)
    divisor = np.float32(scale if unit is None else unit)
    detail = log_energy(
        squared_bands(inside) if bands is None else bands, mask, _CELLS, gain=float(1 / divisor)
    )
    slabs = [s.mean(axis=0) for s in np.array_split(detail, min(_CELLS, len(detail)))]
    blocks = block_means(inside, voxel_mm) / divisor
    if within is not None:
        blocks = blocks[block_means(within.astype(np.float32), voxel_mm) > 0.5]
    return np.concatenate(
        [np.quantile(values, _QUANTILES) / divisor, np.ravel(slabs), blocks.ravel()]
    ).astype(np.float32)


def mask_features(mask: NDArray[np.bool_], voxel_mm: float) -> NDArray[np.float32]:
    """Describe the shape of a head, without any intensity.

    Parameters
    ----------
    mask : (X, Y, Z) bool
        The brain, on a grid that all scans share.
    voxel_mm : float

    Returns
    -------
    (F,) float32
        Volume (ml), extents (mm), and the mask in blocks of 8 mm.

    Raises
    ------
    DataError
        If the mask is empty.
    """
    mask = np.asarray(mask, dtype=bool)
    if not mask.any():
        raise DataError("The mask is empty", expected="at least one voxel", got="none")
    extents = (np.ptp(np.argwhere(mask), axis=0) + 1) * voxel_mm
    volume = mask.sum() * voxel_mm**3 / 1000
    coarse = block_means(mask.astype(np.float32), voxel_mm)
    return np.concatenate([[volume], extents, coarse.ravel()]).astype(np.float32)


def block_means(
    volume: NDArray[np.float32], voxel_mm: float, block_mm: float = _COARSE_MM
) -> NDArray[np.float32]:
    """Average over blocks, the last of each axis filled up with 0.

    Parameters
    ----------
    volume : (X, Y, Z) float32
    voxel_mm : float
    block_mm : float
        Edge of a block; rounded to whole voxels, one at least.

    Returns
    -------
    (x, y, z) float32
    """
    from skimage.measure import block_reduce

    edge: Sequence[int] = [max(1, round(block_mm / voxel_mm))] * 3
    return block_reduce(volume, tuple(edge), np.mean)


def site_probes(
    features: NDArray,
    sites: ArrayLike,
    subjects: ArrayLike,
    *,
    seed: int,
    classifiers: Sequence[str] = CLASSIFIERS,
) -> list[ProbeResult]:
    """Train and test classifiers of sites, subject-wise.

    Parameters
    ----------
    features : (N, F) float
        One row per scan; standardized inside every fold.
    sites, subjects : (N,)
        Of every scan.
    seed : int
        Draws the folds and the bootstrap.
    classifiers : sequence of {"linear", "kernel"}
        Report both: the stronger one is what is left of the sites.

    Returns
    -------
    list of ProbeResult
        One for each classifier.

    Raises
    ------
    DataError
        If lengths differ, there are fewer than two sites, or a site has fewer than two subjects.
    """
    x = np.asarray(features, dtype=np.float64)
    site_names, y = np.unique(np.asarray(sites), return_inverse=True)
    subject_names, who = np.unique(np.asarray(subjects), return_inverse=True)
    if x.ndim != 2 or not len(x) == len(y) == len(who):
        raise DataError(
            "Features, sites and subjects must have one row per scan",
            got=f"{x.shape}, {y.shape}, {who.shape}",
        )
    people = [len(np.unique(who[y == k])) for k in range(len(site_names))]
    if len(people) < 2 or min(people) < 2:
        raise DataError(
            "Too few scans to probe for sites",
            expected="two sites or more, with two subjects or more each",
            got=", ".join(f"{s}: {n}" for s, n in zip(site_names, people, strict=True)),
        )
    names, fewest = tuple(classifiers), min(FOLDS, *people)
    hits = np.mean(
        [recognized(x, y, who, names, seed=seed + r, folds=fewest) for r in range(REPEATS)], axis=0
    )
    # Hits and scans of every subject at every site: all that the resampling needs.
    shape = (len(subject_names), len(site_names))
    scans = np.zeros(shape)
    np.add.at(scans, (who, y), 1)
    drawn = _bootstrap(len(subject_names), seed)
    results = []
    for name, hit in zip(names, hits, strict=True):
        right = np.zeros(shape)
        np.add.at(right, (who, y), hit)
        low, high = np.quantile(_balanced(drawn @ right, drawn @ scans), [0.025, 0.975])
        results.append(
            ProbeResult(
                balanced_accuracy=float(_balanced(right.sum(axis=0), scans.sum(axis=0))),
                low=float(low),
                high=float(high),
                chance=1 / len(site_names),
                n=len(x),
                classifier=name,
            )
        )
    return results


def _bootstrap(n: int, seed: int) -> NDArray[np.float64]:
    """How often each of `n` subjects is drawn in every resampling: (resamplings, n)."""
    picked = np.random.default_rng([seed, 0xB0]).integers(n, size=(_BOOTSTRAPS, n))
    first = n * np.arange(_BOOTSTRAPS)[:, None]
    counts = np.bincount((first + picked).ravel(), minlength=_BOOTSTRAPS * n)
    return counts.reshape(_BOOTSTRAPS, n).astype(np.float64)


def _balanced(right: NDArray[np.float64], scans: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean recall of the sites that occur, from hits and scans by (..., site)."""
    there = scans > 0
    recall = np.divide(right, scans, out=np.zeros_like(right), where=there)
    return np.asarray(recall.sum(axis=-1) / there.sum(axis=-1))
