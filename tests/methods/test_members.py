"""Changes of several networks become one: curves by what they agree on, all else on average."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.methods.members import joined_change

SHAPE = (20, 20, 10)


@pytest.fixture
def image(rng):
    return rng.random(SHAPE).astype(np.float32)


@pytest.fixture
def mask():
    inside = np.ones(SHAPE, bool)
    inside[:4] = False
    return inside


def stretch(image, mask, slope):
    """A change that is a line of intensity, 0 on average over the brain."""
    return (slope * (image - image[mask].mean())).astype(np.float32)


@pytest.mark.parametrize(
    ("slopes", "kept"),
    [
        ((0.3,), 1.0),
        ((0.3, 0.3), 1.0),
        ((0.3, 0.1), 0.75),  # the mean is 0.2, and off by 0.1
        ((0.3, -0.1), 0.0),  # off by 0.2, more than it is
        ((0.3, 0.3, 0.0), 0.75),  # three tell a mean of 0.2 with a standard error of 0.1
        ((0.0, 0.0), 1.0),
    ],
    ids=str,
)
def test_curves_count_by_what_they_agree_on(image, mask, slopes, kept):
    made = [stretch(image, mask, slope) for slope in slopes]
    for number, change in enumerate(made):
        change[~mask] = 7.0 * number  # nobody's brain, where they may be as far apart as they like
    found = joined_change(made, image, mask)
    expected = kept * np.mean(made, axis=0)
    # The curve's ends lie in the middle of the first and the last tenth.
    middle = mask & (image > 0.06) & (image < 0.94)
    np.testing.assert_allclose(found[middle], expected[middle], atol=3e-3)
    np.testing.assert_allclose(found[~mask], np.mean(made, axis=0)[~mask], rtol=1e-6)
    assert found.dtype == np.float32


def test_what_is_no_curve_is_the_mean_however_far_apart(image, mask):
    steps = np.indices(SHAPE).sum(axis=0) % 2 - 0.5
    made = [(size * steps).astype(np.float32) for size in (0.3, -0.1)]
    found = joined_change(made, image, mask)
    np.testing.assert_allclose(found, np.mean(made, axis=0), atol=0.01)


def test_the_brightest_voxels_are_not_stretched_by_a_curve_that_is_unsure(image, mask):
    image[5, 5, 5] = 3.0
    made = [stretch(image, mask, slope) for slope in (0.3, -0.2)]
    found = joined_change(made, image, mask)
    assert abs(np.mean(made, axis=0)[5, 5, 5]) > 0.1
    # What is beyond the curve's last point keeps what the networks say beyond it.
    beyond = np.mean(made, axis=0)[5, 5, 5] - 0.05 * 0.45
    assert found[5, 5, 5] == pytest.approx(beyond, abs=5e-3)


def test_a_scan_of_one_intensity_has_a_curve_of_one_point(mask):
    flat = np.ones(SHAPE, np.float32)
    made = [np.full(SHAPE, size, np.float32) for size in (0.3, 0.1)]
    found = joined_change(made, flat, mask)
    np.testing.assert_allclose(found[mask], 0.75 * 0.2, rtol=1e-6)


def test_nothing_is_told_of_an_empty_mask(image):
    made = [np.full(SHAPE, size, np.float32) for size in (0.1, 0.3)]
    found = joined_change(made, image, np.zeros(SHAPE, bool))
    np.testing.assert_allclose(found, 0.2, rtol=1e-6)
