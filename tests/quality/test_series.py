"""Numbers of a harmonized series against closed forms."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import Series
from bids_harmony.quality.series import SERIES_DESCRIPTIONS, mean_attenuation, series_row


def test_attenuation_is_the_mean_of_the_shell_over_the_mean_b0():
    raw = np.zeros((2, 1, 1, 4), np.int16)
    raw[0, 0, 0] = [100, 20, 40, 7]
    image = nib.Nifti1Image(raw, np.eye(4))
    series = Series(raw, 2.0, 1.0, image, Path("series.nii"))
    gradients = Gradients(np.array([0, 1000, 1000, 3000.0]), np.eye(4, 3))
    mean = np.array([201.0, 0.0], np.float32).reshape(2, 1, 1)
    found = mean_attenuation(series, gradients.shells[0], mean)
    assert found.dtype == np.float32
    # Of slope and intercept: (41 + 81) / 2 / 201; nothing where there is no b=0 signal.
    np.testing.assert_allclose(found.ravel(), [61 / 201, 0], rtol=1e-6)


def test_change_is_measured_in_the_brain_in_units_of_the_scale():
    before = np.full((2, 2, 2), 100, np.float32)
    after, mask = before.copy(), np.zeros(before.shape, bool)
    mask[0] = True
    after[0, 0] = 120
    after[1] = 1e6
    row = series_row(before, after, mask, 50.0)
    assert row.keys() <= SERIES_DESCRIPTIONS.keys()
    np.testing.assert_allclose(row["b0_rmse_brain"], 0.4 / np.sqrt(2))
