"""IHF block: exactness, closed form, the inexact forms, the change without cache."""

from __future__ import annotations

import pytest
import torch

from bids_harmony.exceptions import UsageError
from bids_harmony.model.coupling import IHFBlock
from bids_harmony.model.stage import squeeze, unsqueeze


def block(splits=4, *, seed=0, **switches) -> IHFBlock:
    torch.manual_seed(seed)
    made = IHFBlock(3, splits, 8, **switches).double()
    if isinstance(made.omega, torch.nn.Parameter) and made.recursion != "hf":
        made.omega.data.normal_(std=2.0)
    return made


def features(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_squeeze_is_a_permutation(factor):
    x = features(2, 3, 6, 12)
    z = squeeze(x, factor)
    assert z.shape == (2, 3 * factor**2, 6 // factor, 12 // factor)
    assert torch.equal(z.flatten().sort().values, x.flatten().sort().values)
    assert torch.equal(unsqueeze(z, factor), x)


def test_squeeze_keeps_the_patch_of_a_channel_together():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert squeeze(x, 2)[0, :, 0, 0].tolist() == [0.0, 1.0, 4.0, 5.0]


@pytest.mark.parametrize("splits", [1, 2, 5])
@pytest.mark.parametrize("final_relu", [False, True])
def test_block_reconstructs_its_input(splits, final_relu):
    made, x = block(splits, final_relu=final_relu), features(2, 3, 7, 9)
    z, cache = made.forward_split(x)
    assert z.shape == (2, 3 * splits, 7, 9)
    assert not torch.allclose(z[:, :3], x)
    assert (made.reverse(z, cache) - x).abs().max() < 1e-12


def test_chunks_are_subtracted_one_after_another():
    made, x = block(3), features(1, 3, 5, 5)
    z, cache = made(x)
    a1, a2, a3 = cache.chunk(3, 1)
    assert torch.allclose(z, torch.cat([x - a1, x - a1 - a2, x - a1 - a2 - a3], 1))


def test_final_relu_makes_chunks_one_signed():
    x = features(1, 3, 6, 6)
    assert (block(final_relu=True)(x)[1] >= 0).all()
    assert (block()(x)[1] < 0).any()


@pytest.mark.parametrize("shared_w", [False, True])
def test_closed_form_equals_recursion(shared_w):
    made, zhat = block(5, shared_w=shared_w), features(2, 15, 6, 5)
    cache = features(2, 15, 6, 5, seed=2)
    sums = torch.stack(cache.chunk(5, 1)).cumsum(0)
    expected = sum(
        v * (z + a) for v, z, a in zip(made.shares, zhat.chunk(5, 1), sums, strict=True)
    )
    assert torch.allclose(made.reverse(zhat, cache), expected, atol=1e-12)
    assert made.shares.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert (made.shares >= 0).all()


def test_half_start_gives_the_first_split_half():
    shares = IHFBlock(3, 4, 8).shares
    assert shares.tolist() == pytest.approx([0.5, 0.25, 0.125, 0.125])


def test_uniform_start_gives_equal_shares():
    shares = IHFBlock(3, 5, 8, w_init="uniform").shares
    assert shares.tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("switches", [{"shared_w": True}, {"recursion": "mean"}])
def test_uniform_start_needs_free_weights(switches):
    with pytest.raises(UsageError, match="Uniform"):
        IHFBlock(3, 4, 8, w_init="uniform", **switches)


def test_mean_recursion_has_no_weight_to_learn():
    names = [name for name, _ in block(recursion="mean").named_parameters()]
    assert "omega" not in names


@pytest.mark.parametrize("recursion", ["hf", "repo"])
def test_published_recursions_do_not_reconstruct(recursion):
    made, x = block(recursion=recursion), features(1, 3, 8, 8)
    assert (made.reverse(*made(x)) - x).abs().max() > 1e-2
    with pytest.raises(UsageError, match="convex or mean"):
        made.reverse_change(features(1, 12, 8, 8))


@pytest.mark.parametrize(
    ("recursion", "formula"),
    [
        ("convex", lambda w, z, r, a: w * z + (1 - w) * r + a),
        ("mean", lambda w, z, r, a: (z + r) / 2 + a),
        ("hf", lambda w, z, r, a: w * (z + r) + (1 - w) * a),
        ("repo", lambda w, z, r, a: w * (z + a) + (1 - w) * r),
    ],
)
def test_recursion_by_hand_for_two_splits(recursion, formula):
    made = block(2, recursion=recursion)
    zhat, cache = features(1, 6, 4, 4), features(1, 6, 4, 4, seed=3)
    z1, z2, a1, a2 = *zhat.chunk(2, 1), *cache.chunk(2, 1)
    expected = formula(made.weights[0], z1, z2 + a2, a1)
    assert torch.allclose(made.reverse(zhat, cache), expected, atol=1e-12)


@pytest.mark.parametrize("recursion", ["convex", "mean"])
def test_change_needs_no_cache(recursion):
    made, x, change = block(recursion=recursion), features(1, 3, 6, 6), features(1, 12, 6, 6)
    z, cache = made(x)
    expected = made.reverse(z + change, cache) - made.reverse(z, cache)
    assert torch.allclose(made.reverse_change(change), expected, atol=1e-12)
    assert torch.count_nonzero(made.reverse_change(torch.zeros_like(z))) == 0


def test_two_images_in_flight_do_not_mix():
    made, x, y = block(), features(1, 3, 6, 6), features(1, 3, 6, 6, seed=5)
    (zx, cx), (zy, cy) = made(x), made(y)
    assert (made.reverse(zx, cx) - x).abs().max() < 1e-12
    assert (made.reverse(zy, cy) - y).abs().max() < 1e-12
    assert (made.reverse(zx, cy) - x).abs().max() > 1e-3


def test_coupling_adds_in_single_precision_under_autocast():
    made, x = block().float(), features(1, 3, 16, 16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, cache = made(x)
        y = made.reverse(z, cache)
    assert z.dtype == torch.float32
    assert (y - x).abs().max() < 1e-5
