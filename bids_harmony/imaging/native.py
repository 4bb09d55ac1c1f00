"""Return of a harmonized brain to the scan's own grid: the change travels, never the anatomy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.resampling import resample_from_grid
from bids_harmony.imaging.smoothing import mean_around
from bids_harmony.imaging.volume import Volume
from bids_harmony.resources import at_once

__all__ = ["NativeResult", "intensity_map", "return_to_native"]

EXTENSION_MM = 2.0
"""Standard deviation of the Gaussian that carries the change over the edge of the mask."""
BLEND_MM = 4.0
"""Width of the border over which the brain's own change gives way to the head's intensity map."""
N_KNOTS = 64
"""Quantile bins of the intensity map; each holds a median."""
END_KNOTS = 8
"""Knots at the bright end whose common slope continues the map: single ones are noisy."""
SLOPE_LIMITS = (0.25, 4.0)
"""Slopes with which the map may be continued beyond the brain's intensities (fat, vessels)."""


@dataclass(frozen=True, eq=False)
class NativeResult:
    """A harmonized scan on its own grid, in RAS+ voxel order.

    Attributes
    ----------
    data : ndarray (X, Y, Z) float32
        Harmonized intensities.
    change : ndarray (X, Y, Z) float32
        `data` minus the scan, in its units.
    map_knots : ndarray (2, K) float64
        Monotone intensity map that the head outside the brain received: input, output. Linear
        between knots, and beyond them with the slope of the outermost two.
    """

    data: np.ndarray
    change: np.ndarray
    map_knots: np.ndarray


def return_to_native(
    volume: Volume,
    mask: BrainMask,
    prepared: Prepared,
    harmonized_ref: np.ndarray,
    *,
    skull_strip: bool = False,
) -> NativeResult:
    """Add the change found on the reference grid to the untouched native voxels.

    Parameters
    ----------
    volume : Volume
        The scan.
    mask : BrainMask
        Brain, on the grid of `volume`.
    prepared : Prepared
        The scan on the reference grid, as the network saw it.
    harmonized_ref : ndarray (Xr, Yr, Zr)
        Harmonized brain on the reference grid, in units of `prepared.scale`.
    skull_strip : bool
        Zero outside the brain instead of a harmonized head.

    Returns
    -------
    NativeResult
        Where `harmonized_ref` equals `prepared.data` everywhere, the data are the scan's, bit for
        bit, head included. No intensity becomes negative that
        was not. Exact zeros outside the brain, and the background of a skull-stripped image, stay.

    Notes
    -----
    Outside the brain no network has looked. The monotone map x -> x + change that best explains
    the change inside (medians in quantile bins, made isotonic, through the origin) is applied
    there, and blended with the brain's own change, extended outward, over 4 mm.
    """
    harmonized_ref = np.asarray(harmonized_ref, dtype=np.float32)
    if harmonized_ref.shape != prepared.data.shape:
        raise ValueError(
            f"harmonized_ref must have the shape of the reference grid, {prepared.data.shape}; "
            f"got {harmonized_ref.shape}"
        )
    if not np.isfinite(harmonized_ref).all():
        raise ValueError("harmonized_ref holds values that are not finite")
    change_ref = np.where(prepared.mask, harmonized_ref - prepared.data, np.float32(0))
    scan, inside = volume.data, mask.data

    if not change_ref.any():
        data = np.where(inside, scan, np.float32(0)) if skull_strip else scan.copy()
        ends = np.array([scan.min(), scan.max()], dtype=np.float64)
        return NativeResult(data, data - scan, np.stack([ends, ends]))

    shape = (scan.shape[0], scan.shape[1], scan.shape[2])
    brain_alone = skull_strip or mask.kind == "skull-stripped"
    change, share = at_once(
        lambda: resample_from_grid(
            _extended(change_ref, prepared.mask, prepared.grid.voxel_mm),
            prepared.grid, prepared.world, volume.affine, shape,
        ),
        lambda: None if brain_alone else _share_of_map(inside, volume.voxel_mm),
    )  # fmt: skip
    change *= np.float32(prepared.scale)
    data = scan + change
    knots = intensity_map(scan[inside], data[inside])
    if skull_strip:
        data[~inside] = 0
    elif brain_alone:
        data[~inside] = scan[~inside]
    else:
        _finish_head(data, scan, ~inside, share, knots)
    floor = np.minimum(scan, 0)
    np.maximum(data, floor, out=data)
    return NativeResult(data, data - scan, knots)


