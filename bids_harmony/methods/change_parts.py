"""The closed form of one scan as numbers that others can read: fields, and curves of tissues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_harmony.imaging.legendre import log_field
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.tissues import segment_coarsely
from bids_harmony.methods.tissue_form import TissueMap

__all__ = ["LEVELS", "ChangeParts", "CurvePoint", "change_parts"]

Array = np.ndarray

#: Of each tissue. The whole brain has points at even steps of intensity from 0 to its brightest
#: voxel, so that lines between them are m.
LEVELS, _STEPS = np.linspace(0, 1, 101), 200


@dataclass(frozen=True)
class CurvePoint:
    """Where an intensity of a tissue goes, between the fields.

    Attributes
    ----------
    tissue : str
        ``gray matter``, ``white matter``, ``CSF``, or ``brain`` for all of it.
    quantile : float
        0 to 1, of the tissue's intensities in the scan.
    source, target : float
        In the scan's unit, without the field that goes out, and before the one that comes in.
    standard_error : float
        Of `target`, by what is known of both sites, relative to white matter; NaN where that
        leaves it open, and for the brain.
    """

    tissue: str
    quantile: float
    source: float
    target: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class ChangeParts:
    """What the closed form did to a scan x: x + share (field_in m(x / field_out) - x).

    Attributes
    ----------
    log_field_out, log_field_in : (X, Y, Z) float32
        Logarithms of the fields, on the reference grid.
    curves : tuple of CurvePoint
        Points of m.
    share : float
    blur : (3,) float64
        Variance added to the blur along each axis after m, mm^2.
    """

    log_field_out: Array
    log_field_in: Array
    curves: tuple[CurvePoint, ...]
    share: float
    blur: Array


def change_parts(prepared: Prepared, by: TissueMap, *, left: bool = False) -> ChangeParts:
    """Write out what a map does to a scan.

    Parameters
    ----------
    prepared : Prepared
        The scan on the reference grid.
    by : TissueMap
    left : bool
        The scan was left as it is after all: nothing of the map was applied.
    """
    data, mask, shape = prepared.data, prepared.mask, prepared.data.shape
    fields = log_field(by.leaves, shape), log_field(by.enters, shape)
    flat = data * np.exp(-fields[0])
    seen = segment_coarsely(data, mask, prepared.grid.voxel_mm)
    inside = mask[seen.at]
    coarse, tissues = flat[seen.at][inside], seen.tissues.probabilities[:, inside]
    grey, white, csf = by.log_errors
    curves = [
        *_points("gray matter", LEVELS, _quantiles(coarse, tissues[0]), by, grey, prepared.scale),
        *_points(
            "white matter", LEVELS, _quantiles(coarse, tissues[1]), by, white, prepared.scale
        ),
        *_points("CSF", LEVELS, _quantiles(coarse, tissues[2]), by, csf, prepared.scale),
        *_points("brain", *_evenly(flat[mask]), by, np.nan, prepared.scale),
    ]
    return ChangeParts(*fields, tuple(curves), 0.0 if left else by.share, by.blur)


def _points(
    tissue: str, levels: Array, source: Array, by: TissueMap, error: float, scale: float
) -> list[CurvePoint]:
    target = by.curve(source.astype(np.float32))
    known = error if np.isfinite(error) else np.nan
    return [
        CurvePoint(tissue, float(q), float(x) * scale, float(y) * scale, float(y) * scale * known)
        for q, x, y in zip(levels, source, target, strict=True)
    ]


def _evenly(values: Array) -> tuple[Array, Array]:
    """Shares of voxels that are no brighter, and intensities at even steps."""
    ordered = np.sort(values)
    source = np.linspace(min(float(ordered[0]), 0.0), float(ordered[-1]), _STEPS + 1)
    return np.searchsorted(ordered, source, side="right") / len(ordered), source


def _quantiles(values: Array, weights: Array) -> Array:
    """Quantiles of values of which each counts by its weight."""
    order = np.argsort(values, kind="stable")
    level = np.cumsum(weights[order], dtype=np.float64)
    level = (level - weights[order] / 2) / level[-1]
    return np.asarray(np.interp(LEVELS, level, values[order].astype(np.float64)))
