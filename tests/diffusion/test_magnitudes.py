"""Means of magnitudes and amplitudes, against simulated noise and each other."""

import numpy as np
import pytest

from bids_harmony.diffusion.magnitudes import MOST_CHANNELS, Noise, channels_of_noise


def magnitudes(amplitude, channels, count=400_000):
    """Root of the sum of squares of complex channels, of which one has the signal."""
    rng = np.random.default_rng(3)
    parts = rng.standard_normal((2 * channels, count))
    parts[0] += amplitude
    return np.sqrt(np.square(parts).sum(axis=0))


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("amplitude", [0.7, 1.5, 3.0, 20.0])
def test_amplitudes_undo_the_mean_of_magnitudes(channels, amplitude):
    mean = magnitudes(amplitude, channels).mean()
    noise = Noise(1.0, channels)
    assert noise.mean(np.array([amplitude]))[0] == pytest.approx(mean, abs=0.01)
    assert noise.amplitude(np.array([mean]))[0] == pytest.approx(amplitude, abs=0.03)


def test_what_lies_below_the_floor_has_no_amplitude():
    assert Noise(1.0).amplitude(np.array([0.3, 1.25]))[0] == 0
    assert Noise(1.0, 4.0).amplitude(np.array([2.7]))[0] == 0
    assert Noise(0.0).amplitude(np.array([0.3, -1])).tolist() == [0.3, 0]


@pytest.mark.parametrize("channels", [1.0, 2.5, 16.0])
def test_means_of_magnitudes_and_amplitudes_undo_each_other(channels):
    amplitudes = np.array([0.0, 0.4, 2.0, 79.9, 80.1, 300.0])
    noise = Noise(2.0, channels)
    means = noise.mean(amplitudes)
    assert (np.diff(means) > 0).all()
    assert np.allclose(noise.amplitude(means), amplitudes, atol=0.01)
    assert np.array_equal(Noise(0.0).mean(amplitudes), amplitudes)


def test_the_floor_of_one_channel_is_that_of_rayleigh():
    assert Noise(2.0).mean(np.zeros(1))[0] == pytest.approx(2 * np.sqrt(np.pi / 2))
    assert Noise(2.0).times(3.0) == Noise(6.0)


@pytest.mark.parametrize("channels", [1, 2, 4, 8])
def test_noise_alone_tells_its_channels(channels):
    seen = 7 * magnitudes(0.0, channels)
    found = channels_of_noise(float(seen.mean()), float(seen.var()))
    assert found == pytest.approx(channels, rel=0.02)


def test_channels_stay_within_what_can_be_told():
    assert channels_of_noise(1.0, 1.0) == 1
    assert channels_of_noise(1.0, 0.0) == MOST_CHANNELS
