"""Covariates that two sites share, and how far apart the sites are in them."""

from __future__ import annotations

import numpy as np

from bids_harmony.sites.random_effects import mean_per_person
from bids_harmony.sites.scan_measures import ScanMeasures

__all__ = ["separation", "shared_covariates"]

Array = np.ndarray


def shared_covariates(
    source: ScanMeasures, own: tuple[str, ...], target: ScanMeasures, other: tuple[str, ...]
) -> tuple[tuple[str, ...], Array, Array]:
    """Covariates that are known of everybody at both sites and vary, in units of their spread.

    Parameters
    ----------
    source, target : ScanMeasures
    own, other : tuple of str
        People of either site.

    Returns
    -------
    names : tuple of str
    source, target : (N, len(names)) float64
        Of each person, less the mean of all.
    """
    names, columns = [], []
    for name in sorted(set(source.covariates) & set(target.covariates)):
        first = mean_per_person(np.asarray(source.covariates[name])[:, None], source.people)[0]
        second = mean_per_person(np.asarray(target.covariates[name])[:, None], target.people)[0]
        column = np.concatenate([first[:, 0], second[:, 0]])
        spread = float(column.std()) if np.isfinite(column).all() else 0.0
        if spread > 0:
            names.append(name)
            columns.append((column - column.mean()) / spread)
    table = np.stack(columns, axis=1) if columns else np.zeros((len(own) + len(other), 0))
    return tuple(names), table[: len(own)], table[len(own) :]


def separation(source: Array, target: Array) -> Array:
    """Difference of means in pooled standard deviations within sites.

    Parameters
    ----------
    source, target : (N, covariates) float64

    Returns
    -------
    (covariates,) float64
        Infinite where nothing varies within the sites.
    """
    degrees = max(len(source) + len(target) - 2, 1)
    squares = sum(np.square(part - part.mean(axis=0)).sum(axis=0) for part in (source, target))
    within = np.sqrt(squares / degrees)
    apart = np.abs(target.mean(axis=0) - source.mean(axis=0))
    return np.divide(apart, within, out=np.full_like(apart, np.inf), where=within > 1e-9)
