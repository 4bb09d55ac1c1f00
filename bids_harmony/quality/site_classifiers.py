"""Classifiers of the site, which see scans only through inner products of their features.

Scans are fewer than features by far: a hundred of twelve thousand. Both classifiers depend on
features by inner products alone, so that these are taken once per fold and serve both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError

__all__ = ["CLASSIFIERS", "recognized"]

#: Logistic regression with an L2 penalty, and a support vector machine with a Gaussian kernel.
CLASSIFIERS = ("linear", "kernel")

_Array = NDArray[np.float64]


def recognized(
    features: _Array,
    sites: NDArray[np.intp],
    subjects: NDArray[np.intp],
    classifiers: tuple[str, ...],
    *,
    seed: int,
    folds: int,
) -> NDArray[np.bool_]:
    """Whether each scan's site is found by a classifier that never saw its subject.

    Parameters
    ----------
    features : (N, F) float64
        One row per scan; standardized by the training scans of every fold.
    sites, subjects : (N,) int
        Of every scan.
    classifiers : tuple of str
        Of `CLASSIFIERS`; all are trained on the same folds.
    seed : int
        Draws the folds.
    folds : int

    Returns
    -------
    (len(classifiers), N) bool

    Raises
    ------
    DataError
        An unknown classifier.
    """
    from threadpoolctl import threadpool_limits

    ways = [_way(name) for name in classifiers]
    right = np.zeros((len(ways), len(sites)), dtype=bool)
    splits = _splits(sites, subjects, seed, folds)
    # More threads than free processors wait for each other many times as long as they work, and
    # sums of several threads depend on their number.
    with threadpool_limits(1):
        for train, test in splits:
            z = _standardized(features, train)
            products = z @ z.T
            for row, way in zip(right, ways, strict=True):
                row[test] = way(z, products, sites, train, test) == sites[test]
    return right


def _splits(
    sites: NDArray[np.intp], subjects: NDArray[np.intp], seed: int, folds: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    from sklearn.model_selection import StratifiedGroupKFold

    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return split.split(sites, sites, groups=subjects)


def _standardized(features: _Array, train: NDArray[np.intp]) -> _Array:
    from sklearn.preprocessing import StandardScaler

    return np.asarray(StandardScaler().fit(features[train]).transform(features))


def _way(name: str) -> Callable[..., NDArray[np.intp]]:
    ways = dict(zip(CLASSIFIERS, (_by_regression, _by_gaussian_kernel), strict=True))
    if name not in ways:
        raise DataError("Unknown classifier of sites", expected=" or ".join(CLASSIFIERS), got=name)
    return ways[name]


def _by_regression(
    z: _Array, products: _Array, sites: NDArray[Any], train: NDArray[Any], test: NDArray[Any]
) -> NDArray[np.intp]:
    from sklearn.linear_model import LogisticRegression

    # A rotation changes nothing for an L2 penalty, and leaves as many columns as scans.
    columns = z if z.shape[1] <= len(train) else _coordinates(products, train)
    regression = LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced")
    return regression.fit(columns[train], sites[train]).predict(columns[test])


def _coordinates(products: _Array, train: NDArray[Any]) -> _Array:
    """All scans on the principal axes of the training scans, from inner products.

    With the products of the training scans U S^2 U', the scores of any scan are its products with
    them times U / S.

    Parameters
    ----------
    products : (N, N) float64
        Training scans have mean 0.
    train : (n,) int

    Returns
    -------
    (N, R) float64
        Axes that are more than rounding.
    """
    squares, axes = np.linalg.eigh(products[np.ix_(train, train)])
    there = squares > len(train) * np.finfo(float).eps * squares[-1]
    there[-1] = True  # where all scans are alike: zeros
    lengths = np.sqrt(np.maximum(squares[there], np.finfo(float).tiny))
    return np.asarray(products[:, train] @ (axes[:, there] / lengths))


def _by_gaussian_kernel(
    z: _Array, products: _Array, sites: NDArray[Any], train: NDArray[Any], test: NDArray[Any]
) -> NDArray[np.intp]:
    from sklearn.svm import SVC

    squares = np.diag(products)
    # One over the sum of the features' variances, which scikit-learn calls "scale".
    total = float(squares[train].mean())
    width = 1 / total if total else 1.0
    kernel = np.exp(-width * (squares[:, None] + squares[train] - 2 * products[:, train]))
    machine = SVC(C=10.0, kernel="precomputed", class_weight="balanced")
    return machine.fit(kernel[train], sites[train]).predict(kernel[test])
