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


@pytest.mark.parametrize("left", [0.2, 0.75])
def test_a_lesion_is_no_field(left):
    """Plain least squares would be 0.09 off on average, and 0.37 in a lesion of a fifth."""
    grid = reference_grid(4.0)
    mask = reference_mask(grid)
    site = np.where(mask, np.maximum(reference_t1w(grid), 0.1), 0).astype(np.float32)
    coefficients = np.zeros(FIELD_TERMS)
    coefficients[[1, 4, 10]] = 0.1, -0.08, 0.05
    field = np.exp(log_field(coefficients, site.shape))
    place = np.indices(mask.shape) - np.reshape(mask.shape, (3, 1, 1, 1)) // 2
    place[0] -= 8
    lesion = mask & (np.square(place).sum(axis=0) < 36)
    scan = np.where(lesion, left * site * field, site * field).astype(np.float32)
    error = np.abs(np.log(low_order_fit(scan, site, mask) / field))[mask]
    assert error.mean() < 0.005 and error.max() < 0.03


@pytest.fixture(scope="module")
def two_looks():
    """Mean images of two sites: the target's is the square root of the source's, in a field."""
    grid = reference_grid(5.0)
    mask = reference_mask(grid)
    source = np.where(mask, np.clip(reference_t1w(grid), 0.05, 1), 0).astype(np.float32)
    coefficients = np.zeros(FIELD_TERMS)
    coefficients[[1, 4]] = 0.12, -0.1
    field = np.exp(log_field(coefficients, source.shape))
    return source, (np.sqrt(source) * field).astype(np.float32), field, mask


def test_the_map_and_the_field_between_two_sites_are_told_apart(two_looks):
    source, target, field, mask = two_looks
    ends = landmarks(source, mask), landmarks(target, mask)
    mapped, found = relative_map(ends[0], source, ends[1], target, mask, 5.0)
    assert found.dtype == np.float32 and (found[~mask] == 1).all() and mapped.shape == (11,)
    # A gain is neither's alone: one number divides the field and multiplies the map.
    gain = np.median((found / field)[mask])
    assert gain == pytest.approx(1, abs=0.05)
    assert np.abs(np.log(found / field / gain))[mask].mean() < 0.03
    assert mapped[1:-1] * gain == pytest.approx(np.sqrt(ends[0])[1:-1], rel=0.05)
    made = landmark_map(source, ends[0], mapped) * found
    plain = landmark_map(source, *ends)
    assert rmse(made, target, mask) < 0.4 * rmse(plain, target, mask)


@pytest.mark.parametrize("same", ["landmarks", "images"])
def test_sites_that_share_one_thing_alone_are_two(two_looks, same):
    source, target, _, mask = two_looks
    ends = landmarks(source, mask), landmarks(target, mask)
    if same == "landmarks":
        _, field = relative_map(ends[0], source, ends[0], target, mask, 5.0)
        assert np.abs(field - 1)[mask].mean() > 0.05
    else:
        mapped, field = relative_map(ends[0], source, 2 * ends[0], source, mask, 5.0)
        assert mapped == pytest.approx(2 * ends[0] * (mapped / (2 * ends[0])))
        assert mapped[5] > 1.2 * ends[0][5] and np.median(field[mask]) < 0.8


def test_a_ratio_has_bounds_and_is_1_outside():
    mask = np.zeros((12, 12, 12), bool)
    mask[3:9, 3:9, 3:9] = True
    one = np.ones(mask.shape, np.float32)
    for top, bottom, ratio in ((3, 2, 1.5), (9, 1, 5), (1, 9, 0.2), (1, 0, 5)):
        field = ratio_field(top * one, bottom * one, mask, 5.0)
        assert field.dtype == np.float32
        assert field[mask] == pytest.approx(ratio, rel=1e-5) and (field[~mask] == 1).all()


def test_a_field_is_smooth_over_12_mm_whatever_the_voxels():
    """The ratio of an edge: what 12 mm away is left of it is a sixth."""
    for voxel_mm in (2.0, 4.0):
        shape = (int(160 / voxel_mm), 12, 12)
        top = np.ones(shape, np.float32)
        top[shape[0] // 2 :] = 2
        field = ratio_field(top, np.ones_like(top), np.ones(shape, bool), voxel_mm)
        line = field[:, 6, 6] - 1
        at = shape[0] // 2 + int(12 / voxel_mm)
        assert line[at] == pytest.approx(0.84, abs=0.04)
        assert line[shape[0] // 2 - 1 : shape[0] // 2 + 1].mean() == pytest.approx(0.5, abs=0.02)


def test_a_field_of_low_order_is_found_exactly_and_bounded(two_looks):
    source, _, _, mask = two_looks
    coefficients = np.zeros(FIELD_TERMS)
    coefficients[[0, 1, 10]] = 0.05, 0.1, -0.2
    field = np.exp(log_field(coefficients, source.shape))
    found = low_order_fit(source * field, source, mask)
    assert found.dtype == np.float32 and (found[~mask] == 1).all()
    # The pull towards no field takes a hundredth.
    assert np.abs(np.log(found / field))[mask].max() < 0.02
    much = low_order_fit(source * np.exp(1.4), source, mask)
    assert much[mask] == pytest.approx(np.exp(1), rel=1e-4)
    assert low_order_fit(source * np.exp(-1.4), source, mask)[mask].max() == pytest.approx(
        np.exp(-1), rel=1e-4
    )


def test_too_few_voxels_determine_no_field(two_looks):
    source, _, _, mask = two_looks
    few = np.zeros_like(mask)
    few[tuple(np.argwhere(mask)[:999].T)] = True
    assert (low_order_fit(1.2 * source, source, few) == 1).all()
    few[tuple(np.argwhere(mask)[999:1002].T)] = True
    assert (low_order_fit(1.2 * source, source, few) > 1).any()
