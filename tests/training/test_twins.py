"""Synthetic twins: groups that never overlap, batches that depend on the step alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bids_harmony.model.network import IHFNetwork
from bids_harmony.training.pretrain import TwinLoss, pretrain, score_twins, twin_loss
from bids_harmony.training.twin_stream import TwinStream
from bids_harmony.training.twins import twin_pair
from tests.training.small_twins import CONFIG


def stream(pool, seed=0):
    return TwinStream(pool, CONFIG, use_closed_form=True, slices=4, seed=seed)


def test_a_twin_has_the_level_of_what_is_to_become_it(pool):
    person, (a, b, *_) = pool.training[0], pool.scanners
    conditioned, _, twin = twin_pair(
        person,
        a,
        b,
        (pool.profiles[a.site, "T1w"], pool.profiles[b.site, "T1w"]),
        3,
        voxel_mm=6.0,
        config=CONFIG,
        use_closed_form=True,
    )
    inside = person.mask
    image, twin = conditioned.image[inside], twin[inside]
    assert np.vdot(image, twin) == pytest.approx(np.vdot(twin, twin), rel=1e-3)


def test_the_weights_of_the_loss_are_used(pool, encoder):
    network, batch = IHFNetwork(CONFIG, encoder.code_length), stream(pool).part(0)
    numbers = twin_loss(network, batch)[1]
    squared = twin_loss(network, batch, TwinLoss(0.0, 1.0, 0.0))[0]
    assert squared.item() == pytest.approx(numbers["mse_network"].item())
    contrast = twin_loss(network, batch, TwinLoss(0.0, 0.0, 1.0))[0]
    assert contrast.item() == pytest.approx(numbers["mse_contrast"].item()) != 0
    both = twin_loss(network, batch, TwinLoss(1.0, 1.0, 2.0))[0].item()
    only = twin_loss(network, batch, TwinLoss(1.0, 0.0, 0.0))[0].item()
    assert both == pytest.approx(only + squared.item() + 2 * contrast.item(), rel=1e-5)
    usual = only + 4 * squared.item() + 20 * contrast.item()
    assert twin_loss(network, batch)[0].item() == pytest.approx(usual, rel=1e-5)
    # What the settings leave open is what it was.
    given = twin_loss(network, batch, TwinLoss(1.0, 4.0))[0].item()
    assert given == pytest.approx(usual, rel=1e-5)


def test_the_loss_asks_for_the_contrast_of_tissues_and_not_for_their_noise(pool):
    batch = stream(pool).part(0)
    grey, white = batch.tissue == 1, batch.tissue == 2
    sign = torch.where(
        torch.arange(batch.stack.numel()).reshape(batch.stack.shape) % 2 == 0, 1, -1
    )

    class Off:
        def __init__(self, error):
            self.error = error

        def change(self, stack, condition):
            return batch.twin - stack + self.error

    def contrast(error):
        return twin_loss(Off(error), batch, TwinLoss(0.0, 0.0, 1.0))[0].item()

    assert contrast(0.1 * sign) < 1e-4  # noise: means stay
    share = float(grey.sum() / (grey | white).sum())
    assert contrast(0.1 * grey) == pytest.approx(0.01 * share, rel=1e-4)
    assert contrast(0.1 * white) == pytest.approx(0.01 * (1 - share), rel=1e-4)


def test_relative_errors_count_by_what_the_closed_form_leaves(pool):
    """A slice twice as wrong, and twice as badly missed, counts as much."""
    batch = stream(pool).part(0)
    one = torch.where(batch.mask, 0.3, 0.0)

    class Misses:
        """Leaves half of what the closed form leaves."""

        def __init__(self, error):
            self.error = error

        def change(self, stack, condition):
            return -self.error / 2

    def loss(error, relative):
        off = replace(batch, stack=batch.twin + error)
        return twin_loss(Misses(error), off, TwinLoss(0.0, 1.0, 0.0, relative))[0].item()

    assert loss(2 * one, False) == pytest.approx(4 * loss(one, False), rel=1e-4)
    # An error of 0.02 more or less is none.
    assert loss(2 * one, True) == pytest.approx(loss(one, True), rel=0.01)
    assert loss(one, True) == pytest.approx(0.25 * 0.06**2 * 0.09 / (0.09 + 0.02**2), rel=1e-3)


def test_a_fresh_network_scores_as_the_closed_form(pool, encoder):
    torch.manual_seed(0)
    network = IHFNetwork(CONFIG, encoder.code_length).eval()
    score = score_twins(network, pool, use_closed_form=True, pairs=2)
    assert score.network == pytest.approx(score.closed_form, rel=1e-6)
    assert score.closed_form < score.raw


def test_the_loss_is_zero_for_a_perfect_network(pool, encoder):
    network = IHFNetwork(CONFIG, encoder.code_length)
    batch = stream(pool).part(0)

    class Perfect:
        def change(self, stack, condition):
            return (batch.twin - stack).requires_grad_()

    assert float(twin_loss(Perfect(), batch)[0].detach()) < 1e-6
    assert float(twin_loss(network, batch)[0].detach()) > 0.01


def test_every_third_step_is_of_the_finer_grid_with_as_many_pixels(pool, encoder, monkeypatch):
    finer = replace(pool, grid=replace(pool.grid, voxel_mm=pool.grid.voxel_mm / 2))
    seen = []

    class Stream:
        def __init__(self, of, config, *, slices, **kwargs):
            self.part = lambda step, part, parts: (of is finer, slices)

    def fit(network, draw, *args, **kwargs):
        seen.append([draw(step, 0, 1) for step in range(6)])

    monkeypatch.setattr("bids_harmony.training.pretrain.TwinStream", Stream)
    monkeypatch.setattr("bids_harmony.training.pretrain.fit", fit)
    monkeypatch.setattr("bids_harmony.training.twin_stream.TwinStream", Stream)
    network = IHFNetwork(CONFIG, encoder.code_length)
    for more in ({}, {"finer": finer}):
        pretrain(
            network, pool, None, None, slices=8, seed=0, use_closed_form=True, fingerprint="",
            **more,
        )  # fmt: skip
    assert seen == [[(False, 8)] * 6, [(False, 8), (False, 8), (True, 2)] * 2]
