"""Scores of a harmonized scan against its twin: the same person as the target would see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.tissues import TISSUE_NAMES
from bids_harmony.quality.image_metrics import (
    gain_free_rmse,
    ms_ssim,
    nyquist_share,
    psnr,
    rmse,
    ssim,
)
from bids_harmony.quality.tissues import tissue_wasserstein

__all__ = ["FULL_FIGURES", "TWIN_FIGURES", "full_score", "rescan_floor", "score_against_twin"]

#: Figures of a score; units: fraction of the image's scale, dB, or none.
TWIN_FIGURES = ("rmse", "rmse_gain_free", "psnr_db", "ssim", "ms_ssim")
#: Figures of a full score, in order. Of the last four groups only those whose input was given.
FULL_FIGURES = (
    "data_range",
    "data_range_native",
    *TWIN_FIGURES,
    "rmse_affine_free",
    "correlation_twin",
    "rmse_whole",
    "psnr_whole_db",
    "ssim_whole",
    "ms_ssim_whole",
    "lpips",
    "lpips_whole",
    *(f"wasserstein_{name}" for name in TISSUE_NAMES),
    "correlation_source",
    "nyquist_share",
)
_PERCENTILE = 99.5

#: Reference, image, data range and mask (None: the whole image) to a distance.
Distance = Callable[[NDArray, NDArray, float, NDArray[np.bool_] | None], float]


def score_against_twin(image: NDArray, twin: NDArray, mask: NDArray[np.bool_]) -> dict[str, float]:
    """Compare inside the brain, each image scaled by its own robust maximum.

    Stored units are arbitrary, so both images are divided by the 99.5th percentile of the brain;
    the data range is then 1.

    Parameters
    ----------
    image, twin : (X, Y, Z) float
        On one grid, each in its own stored units.
    mask : (X, Y, Z) bool

    Returns
    -------
    dict
        `TWIN_FIGURES`. ``rmse_gain_free`` is the RMSE after the best gain of the image (least
        squares), so that noise in the percentile does not count.
    """
    ours, goal = (np.where(mask, _scaled(data, mask), np.float32(0)) for data in (image, twin))
    return {
        "rmse": rmse(goal, ours, mask=mask),
        "rmse_gain_free": gain_free_rmse(goal, ours, mask=mask),
        "psnr_db": psnr(goal, ours, data_range=1.0, mask=mask),
        "ssim": ssim(goal, ours, data_range=1.0, mask=mask),
        "ms_ssim": ms_ssim(goal, ours, data_range=1.0, mask=mask),
    }


def full_score(
    image: NDArray,
    twin: NDArray,
    mask: NDArray[np.bool_],
    *,
    source: NDArray | None = None,
    labels: NDArray | None = None,
    perceptual: Distance | None = None,
) -> dict[str, float]:
    """Compare with the twin in every figure of the benchmark.

    Images are scaled as in `score_against_twin`, the whole ones too, by the percentile of the
    brain; figures without ``_whole`` see the brain only.

    Parameters
    ----------
    image, twin : (X, Y, Z) float
        On one grid, each in its own stored units.
    mask : (X, Y, Z) bool
        The brain.
    source : (X, Y, Z) float, optional
        What was harmonized. Gives ``correlation_source`` and ``nyquist_share``, that of the change
        inside the brain: zero only where the grid is the one on which the method ran.
    labels : (X, Y, Z) int, optional
        Tissues of the person, as in `TissueMap`. Give the distance of intensities per tissue.
    perceptual : callable, optional
        Of reference, image, data range and mask, for example around `lpips`.

    Returns
    -------
    dict
        Of `FULL_FIGURES` those that were asked for, in that order. ``data_range`` is that of the
        scaled images, ``data_range_native`` the percentile of the twin in its stored units.
        ``rmse_affine_free`` is the RMSE after the best gain and shift, ``correlation_*`` are
        Pearson's. ``psnr_db`` of equal images is infinite.
    """
    ours, goal = _scaled(image, mask), _scaled(twin, mask)
    inside, wanted = ours[mask].astype(np.float64), goal[mask].astype(np.float64)
    agreement = _correlation(inside, wanted)
    row = {
        "data_range": 1.0,
        "data_range_native": float(np.percentile(twin[mask], _PERCENTILE)),
        **score_against_twin(image, twin, mask),
        # What a straight line leaves: the part of the variance that it does not explain.
        "rmse_affine_free": float(wanted.std() * np.sqrt(max(1 - agreement**2, 0))),
        "correlation_twin": agreement,
        "rmse_whole": rmse(goal, ours),
        "psnr_whole_db": psnr(goal, ours, data_range=1.0),
        "ssim_whole": ssim(goal, ours, data_range=1.0),
        "ms_ssim_whole": ms_ssim(goal, ours, data_range=1.0),
    }
    if perceptual is not None:
        row["lpips"] = perceptual(goal, ours, 1.0, mask)
        row["lpips_whole"] = perceptual(goal, ours, 1.0, None)
    if labels is not None:
        distances = tissue_wasserstein(ours, goal, labels)
        row |= {f"wasserstein_{name}": value for name, value in distances.items()}
    if source is not None:
        before = _scaled(source, mask)
        row["correlation_source"] = _correlation(inside, before[mask].astype(np.float64))
        row["nyquist_share"] = nyquist_share(np.where(mask, ours - before, 0))
    return row


def rescan_floor(
    draws: Sequence[NDArray],
    mask: NDArray[np.bool_],
    *,
    labels: NDArray | None = None,
    perceptual: Distance | None = None,
) -> dict[str, float]:
    """Score scans of one person at one site against each other: what a method cannot beat.

    Against a *noise-free* twin a method that denoises may well fall below it; against a twin with
    noise it cannot.

    Parameters
    ----------
    draws : sequence of (X, Y, Z) float
        Two noise draws or more of the same twin.
    mask : (X, Y, Z) bool
    labels, perceptual
        As in `full_score`.

    Returns
    -------
    dict
        Figures of `full_score`, each the mean over all pairs of draws.

    Raises
    ------
    DataError
        If there are fewer than two draws.
    """
    if len(draws) < 2:
        raise DataError("A rescan needs two draws or more", got=str(len(draws)))
    rows = [
        full_score(second, first, mask, labels=labels, perceptual=perceptual)
        for first, second in combinations(draws, 2)
    ]
    return {figure: float(np.mean([row[figure] for row in rows])) for figure in rows[0]}


def _scaled(data: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return (data / np.percentile(data[mask], _PERCENTILE)).astype(np.float32)


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.corrcoef(first, second)[0, 1])
