"""Columns of linear models: what a table says of scans, as numbers that a model can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError

__all__ = [
    "as_column",
    "centred",
    "covariate_columns",
    "directions",
    "indicator_columns",
    "known",
    "numbers",
    "separate_sites",
]

#: What a table of BIDS says where nothing is known; infinity is nothing that was measured.
_UNKNOWN = ("", "n/a", float("inf"), float("-inf"))
#: Columns have a spread of about 1: less than this, per scan, is rounding.
_ROUNDING = 1e-9


def as_column(values: Any) -> NDArray[np.object_]:
    """Values as they are: numpy alone would make words of numbers beside words, also of NaN.

    Parameters
    ----------
    values : (N,) numbers or words

    Returns
    -------
    (N,) object
    """
    return np.asarray(list(values), dtype=object)


def known(column: Iterable[object]) -> NDArray[np.bool_]:
    """Where a column says something.

    Parameters
    ----------
    column : (N,) numbers or words
        None, NaN, infinity, ``n/a`` and empty words say nothing.

    Returns
    -------
    (N,) bool
    """
    import pandas as pd

    series = pd.Series(list(column), dtype=object)
    return (series.notna() & ~series.isin(_UNKNOWN)).to_numpy(dtype=bool)


def numbers(column: Iterable[object]) -> NDArray[np.float64] | None:
    """A column as numbers.

    Parameters
    ----------
    column : (N,) numbers or words

    Returns
    -------
    (N,) float64 or None
        NaN where nothing is known; None if something that is known is no number.
    """
    import pandas as pd

    series = pd.Series(list(column), dtype=object)
    there = known(series)
    found = pd.to_numeric(series.where(there), errors="coerce").to_numpy(dtype=np.float64)
    return None if np.isnan(found[there]).any() else found


def indicator_columns(labels: Iterable[object]) -> tuple[list[str], NDArray[np.float64]]:
    """One column per label: 1 where a row has it, 0 elsewhere.

    Parameters
    ----------
    labels : (N,) words
        Known everywhere.

    Returns
    -------
    names : list of str
        L labels, sorted.
    columns : (N, L) float64
    """
    names, index = np.unique([str(label) for label in labels], return_inverse=True)
    return names.tolist(), np.eye(len(names))[index]


def covariate_columns(column: Iterable[object]) -> NDArray[np.float64]:
    """Columns that stand for a covariate beside an intercept.

    Parameters
    ----------
    column : (N,) numbers or words
        Known everywhere.

    Returns
    -------
    (N, C) float64
        Numbers: one column of mean 0 and standard deviation 1. Words: indicators of all but the
        first. No column where all rows are alike.
    """
    values = list(column)
    found = numbers(values)
    if found is None:
        return indicator_columns(values)[1][:, 1:]
    if np.ptp(found) == 0:
        return np.empty((len(found), 0))
    return ((found - found.mean()) / found.std())[:, None]


def centred(columns: NDArray[np.float64], blocks: NDArray[np.intp]) -> NDArray[np.float64]:
    """Columns less their mean in each block.

    Regressions on what is left are those with an intercept for each block (Frisch & Waugh,
    Econometrica 1:387, 1933).

    Parameters
    ----------
    columns : (N, C) float64
    blocks : (N,) int
        Number of each row's block, from 0; every block has rows.

    Returns
    -------
    (N, C) float64
    """
    sums = np.zeros((int(blocks.max()) + 1, columns.shape[1]))
    np.add.at(sums, blocks, columns)
    return columns - (sums / np.bincount(blocks)[:, None])[blocks]


def separate_sites(
    sites: NDArray[np.float64], covariates: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions of the covariates, and those that sites add to them.

    Parameters
    ----------
    sites : (N, S) float64
        Indicators of S sites, centred.
    covariates : mapping of name to (N, C) float64
        Centred in the same way.

    Returns
    -------
    of_covariates : (N, R) float64
        Orthonormal.
    of_sites : (N, S - 1) float64
        Orthonormal, and orthogonal to those of the covariates.

    Raises
    ------
    DataError
        If some difference between sites is one between values of the covariates.
    """
    empty = np.empty((len(sites), 0))
    first = directions(np.column_stack([empty, *covariates.values()]))
    second = directions(sites - first @ (first.T @ sites))
    if second.shape[1] < sites.shape[1] - 1:
        raise DataError(
            "Sites cannot be told apart from a covariate",
            where=", ".join(_culprits(sites, covariates) or covariates or ["people"]),
            expected="covariates that vary within sites",
            got=f"{second.shape[1]} of {sites.shape[1] - 1} differences between"
            f" {sites.shape[1]} sites left beside them",
            hint="Leave the covariate out, or add scans in which sites share its values.",
        )
    return first, second


def directions(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal directions that columns span.

    Parameters
    ----------
    columns : (N, C) float64
        With a spread of about 1, but for those that hold nothing.

    Returns
    -------
    (N, rank) float64
    """
    found, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return found[:, sizes > _ROUNDING * np.sqrt(len(columns))]


def _culprits(
    sites: NDArray[np.float64], covariates: Mapping[str, NDArray[np.float64]]
) -> list[str]:
    """Covariates each of which alone hides a difference between sites."""
    found = []
    for name, columns in covariates.items():
        own = directions(columns)
        if directions(sites - own @ (own.T @ sites)).shape[1] < sites.shape[1] - 1:
            found.append(name)
    return found
