"""Landmarks and the map between two sets of them, by numbers on paper."""

import numpy as np
import pytest

from bids_harmony.imaging.landmarks import LANDMARK_PERCENTILES, landmark_map, landmarks


def test_landmarks_are_percentiles_of_the_foreground_alone():
    data = np.full((2, 101, 10), 1e4)
    data[0] = np.linspace(0, 100, 1010).reshape(101, 10)
    found = landmarks(data, data <= 100)
    assert found.dtype == np.float64
    assert found == pytest.approx(LANDMARK_PERCENTILES, abs=1e-6)


def test_equal_landmarks_are_told_apart_in_order():
    found = landmarks(np.full((4, 4, 4), 0.3, np.float32), np.ones((4, 4, 4), bool))
    assert np.diff(found) == pytest.approx(np.full(10, 1e-9), rel=1e-3)
    assert found[0] == np.float64(np.float32(0.3))


@pytest.mark.parametrize(
    ("source", "target", "data", "expected"),
    [
        ((1, 2, 4), (10, 30, 34), (1, 1.5, 2, 3, 4), (10, 20, 30, 32, 34)),
        # Beyond the ends their slopes go on, here 1.5 and 0.5.
        ((2, 4, 8), (3, 6, 8), (1, 10, 0), (1.5, 9, 0)),
        # A slope of 10 goes on with 2, a slope of 0.1 with 0.25.
        ((2, 3, 13), (20, 30, 31), (1, 17), (18, 32)),
        ((2, 12, 13), (5, 6, 16), (0, 14), (4.5, 18)),
        # Nothing is negative.
        ((2, 3, 4), (1, 3, 5), (1, 0.5, 2), (0, 0, 1)),
    ],
)
def test_the_map_is_linear_between_landmarks_and_tame_beyond(source, target, data, expected):
    data = np.array(data, np.float32)
    mapped = landmark_map(data, np.array(source, float), np.array(target, float))
    assert mapped.dtype == np.float32
    assert mapped == pytest.approx(np.array(expected, float))


def test_equal_landmarks_on_both_sides_change_no_bit(rng):
    points = np.sort(rng.random(11))
    data = rng.normal(0.5, 1, 500).astype(np.float32)
    assert landmark_map(data, points, points.copy()).tobytes() == data.tobytes()
