"""The quality numbers of one harmonized diffusion series, and what its figure shows."""

from __future__ import annotations

import numpy as np

from bids_harmony.diffusion.gradients import Shell
from bids_harmony.diffusion.series import Series

__all__ = ["SERIES_DESCRIPTIONS", "mean_attenuation", "series_row"]

Array = np.ndarray

SERIES_DESCRIPTIONS: dict[str, dict[str, str]] = {
    "b0_rmse_brain": {
        "Description": "Root mean squared change of the mean b=0 image inside the brain mask",
        "Units": "1 (fraction of the mean b=0's robust intensity scale)",
    },
    "b_scale": {
        "Description": "Strength of the gradients relative to the target site's, as seen in free"
        " water",
        "Units": "1",
    },
    "noise_share": {
        "Description": "Noise of the source series",
        "Units": "1 (fraction of the mean b=0 in white matter)",
    },
    "target_noise_share": {
        "Description": "Median noise of the target site's series",
        "Units": "1 (fraction of the mean b=0 in white matter)",
    },
    "added_blur": {
        "Description": "Variance of the blur that made the series as smooth as the target site's,"
        " mean over the axes; negative where orders of harmonics got the energy of a sharper site",
        "Units": "mm^2",
    },
    "lowered_share": {
        "Description": "Share of signals inside the brain mask that were brought down to the mean"
        " b=0, which they would have exceeded",
        "Units": "1",
    },
}


def mean_attenuation(series: Series, shell: Shell, mean: Array) -> Array:
    """Mean of S/S0 over the volumes of a shell.

    Parameters
    ----------
    series : Series
    shell : Shell
        Of its gradients.
    mean : (X, Y, Z) float32
        Its mean b=0, in the voxel order of the series.

    Returns
    -------
    (X, Y, Z) float32
        0 where the mean b=0 is.
    """
    total = np.zeros(mean.shape, np.float64)
    for volume in shell.volumes:
        total += series.signal(np.s_[..., int(volume)])
    total /= len(shell.volumes)
    return np.divide(total, mean, out=np.zeros_like(total), where=mean > 0).astype(np.float32)


def series_row(before: Array, after: Array, mask: Array, scale: float) -> dict[str, float]:
    """Measure what happened to the mean b=0 of a series.

    Parameters
    ----------
    before, after : (X, Y, Z) float32
    mask : (X, Y, Z) bool
        Brain.
    scale : float
        Robust intensity scale of `before`.

    Returns
    -------
    dict
        Keys of `SERIES_DESCRIPTIONS`.
    """
    change = (after[mask].astype(np.float64) - before[mask]) / scale
    return {"b0_rmse_brain": float(np.sqrt(np.mean(np.square(change))))}
