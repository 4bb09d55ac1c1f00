"""Image metrics against closed forms and second implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_msssim import ms_ssim as published_ms_ssim
from scipy.ndimage import gaussian_filter

from bids_harmony.exceptions import DataError
from bids_harmony.quality.image_metrics import (
    gain_free_rmse,
    ms_ssim,
    nyquist_share,
    psnr,
    rmse,
    ssim,
    ssim_map,
)


@pytest.fixture
def pair():
    """A smooth volume with texture, and the same with noise and another contrast."""
    rng = np.random.default_rng(3)
    reference = gaussian_filter(rng.standard_normal((40, 44, 24)), 2)
    reference = ((reference - reference.min()) / np.ptp(reference)).astype(np.float32)
    image = 0.8 * reference + 0.1 + 0.05 * rng.standard_normal(reference.shape)
    return reference, image.astype(np.float32)


@pytest.fixture
def ball():
    index = np.indices((40, 44, 24)) - np.array([20, 22, 12]).reshape(3, 1, 1, 1)
    return (index**2).sum(axis=0) < 10**2


def test_rmse_and_psnr_of_a_known_change(ball):
    reference = np.zeros(ball.shape, np.float32)
    image = np.where(ball, 0.25, 0.5).astype(np.float32)
    assert rmse(reference, image, mask=ball) == pytest.approx(0.25)
    assert psnr(reference, image, data_range=1.0, mask=ball) == pytest.approx(20 * math.log10(4))
    inside = ball.mean()
    expected = math.sqrt(inside * 0.25**2 + (1 - inside) * 0.5**2)
    assert rmse(reference, image) == pytest.approx(expected)
    assert psnr(reference, image, data_range=2.0) == pytest.approx(20 * math.log10(2 / expected))


def test_gain_free_rmse_is_what_the_best_gain_leaves(pair, ball):
    reference, image = pair
    assert gain_free_rmse(reference, 7 * reference, mask=ball) == pytest.approx(0, abs=1e-7)
    inside, goal = image[ball].astype(np.float64), reference[ball].astype(np.float64)
    (_, left, *_) = np.linalg.lstsq(inside[:, None], goal)
    expected = math.sqrt(left[0] / goal.size)
    assert gain_free_rmse(reference, image, mask=ball) == pytest.approx(expected)
    # In units of the reference, whatever those of the image are.
    assert gain_free_rmse(reference, 9 * image, mask=ball) == pytest.approx(expected)
    assert gain_free_rmse(2 * reference, image, mask=ball) == pytest.approx(2 * expected)
    assert gain_free_rmse(reference, image) < rmse(reference, image)
    with pytest.raises(DataError, match="shapes"):
        gain_free_rmse(reference, image[1:])


def test_psnr_of_equal_images_is_infinite(pair):
    assert psnr(pair[0], pair[0], data_range=1.0) == math.inf


def test_ssim_of_two_flat_images_is_its_luminance_term():
    a, b, data_range = 0.3, 0.5, 2.0
    constant = (0.01 * data_range) ** 2
    expected = (2 * a * b + constant) / (a**2 + b**2 + constant)
    got = ssim(np.full((16, 16, 16), a), np.full((16, 16, 16), b), data_range=data_range)
    assert got == pytest.approx(expected, abs=1e-5)


def test_ssim_map_equals_its_definition(pair):
    x, y = (a.astype(np.float64) for a in pair)

    def blur(a):
        return gaussian_filter(a, 1.5, truncate=3.5)

    c1, c2 = 0.01**2, 0.03**2
    mx, my = blur(x), blur(y)
    vx, vy, cxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    expected = (2 * mx * my + c1) * (2 * cxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    np.testing.assert_allclose(ssim_map(*pair, data_range=1.0), expected, atol=1e-4)


def test_masked_ssim_averages_the_map_inside_the_mask(pair, ball):
    reference, image = pair
    image = np.where(ball, reference, image)  # wrong outside only
    index = np.indices(ball.shape) - np.array([20, 22, 12]).reshape(3, 1, 1, 1)
    inner = (index**2).sum(axis=0) < 2  # no window reaches out of the ball
    assert ssim(reference, image, data_range=1.0, mask=inner) == pytest.approx(1, abs=1e-4)
    assert ssim(reference, image, data_range=1.0, mask=~ball) < 0.9
    expected = ssim_map(reference, image, data_range=1.0)[ball].mean()
    assert ssim(reference, image, data_range=1.0, mask=ball) == pytest.approx(expected, abs=1e-6)


def test_ssim_accepts_a_slab_of_two_slices(pair):
    slab = [a[..., :2] for a in pair]
    assert ssim(*slab, data_range=1.0) < 0.9
    assert ssim(slab[0], slab[0], data_range=1.0) == pytest.approx(1)


def test_scaling_images_and_range_together_changes_nothing(pair, ball):
    reference, image = pair
    for metric in (ssim, psnr, ms_ssim):
        small = metric(reference, image, data_range=1.0, mask=ball)
        large = metric(3000 * reference, 3000 * image, data_range=3000.0, mask=ball)
        assert large == pytest.approx(small, rel=1e-4), metric.__name__


def test_ms_ssim_of_large_slices_is_the_published_one():
    rng = np.random.default_rng(0)
    reference = gaussian_filter(rng.random((176, 192, 3)), (2, 2, 0)).astype(np.float32) * 4
    image = reference + 0.1 * rng.standard_normal(reference.shape).astype(np.float32)
    batch = [torch.from_numpy(a.transpose(2, 0, 1)[:, None].copy()) for a in (reference, image)]
    expected = float(published_ms_ssim(*batch, data_range=4.0))
    assert expected < 0.999
    assert ms_ssim(reference, image, data_range=4.0) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(20, 18, 4), (45, 60, 4), (90, 75, 4), (130, 170, 3)])
def test_ms_ssim_orders_images_of_any_size(shape):
    rng = np.random.default_rng(1)
    reference = gaussian_filter(rng.random(shape), (3, 3, 0)).astype(np.float32)
    reference = (reference - reference.min()) / np.ptp(reference)
    noise = rng.standard_normal(shape).astype(np.float32)
    scores = [ms_ssim(reference, reference + s * noise, data_range=1.0) for s in (0, 0.05, 0.2)]
    assert scores[0] == pytest.approx(1, abs=1e-6)
    assert scores[0] > scores[1] > scores[2] > 0
    assert scores[2] < 0.95


def test_masked_ms_ssim_sees_only_the_brain_and_not_the_field_of_view(pair, ball):
    reference, image = pair
    score = ms_ssim(reference, image, data_range=1.0, mask=ball)
    assert 0 < score < 0.999
    other_head = np.where(ball, image, 7.0)
    assert ms_ssim(reference, other_head, data_range=1.0, mask=ball) == score
    wide = [np.pad(a, ((30, 11), (5, 40), (9, 9))) for a in (reference, image, ball)]
    assert ms_ssim(wide[0], wide[1], data_range=1.0, mask=wide[2]) == pytest.approx(
        score, abs=1e-6
    )


def test_ms_ssim_leaves_out_slices_with_little_foreground(pair):
    reference, image = np.ones((40, 40, 4), np.float32), np.ones((40, 40, 4), np.float32)
    mask = np.ones(reference.shape, bool)
    mask[..., 3] = False
    mask[0, 0, 3] = True  # one voxel of brain
    image[..., 3] = 0.0
    assert ms_ssim(reference, image, data_range=1.0, mask=mask) == pytest.approx(1, abs=1e-6)
    mask[..., 3] = True
    assert ms_ssim(reference, image, data_range=1.0, mask=mask) < 0.9999999


def test_ms_ssim_of_a_subset_of_slices_is_the_mean_of_those(pair):
    reference, image = pair[0] + 1, pair[1] + 1  # all foreground
    ends = [
        ms_ssim(reference[..., k : k + 1], image[..., k : k + 1], data_range=1.0) for k in (0, 23)
    ]
    both = ms_ssim(reference, image, data_range=1.0, max_slices=2)
    assert both == pytest.approx(np.mean(ends), abs=1e-7)


@pytest.mark.parametrize("pattern", ["rows", "columns", "both"])
def test_checkerboards_lie_at_the_nyquist_corners(pattern):
    i, j = np.indices((32, 48))
    sign = {"rows": i, "columns": j, "both": i + j}[pattern] % 2 * 2.0 - 1
    change = np.repeat(sign[..., None], 3, axis=2)
    assert nyquist_share(change) == pytest.approx(1)
    assert nyquist_share(change + 1) == pytest.approx(0.5)  # half the energy is the constant


def test_smooth_changes_and_no_change_have_no_nyquist_energy():
    index = np.indices((32, 48, 3))
    assert nyquist_share(np.sin(2 * np.pi * index[0] / 16)) < 1e-6
    assert nyquist_share(np.zeros((8, 8, 2))) == 0
    along_slices = index[2] % 2 * 2.0 - 1  # flicker from slice to slice is not in plane
    assert nyquist_share(along_slices) < 1e-6


def test_nyquist_share_of_white_noise_is_the_area_it_looks_at():
    noise = np.random.default_rng(0).standard_normal((128, 96, 40))
    assert nyquist_share(noise) == pytest.approx(3 * math.pi / 256, rel=0.05)


def test_nyquist_share_weights_slices_by_energy():
    i, j = np.indices((32, 32))
    checker, flat = (i + j) % 2 * 2.0 - 1, np.ones((32, 32))
    assert nyquist_share(np.stack([checker, 3 * flat], axis=2)) == pytest.approx(0.1)


def test_bad_input_is_named(pair, ball):
    reference, image = pair
    with pytest.raises(DataError, match="shapes"):
        rmse(reference, image[1:])
    with pytest.raises(DataError, match="mask is empty"):
        ssim(reference, image, data_range=1.0, mask=np.zeros_like(ball))
    with pytest.raises(DataError, match="mask has another shape"):
        rmse(reference, image, mask=ball[1:])
    with pytest.raises(DataError, match="data range"):
        psnr(reference, image, data_range=0.0)
    with pytest.raises(DataError, match="no foreground"):
        ms_ssim(0 * reference, image, data_range=1.0)
