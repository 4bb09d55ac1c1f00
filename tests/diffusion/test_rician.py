"""Means of magnitudes and amplitudes, against simulated noise and each other."""

import numpy as np
import pytest

from bids_harmony.diffusion.rician import rician_amplitude, rician_mean


def test_rician_amplitudes_undo_the_mean_of_magnitudes():
    rng = np.random.default_rng(3)
    for amplitude in (0.5, 1.0, 3.0, 20.0):
        real, imaginary = rng.standard_normal((2, 400_000))
        mean = np.hypot(amplitude + real, imaginary).mean()
        assert rician_amplitude(np.array([mean]), 1.0)[0] == pytest.approx(amplitude, abs=0.02)
    assert rician_amplitude(np.array([0.3]), 1.0)[0] == 0
    assert rician_amplitude(np.array([0.3, -1]), 0.0).tolist() == [0.3, 0]


def test_means_of_magnitudes_and_amplitudes_undo_each_other():
    amplitudes = np.array([0.0, 0.4, 2.0, 11.9, 12.1, 300.0])
    means = rician_mean(amplitudes, 2.0)
    assert means[0] == pytest.approx(2 * np.sqrt(np.pi / 2)) and (np.diff(means) > 0).all()
    assert np.allclose(rician_amplitude(means, 2.0), amplitudes, atol=0.01)
    assert np.array_equal(rician_mean(amplitudes, 0.0), amplitudes)
