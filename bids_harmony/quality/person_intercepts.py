"""Linear models of people who were scanned repeatedly: an intercept of each person's own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from bids_harmony.exceptions import DataError

__all__ = ["fit_with_people"]

_Array = NDArray[np.float64]

#: Share of the variance that is between people, at most.
_MOST = 1 - 1e-6


def fit_with_people(
    design: _Array, data: _Array, people: NDArray, learnt: NDArray[np.bool_]
) -> tuple[_Array, _Array, _Array]:
    """Fit each measure with random intercepts of people, by restricted maximum likelihood.

    Own code, because statsmodels' MixedLM stops with a singular matrix where people differ by no
    more than their scans do; elsewhere the two agree (a test compares).

    Parameters
    ----------
    design : (N, C) float64
        Columns of the fixed effects; not one of them is made of the others.
    data : (N, F) float64
        Measures; NaN where one is missing.
    people : (N,) words
        Whose scan each row is.
    learnt : (N,) bool
        Rows that the model is fitted to.

    Returns
    -------
    slopes : (C, F) float64
    intercepts : (N, F) float64
        Best linear unbiased prediction of each person's own, also of people that the model was
        not fitted to.
    spread : (F,) float64
        Standard deviation between scans of one person, in the unit of the measure.

    Raises
    ------
    DataError
        Nobody was scanned twice.
    """
    owners = np.unique(people.astype(str), return_inverse=True)[1]
    slopes = np.zeros((design.shape[1], data.shape[1]))
    intercepts, spread = np.zeros(data.shape), np.zeros(data.shape[1])
    for column, values in enumerate(data.T):
        there = np.isfinite(values)
        rows = there & learnt
        if len(set(owners[rows])) == rows.sum():
            raise DataError(
                "Nobody was scanned twice",
                expected="two scans of somebody with each measure",
                got=f"{int(rows.sum())} scans of as many people",
            )
        # A site that shows nothing of a measure has no column there.
        used = design[rows].any(axis=0)
        fit = _Blocks(design[rows][:, used], values[rows], owners[rows])
        share = fit.best_share()
        slopes[used, column], spread[column] = fit.solve(share)[:2]
        left = np.where(there, values - design @ slopes[:, column], 0)
        counts = np.bincount(owners, weights=there)
        sums = np.bincount(owners, weights=left)
        intercepts[:, column] = (share * sums / (1 + share * counts))[owners]
    return slopes, intercepts, spread


class _Blocks:
    """One measure: rows of a design, values, and whose they are."""

    def __init__(self, design: _Array, values: _Array, owners: NDArray) -> None:
        self.blocks = np.unique(owners, return_inverse=True)[1]
        self.counts = np.bincount(self.blocks)
        self.table = np.column_stack([design, values])
        sums = np.zeros((len(self.counts), self.table.shape[1]))
        np.add.at(sums, self.blocks, self.table)
        self.means = sums / self.counts[:, None]
        self.degrees = len(values) - design.shape[1]

    def solve(self, share: float) -> tuple[_Array, float, float]:
        """Slopes, spread within people, and -2 log of the restricted likelihood up to a constant.

        `share` is the variance between people over that within.
        """
        # Less a part of the person's mean, rows are independent (Laird and Ware, 1982).
        part = 1 - 1 / np.sqrt(1 + self.counts * share)
        table = self.table - (part[:, None] * self.means)[self.blocks]
        design, values = table[:, :-1], table[:, -1]
        slopes, *_ = np.linalg.lstsq(design, values, rcond=None)
        squares = float(np.square(values - design @ slopes).sum())
        size = np.linalg.slogdet(design.T @ design)[1] + np.log1p(self.counts * share).sum()
        likelihood = self.degrees * np.log(max(squares, np.finfo(float).tiny)) + size
        return slopes, float(np.sqrt(squares / self.degrees)), float(likelihood)

    def best_share(self) -> float:
        """The share that makes the values likeliest; 0 where people do not differ."""
        # As a share of all variance it has two ends.
        found = minimize_scalar(
            lambda t: self.solve(t / (1 - t))[2], bounds=(0, _MOST), method="bounded",
            options={"xatol": 1e-7},
        )  # fmt: skip
        at_zero, best = self.solve(0.0)[2], float(found.x)
        return 0.0 if at_zero <= found.fun else best / (1 - best)