def _extended(change: np.ndarray, inside: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Carry the change over the edge of the mask by normalized convolution.

    Without it, interpolation at the edge would mix the brain's change with the zeros around it.
    Inside, the change is left as it is; about 6 mm outside it ends.
    """
    sigma = EXTENSION_MM / voxel_mm
    outside = mean_around(change * inside, inside, sigma, least=1e-4, mode="constant")
    return np.where(inside, change, outside)


def _finish_head(
    data: np.ndarray, scan: np.ndarray, outside: np.ndarray, share: np.ndarray, knots: np.ndarray
) -> None:
    """Blend the intensity map into `data` outside the brain, in place."""
    mapped = _apply_map(scan[outside], knots)
    share = share[outside]
    blended = data[outside] * (1 - share) + mapped * share
    # Defaced regions and padding hold exact zeros: nothing was measured there.
    data[outside] = np.where(scan[outside] == 0, np.float32(0), blended)


def _share_of_map(inside: np.ndarray, voxel_mm: tuple[float, float, float]) -> np.ndarray:
    """0 at the brain's surface, 1 at `BLEND_MM` and beyond; float32."""
    share = np.ones(inside.shape, dtype=np.float32)
    box = []
    for axis, edge in enumerate(voxel_mm):
        others = tuple(k for k in range(3) if k != axis)
        first, last = np.flatnonzero(inside.any(axis=others))[[0, -1]]
        reach = int(np.ceil(BLEND_MM / edge)) + 1
        box.append(slice(max(0, first - reach), last + reach + 1))
    near = tuple(box)
    distance = ndimage.distance_transform_edt(~inside[near], sampling=voxel_mm)
    share[near] = np.minimum(distance / BLEND_MM, 1)
    return share


def intensity_map(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Monotone map that best explains a change of intensities.

    Parameters
    ----------
    before, after : ndarray (N,)
        Intensities of the same voxels.

    Returns
    -------
    ndarray (2, K) float64
        Knots (input, output), increasing: medians in quantile bins made isotonic, and the
        origin, for no signal stays no signal. The outermost two at either end carry the slope,
        within 0.25 to 4, with which the map continues.
    """
    order = np.argsort(before, kind="stable")
    bins = np.array_split(order, min(N_KNOTS, max(1, len(order) // 16)))
    x = np.array([np.median(before[b]) for b in bins], dtype=np.float64)
    y = np.array([np.median(after[b]) for b in bins], dtype=np.float64)
    x, first = np.unique(x, return_index=True)
    y = optimize.isotonic_regression(y[first]).x
    positive = x > 0
    x, y = x[positive], np.maximum(y[positive], 0)
    if x.size == 0:
        return np.array([[0.0, 1.0], [0.0, 1.0]])
    tail = slice(-min(END_KNOTS, x.size), None)
    rise = (y[tail][-1] - y[tail][0]) / (x[tail][-1] - x[tail][0]) if x.size > 1 else y[0] / x[0]
    rise = float(np.clip(rise, *SLOPE_LIMITS))
    beyond = 2 * x[-1]
    start = float(np.clip(y[0] / x[0], *SLOPE_LIMITS))
    return np.array(
        [[-x[0], 0.0, *x, beyond], [-start * x[0], 0.0, *y, y[-1] + rise * (beyond - x[-1])]]
    )


def _apply_map(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Piecewise linear, continued at both ends; float32."""
    x, y = knots
    mapped = np.interp(values, x, y)
    low, high = values < x[0], values > x[-1]
    mapped[low] = y[0] + (values[low] - x[0]) * (y[1] - y[0]) / (x[1] - x[0])
    mapped[high] = y[-1] + (values[high] - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])
    return mapped.astype(np.float32)
