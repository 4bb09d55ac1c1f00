from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.intensity import correct_bias, robust_scale
from bids_harmony.imaging.mask import BrainMask


def test_scale_is_the_percentile_of_the_brain_alone():
    data = np.full((10, 10, 10), 1e6, np.float32)
    data[:5] = np.arange(500).reshape(5, 10, 10)
    mask = np.zeros(data.shape, bool)
    mask[:5] = True
    assert robust_scale(data, mask) == pytest.approx(np.percentile(np.arange(500), 99.5))


def test_no_brain_and_no_signal_are_refused():
    data = np.zeros((4, 4, 4), np.float32)
    with pytest.raises(ImageError, match="empty"):
        robust_scale(data, data > 0)
    with pytest.raises(ImageError, match="no positive signal"):
        robust_scale(data, data == 0)


def test_n4_flattens_a_bias_and_keeps_the_mean(brain_at_2mm):
    from dataclasses import replace

    volume, mask = brain_at_2mm
    height = np.linspace(-1, 1, volume.data.shape[2], dtype=np.float32)
    biased = replace(volume, data=volume.data * np.exp(0.4 * height))
    corrected = correct_bias(biased, BrainMask(mask, "given"))
    ratio = np.log(corrected.data[mask] / volume.data[mask].clip(1))
    assert ratio.std() < 0.5 * np.log(biased.data[mask] / volume.data[mask].clip(1)).std()
    assert corrected.data.dtype == np.float32
    assert corrected.data[mask].mean() == pytest.approx(biased.data[mask].mean(), rel=1e-3)
