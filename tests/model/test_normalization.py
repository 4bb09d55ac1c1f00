"""AAN: the paper's formula, the zero start, the content head, statistics and cells."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from bids_harmony.model.normalization import AAN, Embedding, statistics
from bids_harmony.model.presets import PRESETS, AANConfig
from bids_harmony.model.window import Window

from .conftest import NARROW, images

CHANNELS, PROJECTED = 5, NARROW["projection"][1]


def aan(config: AANConfig, *, heads: float = 0.3, **changes) -> AAN:
    torch.manual_seed(0)
    made = AAN(CHANNELS, replace(config, **NARROW, **changes))
    for name, parameter in made.named_parameters():
        if ".scale." in name or ".shift." in name:
            torch.nn.init.normal_(parameter, std=heads)
    return made


def embedding(config: AANConfig, *, equal: bool = False, gate: float = 1.0) -> Embedding:
    target, source = images(2, PROJECTED, seed=1), images(2, PROJECTED, seed=2)
    maps = [None, None]
    if config.n_maps:
        shape = (2, config.n_maps, config.grid, config.grid)
        maps = [images(*shape, seed=3), images(*shape, seed=4)]
    if equal:
        source, maps[1] = target.clone(), maps[0]
    differs = torch.full((2,), 0.0 if equal else 1.0)
    return Embedding(target, source, *maps, differs=differs, gate=torch.full((2,), gate))


def test_paper_mode_is_equation_2_by_hand():
    made = aan(PRESETS["paper"].aan)
    made.sigma_ref.copy_(images(CHANNELS, seed=5) + 0.5)
    made.mu_ref.copy_(images(CHANNELS, seed=6))
    z, given = images(2, CHANNELS, 9, 7), embedding(made.config)
    features = made.content_features(z).mean((2, 3), keepdim=True)
    joined = torch.cat(
        [made.content_embedding(features)[:, :, 0, 0], made.code_embedding(given.target)], 1
    )
    scale, shift = made.heads.scale, made.heads.shift
    ds = joined @ scale.weight[:, :, 0, 0].T + scale.bias
    db = joined @ shift.weight[:, :, 0, 0].T + shift.bias
    gamma, beta = made.sigma_ref * ds.clamp(-3, 3).exp(), made.mu_ref + made.sigma_ref * db
    mu, var = z.mean((2, 3), keepdim=True), z.var((2, 3), unbiased=False, keepdim=True)
    expected = gamma[:, :, None, None] * (z - mu) / (var + 1e-5).sqrt() + beta[:, :, None, None]
    assert ds.abs().min() > 1e-4
    torch.testing.assert_close(made(z, given), expected, atol=1e-5, rtol=1e-5)


def test_residual_mode_modulates_the_samples_own_statistics():
    made = aan(PRESETS["local"].aan, grid=1, n_maps=0, gated=False)
    z, given = images(2, CHANNELS, 9, 7), embedding(made.config)
    ds, db = made.modulation(z, given)
    mu, sigma = statistics(z)
    expected = sigma * ds.exp() * (z - mu) / sigma + mu + sigma * db
    torch.testing.assert_close(made(z, given), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["local", "flat"])
def test_untrained_residual_mode_changes_nothing(name):
    made = aan(PRESETS[name].aan, heads=0.0)
    change = made.change(images(2, CHANNELS, 12, 10), embedding(made.config))
    assert torch.count_nonzero(change) == 0


def test_equal_conditions_with_closed_gate_change_nothing():
    made, z = aan(PRESETS["local"].aan), images(2, CHANNELS, 12, 10)
    same = made.change(z, embedding(made.config, equal=True, gate=0.0))
    assert torch.count_nonzero(same) == 0
    assert made.change(z, embedding(made.config, gate=0.0)).abs().max() > 1e-3
    assert made.change(z, embedding(made.config, equal=True, gate=1.0)).abs().max() > 1e-3


def test_relative_path_is_closed_by_differs_whatever_the_rounding():
    made, z = aan(PRESETS["flat"].aan), images(2, CHANNELS, 12, 10)
    given = embedding(made.config)
    change = made.change(z, replace(given, differs=torch.tensor([0.0, 1.0])))
    assert torch.count_nonzero(change[0]) == 0
    assert change[1].abs().max() > 1e-3


def test_log_gain_is_clipped():
    made = aan(PRESETS["local"].aan, heads=50.0)
    ds, _ = made.modulation(images(2, CHANNELS, 12, 10), embedding(made.config))
    assert ds.abs().max() == 3.0


@pytest.mark.parametrize("grid", [1, 4])
def test_content_head_tells_textures_apart(grid):
    made = aan(PRESETS["local"].aan, grid=grid)
    rows = torch.arange(32.0)[:, None] + torch.arange(32.0)
    stripes = (rows % 4 < 2).float().expand(1, CHANNELS, 32, 32)
    noise = images(1, CHANNELS, 32, 32)
    assert (made.content(stripes) - made.content(noise)).abs().max() > 1e-3


def test_relative_conditioning_keeps_the_content():
    made = aan(PRESETS["flat"].aan)
    # Strong content, so that units of the fuse layer switch: only those carry it on.
    torch.nn.init.normal_(made.content_embedding.weight, std=30.0)
    given = embedding(made.config)
    first, _ = made.modulation(images(2, CHANNELS, 16, 16), given)
    second, _ = made.modulation(images(2, CHANNELS, 16, 16, seed=9) ** 4, given)
    assert (first - second).abs().max() > 1e-5


def test_cells_cover_the_image_and_not_its_padding():
    window = Window.of_image(20, 28, pad=8, factor=4)
    assert (window.top, window.left, window.shape) == (2, 2, (5, 7))
    made = aan(PRESETS["local"].aan, grid=2)
    cells = torch.zeros(1, CHANNELS, 2, 2)
    cells[..., 0, 0] = 1.0
    spread = made.spread(cells, torch.zeros(1, CHANNELS, 9, 12), window)
    assert spread.shape == (1, CHANNELS, 9, 12)
    expected = F.interpolate(cells, size=(5, 7), mode="bilinear", align_corners=False)
    torch.testing.assert_close(window.cut(spread), expected)
    assert (spread[..., :3, :3] == 1.0).all()
    assert (spread[..., -2:, -3:] == 0.0).all()


def test_half_precision_features_are_modulated_in_single():
    made, z = aan(PRESETS["local"].aan), images(2, CHANNELS, 12, 10)
    given = embedding(made.config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        change = made.change(z, given)
        from_half = made.change(z.bfloat16(), given)
    assert change.dtype == from_half.dtype == torch.float32
    torch.testing.assert_close(change, made.change(z, given), atol=0.1, rtol=0.1)
