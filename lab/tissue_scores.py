"""Did harmonization move anatomy? Tissues of two images of one head, compared.

Research software, not for diagnosis.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.tissues import TISSUE_NAMES
from bids_harmony.quality.distributions import density_curve

__all__ = ["dice_per_class", "tissue_densities", "volume_change"]


def dice_per_class(first: NDArray, second: NDArray) -> dict[str, float]:
    """Overlap of two label maps, ``2 |A and B| / (|A| + |B|)`` (Dice 1945), per tissue.

    Parameters
    ----------
    first, second : (X, Y, Z) int
        Labels as in `TissueMap`.

    Returns
    -------
    dict
        Keys `TISSUE_NAMES`; 0 to 1, NaN where neither map has the tissue.

    Raises
    ------
    DataError
        If shapes differ.
    """
    _check_labels(first, second)
    scores = {}
    for label, name in enumerate(TISSUE_NAMES, start=1):
        a, b = first == label, second == label
        size = int(a.sum()) + int(b.sum())
        scores[name] = 2 * int((a & b).sum()) / size if size else float("nan")
    return scores


def volume_change(source: NDArray, output: NDArray) -> dict[str, float]:
    """Relative change of each tissue's volume, ``(output - source) / source``.

    Parameters
    ----------
    source, output : (3, X, Y, Z) float or (X, Y, Z) int
        Probabilities, which see changes of less than a voxel, or labels.

    Returns
    -------
    dict
        Keys `TISSUE_NAMES`; a fraction, NaN where the source lacks the tissue.

    Raises
    ------
    DataError
        If shapes differ.
    """
    _check_labels(source, output)
    changes = {}
    for index, name in enumerate(TISSUE_NAMES):
        before, after = (
            float(tissues[index].sum(dtype=np.float64))
            if tissues.ndim == 4
            else float((tissues == index + 1).sum())
            for tissues in (source, output)
        )
        changes[name] = (after - before) / before if before > 0 else float("nan")
    return changes


def tissue_densities(
    data: NDArray, labels: NDArray, grid: ArrayLike
) -> Mapping[str, NDArray[np.float64]]:
    """Kernel densities of the intensities of the brain and of each tissue on one grid.

    Parameters
    ----------
    data : (X, Y, Z) float
    labels : (X, Y, Z) int
        As in `TissueMap`.
    grid : (K,) array-like
        Increasing and even, in the unit of the data.
    bandwidth : float, optional
        As in `density_curve`.

    Returns
    -------
    mapping of str to (K,) float64
        Keys ``brain`` and those of `TISSUE_NAMES` that occur; per unit of the data, each with
        area 1.

    Raises
    ------
    DataError
        If shapes differ or no voxel is labelled.
    """
    _check_labels(data, labels)
    curves = {"brain": density_curve(data[labels > 0], grid)}
    for label, name in enumerate(TISSUE_NAMES, start=1):
        if (labels == label).any():
            curves[name] = density_curve(data[labels == label], grid)
    return curves


def _check_labels(first: NDArray, second: NDArray) -> None:
    if np.shape(first) != np.shape(second):
        raise DataError(
            "Tissues are not on one grid",
            expected=str(np.shape(first)),
            got=str(np.shape(second)),
        )
