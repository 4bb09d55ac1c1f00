"""Local maps: pooling as torch does it, and maps that tell field, detail and cover."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from bids_harmony.imaging.texture import N_MAPS, pool_cells, side_maps, texture
from bids_harmony.methods.conditioned import Conditioned, condition_scan, predict_change
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import preset

COVER = 5


def test_pooling_agrees_with_adaptive_pooling(rng):
    data = rng.random((27, 33, 4)).astype(np.float32)
    pooled, cover = pool_cells(data, np.ones(data.shape, bool), 8)
    expected = torch.nn.functional.adaptive_avg_pool2d(
        torch.from_numpy(np.moveaxis(data, 2, 0)), (8, 8)
    )
    assert np.allclose(pooled, expected.numpy(), atol=1e-5)
    assert np.allclose(cover, 1)


def test_pooling_counts_only_the_mask(rng):
    data = rng.random((16, 16, 2)).astype(np.float32)
    mask = np.zeros(data.shape, bool)
    mask[:3, :3] = True
    pooled, cover = pool_cells(data, mask, 4)
    assert np.isclose(pooled[0, 0, 0], data[:3, :3, 0].mean())
    assert np.isclose(cover[0, 0, 0], 9 / 16) and not pooled[:, 1:].any()


def test_texture_tells_noise_from_smooth_images(rng):
    mask = np.ones((32, 32, 6), bool)
    smooth = np.linspace(0, 1, 32, dtype=np.float32)[:, None, None] * np.ones_like(
        mask, np.float32
    )
    noisy = smooth + rng.normal(0, 0.05, smooth.shape).astype(np.float32)
    assert (texture(noisy, mask, 4)[:, 0] > texture(smooth, mask, 4)[:, 0] + 0.5).all()


def test_log_ratio_maps_show_a_gain(world):
    profile, scan = world.profiles["COI"], world.scan("COI")
    detail = texture(scan.data, scan.mask, 4)
    maps = side_maps(scan.data, scan.mask, profile.mean_image, detail, (2, 3), 5.0, 4)
    brighter = side_maps(scan.data * 1.5, scan.mask, profile.mean_image, detail, (2, 3), 5.0, 4)
    assert maps.shape == (scan.data.shape[2], N_MAPS, 4, 4)
    valid = maps[:, COVER] > 0.5
    assert np.allclose((brighter - maps)[:, 0][valid], np.log(1.5), atol=0.02)
    assert np.isfinite(maps).all()


def test_maps_know_nothing_of_what_lies_outside_the_brain(world):
    """Neither where the scan has no brain nor where the site has none."""
    profile, scan = world.profiles["COI"], world.scan("COI")
    half = scan.mask.copy()
    half[: half.shape[0] // 2] = False
    detail = texture(scan.data, half, 4)
    elsewhere = np.where(half, scan.data, 0.1).astype(np.float32)
    maps, same = (
        side_maps(data, half, profile.mean_image, detail, (2, 3), 5.0, 4)
        for data in (scan.data, elsewhere)
    )
    assert np.array_equal(maps, same)
    # Nothing is known of cells without brain, and they say so.
    assert not maps[:, :, 0].any() and maps[:, COVER, 3].any()
    unknown = np.where(half, profile.mean_image, 0).astype(np.float32)
    assert np.array_equal(maps, side_maps(scan.data, scan.mask, unknown, detail, (2, 3), 5.0, 4))


def condition(world, network, source, target):
    scan = world.scan(source)
    return condition_scan(
        scan.data, scan.mask, world.profiles[source], world.profiles[target],
        voxel_mm=5.0, config=network.config, use_closed_form=True,
    )  # fmt: skip


def test_same_site_changes_nothing_at_all(world, moved_network):
    change = predict_change(moved_network, condition(world, moved_network, "GE", "GE"))
    assert not change.any()


def test_another_site_changes_the_scan_whatever_the_batch_size(world, moved_network):
    conditioned = condition(world, moved_network, "GE", "COI")
    one = predict_change(moved_network, conditioned, batch_size=1)
    many = predict_change(moved_network, conditioned, batch_size=16)
    assert np.abs(one).max() > 1e-3
    assert np.abs(one - many).max() < 1e-5


def test_threads_share_the_slices_and_do_not_show(rng):
    torch.manual_seed(0)
    network = IHFNetwork(preset("local", grid=4), 5).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    mask = np.ones((30, 34, 11), bool)
    codes = rng.normal(size=(4, 11, 5)).astype(np.float32)
    maps = rng.normal(size=(2, 11, N_MAPS, 4, 4)).astype(np.float32)
    image = rng.random(mask.shape).astype(np.float32)
    conditioned = Conditioned(image, mask, codes[0], codes[1], maps[0], maps[1])
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(predict_change(network, conditioned, batch_size=2))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0][5].any() and found[0][10].any()
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("own", "site", "ratio", "level"),
    [
        (0.6, 0.3, np.log(2), np.log(0.3)),
        (0.2, 0.4, -np.log(2), np.log(0.4)),
        # Beyond these a ratio and a level tell nothing more.
        (0.9, 0.01, 1.5, -3),
        (0.1, 4.0, -1.5, 1),
    ],
)
def test_each_map_says_what_its_place_is_for(own, site, ratio, level):
    """Log ratio, its size, the level of the site, two bands of detail / 4, cover, numbers."""
    shape, cells = (16, 16, 3), 4
    mask = np.zeros(shape, bool)
    mask[:9] = True
    detail = np.broadcast_to(np.array([-2.0, 6.0])[None, :, None, None], (3, 2, cells, cells))
    maps = side_maps(
        np.full(shape, own, np.float32), mask, np.full(shape, site, np.float32), detail, (0.7, -2),
        4.0, cells,
    )  # fmt: skip
    assert maps.shape == (3, N_MAPS, cells, cells) and maps.dtype == np.float32
    inside = [ratio, abs(ratio), level, -0.5, 1.5, 1, 0.7, -2]
    assert np.allclose(maps[:, :, :2], np.reshape(inside, (1, N_MAPS, 1, 1)), atol=1e-3)
    # A quarter of the third row of cells has brain, and none of the fourth.
    inside[COVER] = 0.25
    assert np.allclose(maps[:, :, 2], np.reshape(inside, (1, N_MAPS, 1)), atol=1e-3)
    assert not maps[:, :, 3].any()


def test_detail_is_the_energy_of_its_band_in_the_plane():
    """A checkerboard of amplitude 0.2 is fine detail; stripes from slice to slice are none."""
    shape, cells = (40, 40, 4), 2
    mask = np.ones(shape, bool)
    sign = (-1.0) ** np.indices(shape)
    board = (1 + 0.2 * sign[0] * sign[1]).astype(np.float32)
    energy = texture(board, mask, cells)
    assert energy.shape == (4, 2, cells, cells)
    line = gaussian_filter1d((-1.0) ** np.arange(60), 0.8, truncate=3.0)[30]
    expected = 0.5 * np.log((0.2 * (1 - line**2)) ** 2 + 1e-6)
    assert np.allclose(energy[:, 0], expected, atol=0.02)
    # Squares of four voxels have more of the second band.
    assert (energy[:, 1] < energy[:, 0] - 2).all()
    squares = (1 + 0.2 * (-1.0) ** (np.indices(shape)[:2] // 4).sum(axis=0)).astype(np.float32)
    assert (texture(squares, mask, cells)[:, 1] > energy[:, 1] + 2).all()
    stripes = (1 + 0.2 * sign[2]).astype(np.float32)
    assert np.allclose(texture(stripes, mask, cells), 0.5 * np.log(1e-6), atol=1e-3)


def test_cells_without_weight_hold_nothing_and_light_ones_their_mean():
    data = np.full((4, 4, 1), 3, np.float32)
    weight = np.zeros(data.shape, np.float32)
    weight[0, 0], weight[3, 3] = 0.1, 1e-4
    mean, cover = pool_cells(data, weight, 2)
    assert np.allclose(mean[0], [[3, 0], [0, 0]])
    assert np.allclose(cover[0], [[0.025, 0], [0, 2.5e-5]])
