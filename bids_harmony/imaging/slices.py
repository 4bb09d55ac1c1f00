"""2.5-D slicing: stacks of three adjacent axial slices, and the volume put together again.

Axial slices run along the last axis of the RAS+ reference grid (method of the IHF-Harmony paper,
arXiv 2602.21536: three neighbouring slices as channels).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["cut_stack", "reassemble"]


def cut_stack(volume: np.ndarray, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """Cut slices with their two neighbours as channels.

    Parameters
    ----------
    volume : ndarray (X, Y, Z)
    indices : sequence of int, optional
        Slices k wanted as centre; all by default.

    Returns
    -------
    ndarray (n, 3, X, Y)
        Channels are slices k-1, k, k+1; the first and last slice are their own missing neighbour.
        Same dtype as `volume`.
    """
    depth = volume.shape[2]
    centre = np.arange(depth) if indices is None else np.asarray(indices, dtype=int)
    if centre.size and (centre.min() < 0 or centre.max() >= depth):
        raise IndexError(f"slices must lie in 0..{depth - 1}; got {centre.min()}..{centre.max()}")
    neighbours = np.clip(centre[:, None] + np.array([-1, 0, 1]), 0, depth - 1)
    return np.ascontiguousarray(np.moveaxis(volume[:, :, neighbours], (2, 3), (0, 1)))


def reassemble(predictions: np.ndarray) -> np.ndarray:
    """Put a volume together from the predictions of all its slices.

    A slice is the mean of its three predictions; at either end it has two, as a repeated neighbour
    is no prediction.

    Parameters
    ----------
    predictions : ndarray (Z, 3, X, Y)
        One stack per slice, in order, channels as in `cut_stack`.

    Returns
    -------
    ndarray (X, Y, Z)
        Exactly the volume that was cut when `predictions` is what `cut_stack` gave.
    """
    centre = predictions[:, 1]
    # The mean as centre + mean of differences: exact in floating point where all three agree.
    deviation = np.zeros_like(centre)
    deviation[1:] += predictions[:-1, 2] - centre[1:]
    deviation[:-1] += predictions[1:, 0] - centre[:-1]
    count = np.full(len(centre), 3, dtype=centre.dtype)
    count[0] -= 1
    count[-1] -= 1
    mean = centre + deviation / count[:, None, None]
    return np.ascontiguousarray(np.moveaxis(mean, 0, -1))
