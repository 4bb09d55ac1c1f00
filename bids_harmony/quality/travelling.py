"""Scores of a harmonized scan against its twin: the same person as the target would see them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bids_harmony.quality.image_metrics import gain_free_rmse, ms_ssim, psnr, rmse, ssim

__all__ = ["TWIN_FIGURES", "score_against_twin"]

#: Figures of a score; units: fraction of the image's scale, dB, or none.
TWIN_FIGURES = ("rmse", "rmse_gain_free", "psnr_db", "ssim", "ms_ssim")
_PERCENTILE = 99.5


def score_against_twin(image: NDArray, twin: NDArray, mask: NDArray[np.bool_]) -> dict[str, float]:
    """Compare inside the brain, each image scaled by its own robust maximum.

    Stored units are arbitrary, so both images are divided by the 99.5th percentile of the brain;
    the data range is then 1.

    Parameters
    ----------
    image, twin : (X, Y, Z) float
        On one grid, each in its own stored units.
    mask : (X, Y, Z) bool

    Returns
    -------
    dict
        `TWIN_FIGURES`. ``rmse_gain_free`` is the RMSE after the best gain of the image (least
        squares), so that noise in the percentile does not count.
    """
    ours, goal = (np.where(mask, _scaled(data, mask), np.float32(0)) for data in (image, twin))
    return {
        "rmse": rmse(goal, ours, mask=mask),
        "rmse_gain_free": gain_free_rmse(goal, ours, mask=mask),
        "psnr_db": psnr(goal, ours, data_range=1.0, mask=mask),
        "ssim": ssim(goal, ours, data_range=1.0, mask=mask),
        "ms_ssim": ms_ssim(goal, ours, data_range=1.0, mask=mask),
    }


def _scaled(data: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return (data / np.percentile(data[mask], _PERCENTILE)).astype(np.float32)
