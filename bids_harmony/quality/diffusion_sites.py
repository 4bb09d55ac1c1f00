"""Do sites agree on diffusion maps?

Regions are equal-size blocks of the template's white matter: no atlas decides which differences
are seen, and every number stands for as many voxels as any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError

__all__ = [
    "block_medians",
    "coefficient_of_variation",
    "white_matter_blocks",
]

#: A block of which less is known has no median.
_LEAST_SHARE = 0.5


def white_matter_blocks(
    white: NDArray[np.bool_], n_blocks: int = 64, *, voxel_mm: ArrayLike = (1.0, 1.0, 1.0)
) -> NDArray[np.int32]:
    """Cut white matter into compact blocks of equally many voxels.

    The set is halved again and again across its longest extent (a k-d tree, Bentley 1975).

    Parameters
    ----------
    white : (X, Y, Z) bool
        White matter of the template.
    n_blocks : int
        Sizes differ by one voxel for each halving at most.
    voxel_mm : (3,) float
        Edges of a voxel.

    Returns
    -------
    (X, Y, Z) int32
        1 to `n_blocks`; 0 outside.

    Raises
    ------
    DataError
        Fewer voxels than blocks.
    """
    voxels = np.argwhere(white)
    if len(voxels) < n_blocks:
        raise DataError(
            "Too little white matter to cut",
            expected=f"{n_blocks} voxels and more",
            got=str(len(voxels)),
        )
    at = voxels * np.asarray(voxel_mm, dtype=float)
    parts = [(np.arange(len(voxels)), n_blocks)]
    labels = np.zeros(white.shape, np.int32)
    label = 0
    while parts:
        part, n = parts.pop()
        if n == 1:
            label += 1
            labels[tuple(voxels[part].T)] = label
            continue
        axis = int(np.argmax(np.ptp(at[part], axis=0)))
        order = part[np.argsort(at[part, axis], kind="stable")]
        middle = round(len(order) * (n // 2) / n)
        parts += [(order[middle:], n - n // 2), (order[:middle], n // 2)]
    return labels


def block_medians(
    data: NDArray,
    blocks: NDArray,
    where: NDArray[np.bool_],
    *,
    sizes: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Median of a map in each block.

    Parameters
    ----------
    data : (X, Y, Z) float
        A map on the grid of the blocks.
    blocks : (X, Y, Z) int
        As `white_matter_blocks` gives them.
    where : (X, Y, Z) bool
        Voxels of the map that are known: fitted, and inside the field of view.
    sizes : (blocks,) float, optional
        Voxels that each block would have if all of it lay on the grid; by default those that it
        has there, up to the last block that is there.

    Returns
    -------
    (blocks,) float64
        In the unit of the map; NaN where less than half of a block is known.
    """
    there = np.bincount(np.ravel(blocks))[1:]
    whole = there if sizes is None else np.asarray(sizes)
    medians = np.full(len(whole), np.nan)
    known = where & (blocks > 0)
    values, own = data[known], blocks[known]
    for index, size in enumerate(whole):
        block = values[own == index + 1]
        if len(block) >= max(1, _LEAST_SHARE * size):
            medians[index] = np.median(block)
    return medians


def coefficient_of_variation(values: ArrayLike) -> NDArray[np.float64]:
    """Variation between scans of the same people, relative to the mean, region by region.

    Across sites it is the site effect with noise; across repeated scans at one site, computed the
    same way, it is the scan-rescan floor below which no harmonization can go.

    Parameters
    ----------
    values : (people, scans, regions) array-like
        Such as `block_medians` of each scan; NaN where a region was not seen.

    Returns
    -------
    (regions,) float64
        Root of the variance within people (mean over those with two scans and more; n - 1 in
        the denominator) over the mean of all scans. NaN where nobody has two.

    Raises
    ------
    DataError
        Not three axes.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 3:
        raise DataError(
            "Values must be by person, scan and region", expected="three axes", got=str(data.shape)
        )
    known = np.isfinite(data)
    count = known.sum(axis=1)
    filled = np.where(known, data, 0.0)
    own_mean = filled.sum(axis=1) / np.maximum(count, 1)
    squares = np.where(known, (data - own_mean[:, None]) ** 2, 0.0).sum(axis=1)
    usable = count > 1
    variance = np.where(usable, squares / np.maximum(count - 1, 1), 0.0)
    people = usable.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        within = np.sqrt(variance.sum(axis=0) / people)
        mean = (own_mean * usable).sum(axis=0) / people
        return np.where(people > 0, within / np.abs(mean), np.nan)
