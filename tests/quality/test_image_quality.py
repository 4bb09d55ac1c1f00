"""MRIQC's measures against values known by other means."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bids_harmony.exceptions import DataError
from bids_harmony.quality.image_quality import fwhm_voxels, image_quality, smooth_field

SHAPE = (48, 48, 48)


@pytest.fixture(scope="module")
def head():
    """Nested shells in a ball: white matter inside, then grey matter, then CSF."""
    x = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    radius = np.sqrt(np.square(x).sum(axis=0))
    fractions = np.stack(
        [(radius >= 0.6) & (radius < 0.8), radius < 0.6, (radius >= 0.8) & (radius < 0.97)]
    ).astype(np.float32)
    return fractions, fractions.sum(axis=0) > 0, x


def scan(fractions, values, noise=0.0, field=1.0):
    rng = np.random.default_rng(5)
    data = np.tensordot(values, fractions, axes=1) * field
    return (data + noise * rng.standard_normal(SHAPE)).astype(np.float32)


def test_contrast_and_noise_are_those_that_were_put_in(head):
    fractions, mask, _ = head
    measured = image_quality(scan(fractions, (70, 100, 30), noise=4), mask, fractions, 3.0)
    # N4 takes a little of the shells for a field.
    assert measured.log_gm_wm == pytest.approx(np.log(0.7), abs=0.06)
    assert measured.log_csf_wm == pytest.approx(np.log(0.3), abs=0.1)
    assert measured.noise == pytest.approx(0.04, rel=0.1)


def test_no_measure_depends_on_the_gain(head):
    fractions, mask, _ = head
    data = scan(fractions, (70, 100, 30), noise=4)
    one, other = (image_quality(data * g, mask, fractions, 3.0) for g in (1, 500))
    np.testing.assert_allclose(one.values(), other.values(), rtol=2e-3, atol=2e-3)


def test_the_range_of_the_field_is_found_and_its_effect_on_contrast_taken_away(head):
    fractions, mask, x = head
    field = np.exp(0.5 * x[1])
    data = scan(fractions, (70, 100, 30), noise=2, field=field)
    low, middle, high = np.percentile(field[mask], [5, 50, 95])
    measured = image_quality(data, mask, fractions, 3.0)
    assert measured.bias_range == pytest.approx((high - low) / middle, rel=0.15)
    assert measured.log_gm_wm == pytest.approx(np.log(0.7), abs=0.06)
    assert measured.noise < 0.06
    ratio = (smooth_field(data, mask, 3.0) / field)[mask]
    assert ratio.std() / ratio.mean() < 0.08


@pytest.mark.parametrize("sigma", [1.0, 1.6])
def test_smoothness_is_that_of_the_kernel(sigma):
    noise = np.random.default_rng(0).standard_normal((64, 64, 64))
    smooth = gaussian_filter(noise, (sigma, sigma, 2 * sigma))
    widths = fwhm_voxels(smooth, np.ones(smooth.shape, bool))
    np.testing.assert_allclose(widths, 2.3548 * np.array([sigma, sigma, 2 * sigma]), rtol=0.06)


def test_a_tissue_that_is_not_there_is_told(head):
    fractions, mask, _ = head
    without = fractions.copy()
    without[2] = 0
    with pytest.raises(DataError, match="CSF"):
        image_quality(scan(fractions, (70, 100, 30)), mask, without, 3.0)
