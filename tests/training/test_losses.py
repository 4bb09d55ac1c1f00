"""Losses against plain loops, and the properties they are used for."""

from __future__ import annotations

import math

import pytest
import torch

from bids_harmony.exceptions import DataError, UsageError
from bids_harmony.training.losses import (
    anatomical_consistency,
    artefact_consistency,
    balance_losses,
    channel_statistics,
    clamp_with_way_back,
    identity_loss,
)

CHANNELS, SIDES = (6, 8, 10, 12), ((24, 20), (12, 10), (9, 7), (6, 5))


def taps(seed: int, batch: int = 3) -> list[torch.Tensor]:
    """Rectified random features of four layers, as an encoder leaves them."""
    rng = torch.Generator().manual_seed(seed)
    return [
        torch.randn((batch, c, *side), generator=rng, dtype=torch.float64).relu()
        for c, side in zip(CHANNELS, SIDES, strict=True)
    ]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference_l_ac(x, y, positions, window):
    """One layer of eq. 3 for one sample, position by position."""

    def normalised(f):
        f = f - f.mean(dim=(1, 2), keepdim=True)
        return f / f.norm(dim=0, keepdim=True)

    x, y = normalised(x), normalised(y)
    height, width = x.shape[1:]
    tall, wide = min(window, height), min(window, width)
    total = 0.0
    for position in positions:
        row, column = divmod(int(position), width)
        top = min(max(row - tall // 2, 0), height - tall)
        left = min(max(column - wide // 2, 0), width - wide)
        rows = []
        for f in (x, y):
            patch = f[:, top : top + tall, left : left + wide].flatten(1)
            rows.append(torch.stack([f[:, row, column] @ patch[:, k] for k in range(tall * wide)]))
        a, b = rows
        total += float(1 - (a @ b) / (a.norm() * b.norm()))
    return total / len(positions)


@pytest.mark.parametrize("window", [64, 5, 4])
def test_anatomical_loss_equals_a_plain_loop(window):
    x, y = taps(1, batch=2), taps(2, batch=2)
    got = anatomical_consistency(x, y, queries=11, window=window, generator=generator(7))
    draws, expected = generator(7), []
    for layer in (2, 3):
        height, width = SIDES[layer]
        positions = torch.randperm(height * width, generator=draws)[:11]
        for sample in range(2):
            args = (x[layer][sample], y[layer][sample], positions, window)
            expected.append(reference_l_ac(*args))
    assert float(got) == pytest.approx(sum(expected) / 4, rel=1e-9)
    assert float(got) > 0.01


def test_anatomical_loss_of_an_image_with_itself_is_zero_and_with_its_mirror_is_not():
    x = taps(3)
    same = anatomical_consistency(x, x, generator=generator())
    assert abs(float(same)) < 1e-12
    mirrored = [f.flip(-1) for f in x]
    assert float(anatomical_consistency(x, mirrored, generator=generator())) > 0.05


def test_anatomical_loss_ignores_gain_and_shift_of_features():
    x, y = taps(4), taps(5)
    shift = torch.rand((3, 12, 1, 1), generator=generator(), dtype=torch.float64)
    changed = [f * 3 + 5 * shift[:, : f.shape[1]] for f in x]
    keywords = {"queries": 9, "generator": None}
    value = anatomical_consistency(x, changed, **keywords | {"generator": generator()})
    assert abs(float(value)) < 1e-12
    plain = anatomical_consistency(y, x, **keywords | {"generator": generator()})
    gained = anatomical_consistency(y, changed, **keywords | {"generator": generator()})
    assert float(gained) == pytest.approx(float(plain), rel=1e-9)


def test_anatomical_loss_of_a_batch_is_the_mean_of_its_samples():
    x, y = taps(8), taps(9)
    whole = anatomical_consistency(x, y, queries=10, window=4, generator=generator(1))
    singles = [
        anatomical_consistency(
            [f[i : i + 1] for f in x],
            [f[i : i + 1] for f in y],
            queries=10,
            window=4,
            generator=generator(1),
        )
        for i in range(3)
    ]
    assert float(whole) == pytest.approx(float(torch.stack(singles).mean()), rel=1e-9)


def test_positions_follow_the_generator():
    x, y = taps(10), taps(11)
    first, again, other = (
        float(anatomical_consistency(x, y, queries=5, generator=generator(s))) for s in (0, 0, 1)
    )
    assert first == again != other
    everything = [
        float(anatomical_consistency(x, y, queries=10_000, generator=generator(s))) for s in (0, 1)
    ]
    assert everything[0] == pytest.approx(everything[1], rel=1e-12)


def test_anatomical_loss_pulls_the_output_only():
    x, y = taps(12), taps(13)
    for f in x + y:
        f.requires_grad_()
    anatomical_consistency(x, y, layers=(3,), generator=generator()).backward()
    assert all(f.grad is None for f in x)
    assert y[2].grad.abs().sum() > 0 and y[3].grad is None


def test_constant_features_give_finite_gradients():
    x, y = taps(14), [torch.ones_like(f).requires_grad_() for f in taps(14)]
    loss = anatomical_consistency(x, y, generator=generator()) + artefact_consistency(y, x)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(f.grad is None or torch.isfinite(f.grad).all() for f in y)


def reference_l_art(y, t, layers, keep):
    """Eq. 4 for one sample, channel by channel."""
    total = 0.0
    for layer in layers:
        entries = []
        for a, b in zip(y[layer - 1], t[layer - 1], strict=True):
            std = [math.sqrt(float(c.var(correction=0)) + 1e-5) for c in (a, b)]
            entries.append((float(a.mean() - b.mean()) ** 2, (std[0] - std[1]) ** 2))
        entries.sort(key=lambda entry: entry[0])
        kept = entries[: round(keep * len(entries))]
        total += sum(d + s for d, s in kept) / len(kept)
    return total


@pytest.mark.parametrize(("keep", "layers"), [(0.9, (1, 2, 3)), (0.5, (1, 2, 3, 4)), (1.0, (2,))])
def test_artefact_loss_is_the_mean_of_per_sample_loops(keep, layers):
    y, t = taps(20), taps(21)
    # Make every sample reject other channels, so that a mask shared by the batch would show.
    for i in range(3):
        y[0][i, i] += 4
        y[1][i, 2 * i] += 4
    expected = [
        reference_l_art([f[i] for f in y], [f[i] for f in t], layers, keep) for i in range(3)
    ]
    got = artefact_consistency(y, t, layers=layers, keep=keep)
    assert float(got) == pytest.approx(sum(expected) / 3, rel=1e-9)


def test_the_worst_channel_is_dropped_by_its_mean_and_gets_no_gradient():
    t = [torch.rand((1, 10, 8, 8), generator=generator(), dtype=torch.float64)]
    y = [t[0].clone()]
    y[0][0, 3] += 9  # mean far off, spread right
    y[0][0, 5] = 2 * (y[0][0, 5] - y[0][0, 5].mean()) + y[0][0, 5].mean()  # mean right, spread off
    y[0].requires_grad_()
    loss = artefact_consistency(y, t, layers=(1,), keep=0.9)
    spread = [float(channel_statistics(f.detach())[1][0, 5]) for f in (y[0], t[0])]
    assert loss.item() == pytest.approx((spread[0] - spread[1]) ** 2 / 9, rel=1e-6)
    loss.backward()
    pulled = y[0].grad.abs().sum(dim=(0, 2, 3))
    assert pulled[3] == 0 and pulled[5] > 0
    assert artefact_consistency(y, t, layers=(1,), keep=1.0).item() > 8


def test_cached_statistics_stand_in_for_the_target():
    y, t = taps(22), taps(23)
    statistics = [channel_statistics(f) for f in t]
    assert float(artefact_consistency(y, statistics)) == float(artefact_consistency(y, t))
    assert float(artefact_consistency(t, statistics, layers=(1, 2, 3, 4))) == 0


def test_channel_statistics_are_biased():
    f = torch.tensor([[[[0.0, 2.0]]]])
    mean, std = channel_statistics(f)
    assert mean.item() == 1 and std.item() == pytest.approx(math.sqrt(1 + 1e-5))


def quadratic_losses(weights):
    """Two losses with gradients of known norm at an output."""
    y = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    return weights[0] * y.square().sum() / 2, weights[1] * y.square().sum() / 2, y


def test_a_balanced_pair_keeps_its_weights():
    balance = balance_losses(*quadratic_losses((1.0, 0.4)), lambda_art=2.0)
    assert (balance.norm_ac, balance.norm_art) == (pytest.approx(5), pytest.approx(2))
    assert balance.lambda_art == 2 and not balance.rescaled


@pytest.mark.parametrize("weights", [(1.0, 0.001), (0.001, 1.0)])
def test_an_unbalanced_pair_gets_equal_pull(weights):
    ac, art, y = quadratic_losses(weights)
    balance = balance_losses(ac, art, y, lambda_ac=3.0, lambda_art=2.0)
    assert balance.rescaled
    assert balance.lambda_art * balance.norm_art == pytest.approx(3 * balance.norm_ac)
    (balance.lambda_ac * ac + balance.lambda_art * art).backward()  # the graph is still there
    assert y.grad is not None


@pytest.mark.parametrize(("lambda_ac", "lambda_art"), [(0.0, 2.0), (1.0, 0.0)])
def test_a_loss_that_is_switched_off_stays_off(lambda_ac, lambda_art):
    losses = quadratic_losses((1.0, 1e-4))
    balance = balance_losses(*losses, lambda_ac=lambda_ac, lambda_art=lambda_art)
    assert (balance.lambda_ac, balance.lambda_art) == (lambda_ac, lambda_art)
    assert not balance.rescaled


def test_no_gradient_no_balance():
    ac, art, y = quadratic_losses((0.0, 1.0))
    with pytest.raises(DataError, match="anatomical"):
        balance_losses(ac, art, y)


@pytest.mark.parametrize(
    ("sign", "passed"), [(1, [0.0, 0.0, 3.0, 4.0, 5.0]), (-1, [-1.0, -2.0, -3.0, 0.0, 0.0])]
)
def test_clamp_holds_values_and_lets_gradients_lead_back(sign, passed):
    image = torch.tensor([-0.3, 0.0, 0.4, 1.0, 1.7], requires_grad=True)
    clamped = clamp_with_way_back(image)
    assert torch.equal(clamped.detach(), image.detach().clamp(0, 1))
    (clamped * sign * torch.arange(1.0, 6)).sum().backward()
    assert torch.equal(image.grad, torch.tensor(passed))


def test_identity_loss_counts_same_site_samples_only():
    x = torch.zeros((3, 3, 4, 4))
    y = x + torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1, 1)
    assert float(identity_loss(y, x, torch.tensor([True, False, True]))) == pytest.approx(2.5)
    assert float(identity_loss(y, x, torch.tensor([False] * 3))) == 0


def test_bad_settings_are_named():
    x = taps(30)
    with pytest.raises(UsageError, match="layer"):
        anatomical_consistency(x, x, layers=(5,))
    with pytest.raises(UsageError, match="layer"):
        artefact_consistency(x, x, layers=(0,))
    with pytest.raises(UsageError, match="at least one layer"):
        artefact_consistency(x, x, layers=())
    with pytest.raises(UsageError, match="out of range"):
        artefact_consistency(x, x, keep=0.0)
