"""From the reference grid back to the form in which a scan came."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from bids_harmony.api.ready import Ready
from bids_harmony.imaging.native import return_to_native
from bids_harmony.imaging.volume import to_native

__all__ = ["in_scan_space"]

logger = logging.getLogger(__name__)


def in_scan_space(ready: Ready, made: np.ndarray, *, skull_strip: bool) -> Any:
    """Give a harmonized scan the grid, the units and the form of the scan.

    Parameters
    ----------
    ready : Ready
    made : (X, Y, Z) float32
        Harmonized, on the reference grid.
    skull_strip : bool
        Set what is outside the brain to 0.

    Returns
    -------
    nibabel image or ndarray
        As for `harmonizer.Harmonizer.transform`.
    """
    given = ready.given
    if given.volume is None:
        return _slices(ready, made, skull_strip)
    native = return_to_native(
        given.volume, ready.mask, ready.prepared, made, skull_strip=skull_strip
    )
    image, n_clipped = to_native(given.volume, native.data)
    if n_clipped:
        logger.warning(
            "%s: %d voxels did not fit %s and were clipped",
            given.where, n_clipped, image.get_data_dtype(),
        )  # fmt: skip
    return np.asarray(image.dataobj, np.float32) if given.as_array else image


def _slices(ready: Ready, made: np.ndarray, skull_strip: bool) -> np.ndarray:
    """Add the change to slices as they came."""
    slices, heights = ready.given.slices, ready.given.heights
    assert slices is not None
    prepared = ready.prepared
    change = (made - prepared.data)[..., heights] * np.float32(prepared.scale)
    outside = np.float32(0) if skull_strip else slices
    changed = np.maximum(slices + change, np.minimum(slices, 0))
    return np.where(ready.mask.data, changed, outside).astype(np.float32)
