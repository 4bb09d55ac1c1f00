"""Closed forms: identities, monotony, and that each removes what it is for."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.legendre import FIELD_TERMS, log_field
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_t1w
from bids_harmony.imaging.smoothing import masked_smooth
from bids_harmony.methods.closed_form import low_order_fit, ratio_field, relative_map
from bids_harmony.methods.site_forms import closed_form
from bids_harmony.phantom.image_chain import bias_field


def rmse(a, b, mask):
    return float(np.sqrt(np.square((a - b)[mask]).mean()))


def test_landmarks_of_a_volume_to_themselves_are_the_identity(rng):
    data = rng.random((8, 8, 8)).astype(np.float32)
    own = landmarks(data, np.ones(data.shape, bool))
    assert np.array_equal(landmark_map(data, own, own), data)


def test_landmark_map_is_monotone_and_never_negative(rng):
    source, target = np.sort(rng.random(11)), np.sort(rng.random(11)) * 3
    x = np.linspace(-1, 2, 500)
    mapped = landmark_map(x, source, target)
    assert (np.diff(mapped) >= 0).all() and mapped.min() >= 0
    inside = np.interp(source[1:-1], x, mapped)
    assert np.allclose(inside, target[1:-1], atol=0.02)


def test_landmark_map_reaches_the_target_percentiles(rng):
    data = rng.gamma(2, 0.2, (20, 20, 20)).astype(np.float32)
    mask = np.ones(data.shape, bool)
    goal = landmarks(rng.normal(0.6, 0.1, (20, 20, 20)), mask)
    assert np.allclose(landmarks(landmark_map(data, landmarks(data, mask), goal), mask), goal,
                       atol=1e-4)  # fmt: skip


@pytest.mark.parametrize("sigma", [1.5, 6.0])
def test_masked_smoothing_keeps_constants_and_agrees_with_the_plain_form(rng, sigma):
    mask = np.zeros((40, 44, 36), bool)
    mask[6:-6, 6:-6, 6:-6] = True
    constant = np.where(mask, np.float32(2.5), 0)
    assert np.allclose(masked_smooth(constant, mask, sigma)[mask], 2.5, atol=1e-3)
    data = gaussian_filter(rng.random(mask.shape), 4).astype(np.float32) * mask
    plain = gaussian_filter(data, sigma) / np.maximum(gaussian_filter(mask * 1.0, sigma), 1e-3)
    spread = plain[mask].std()
    assert np.abs(masked_smooth(data, mask, sigma) - plain)[mask].max() < 0.25 * spread


def test_ratio_field_finds_a_smooth_gain():
    mask = np.ones((30, 30, 30), bool)
    gain = np.exp(0.1 * bias_field(mask.shape, mask, [2]))
    field = ratio_field(gain, np.ones_like(gain), mask, voxel_mm=5.0)
    core = (slice(6, -6),) * 3
    assert np.corrcoef(field[core].ravel(), gain[core].ravel())[0, 1] > 0.98


def test_equal_sites_map_to_themselves_exactly(world):
    profile = world.profiles["GE"]
    ends, field = relative_map(
        profile.landmarks,
        profile.mean_image,
        profile.landmarks,
        profile.mean_image,
        profile.mask,
        5.0,
    )
    assert np.array_equal(ends, profile.landmarks) and (field == 1).all()
    scan = world.scan("GE")
    assert closed_form(scan.data, scan.mask, profile, profile, 5.0) is scan.data


def test_low_order_fit_finds_the_field_of_a_scan(world):
    profile, mask = world.profiles["COI"], world.person.mask
    truth = np.exp(0.15 * bias_field(mask.shape, mask, [8]))
    clean = world.twin("COI")
    found = low_order_fit(clean * truth, profile.mean_image, mask & profile.mask)
    plain = low_order_fit(clean, profile.mean_image, mask & profile.mask)
    both = mask & profile.mask
    assert np.corrcoef(np.log(found / plain)[both], np.log(truth)[both])[0, 1] > 0.98


def test_low_order_fit_leaves_a_scan_without_brain_alone():
    empty = np.zeros((12, 12, 12), np.float32)
    assert (low_order_fit(empty, empty, empty > 0) == 1).all()


def test_closed_form_beats_the_raw_scan_by_far(world):
    scan, twin = world.scan("GE"), world.twin("COI")
    result = closed_form(scan.data, scan.mask, world.profiles["GE"], world.profiles["COI"], 5.0)
    assert rmse(result, twin, scan.mask) < 0.75 * rmse(scan.data, twin, scan.mask)
    assert not result[~scan.mask].any()


def test_a_lesion_is_no_field():
    """Plain least squares would be 0.09 off on average, and 0.37 in the lesion."""
    grid = reference_grid(4.0)
    mask = reference_mask(grid)
    site = np.where(mask, np.maximum(reference_t1w(grid), 0.1), 0).astype(np.float32)
    coefficients = np.zeros(FIELD_TERMS)
    coefficients[[1, 4, 10]] = 0.1, -0.08, 0.05
    field = np.exp(log_field(coefficients, site.shape))
    place = np.indices(mask.shape) - np.reshape(mask.shape, (3, 1, 1, 1)) // 2
    place[0] -= 8
    lesion = mask & (np.square(place).sum(axis=0) < 36)
    scan = np.where(lesion, 0.2 * site * field, site * field).astype(np.float32)
    error = np.abs(np.log(low_order_fit(scan, site, mask) / field))[mask]
    assert error.mean() < 0.005 and error.max() < 0.03
