"""New voxels of a series: stored in its type, within bounds, what was not measured as it was."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bids_harmony.diffusion.series import Series
from bids_harmony.io.stored_voxels import stored_voxels
from bids_harmony.methods.shell_models import LEAST_LEFT

__all__ = ["B0_RATIO_LIMITS", "SeriesOutput"]

Array = np.ndarray

B0_RATIO_LIMITS = (0.2, 5.0)
"""The mean b=0 changes by at most these factors; dark voxels would take any."""


@dataclass(frozen=True, eq=False)
class SeriesOutput:
    """The new voxels, filled volume by volume."""

    series: Series
    raw: Array
    before: Array
    mean: Array
    n_clipped: list[int] = field(default_factory=list)

    def write(self, index: int, signal: Array, *, at_most_mean: bool = False) -> int:
        """Store one volume; give the number of signals that were brought down to the mean b=0."""
        old = self.series.signal(np.s_[..., index])
        # What was measured stays so: fits leave out signals of zero.
        least = np.maximum(_least_positive(self.series), LEAST_LEFT * B0_RATIO_LIMITS[0] * old)
        signal = np.maximum(signal, np.minimum(old, least))
        lowered = 0
        if at_most_mean:
            over = (signal > self.mean) & (old <= self.before)
            lowered = int(np.count_nonzero(over))
            signal = np.where(over, self.mean, signal)
        changed = signal != old
        nothing = self.series.nothing(np.s_[..., index])
        if nothing is not None:
            changed &= ~nothing
        stored, n_clipped = stored_voxels(
            signal[changed], self.raw.dtype, self.series.slope, self.series.intercept
        )
        self.raw[..., index][changed] = stored
        self.n_clipped.append(n_clipped)
        return lowered


def _least_positive(series: Series) -> float:
    """The smallest signal above zero that an integer type can hold; 0 of other types."""
    if series.raw.dtype.kind == "f":
        return 0.0
    nothing = -series.intercept / series.slope
    stored = np.floor(nothing) + 1 if series.slope > 0 else np.ceil(nothing) - 1
    return float(stored * series.slope + series.intercept)
