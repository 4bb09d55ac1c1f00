"""The loop of generator and discriminator: who is trained, seeds, resume, limits, divergence."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bids_harmony.exceptions import DataError
from bids_harmony.model.patchgan import PatchGAN, start_normal
from bids_harmony.training.adversarial import AdversarialSchedule, fit_adversarial


class Gain(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        return self.dropout(self.gain * x)


def draw(step):
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(step))
    return x, 2 * x


def distance(made, target):
    loss = F.l1_loss(made, target)
    return 10 * loss, {"l1": float(loss.detach())}


def train(path, steps=6, seed=0, fingerprint="a", draw=draw, watch=None, **schedule):
    torch.manual_seed(1)
    networks = Gain(), PatchGAN(2)
    start_normal(networks[1])
    before = [p.detach().clone() for p in networks[1].parameters()]
    rows = fit_adversarial(
        *networks, draw, distance,
        AdversarialSchedule(steps, learning_rate=0.01, **schedule), path / "x.safetensors",
        least_squares=False, seed=seed, fingerprint=fingerprint, watch=watch,
    )  # fmt: skip
    return networks, before, rows


def weights(networks):
    return torch.cat([p.detach().ravel() for n in networks for p in n.parameters()])


def test_both_networks_learn(tmp_path):
    (generator, discriminator), before, rows = train(tmp_path, steps=30)
    assert generator.gain.item() > 1.1 and len(rows) == 30
    assert not generator.training
    after = list(discriminator.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert {"step", "adversarial", "discriminator", "l1"} == set(rows[0])


def test_the_rate_is_constant_then_falls(tmp_path, monkeypatch):
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *a: (rates.append(self.param_groups[0]["lr"]), step(self, *a))[1],
    )
    train(tmp_path, steps=8)
    assert rates[::2] == pytest.approx([0.01] * 5 + [0.0075, 0.005, 0.0025])


def test_seeds_reproduce_and_leave_the_callers_randomness_alone(tmp_path):
    runs = []
    for number, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        runs.append(weights(train(folder, seed=seed)[0]))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    torch.manual_seed(7)
    Gain(), PatchGAN(2)
    torch.manual_seed(1)
    train(tmp_path, steps=2)
    state = torch.get_rng_state()
    train(tmp_path / "0", steps=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_run_that_goes_on_gives_the_bits_of_one_that_was_not_stopped(tmp_path):
    whole = train(tmp_path, checkpoint_seconds=0.0)[0]
    (tmp_path / "x.safetensors").unlink()

    def stop(step):
        if step == 3:
            raise KeyboardInterrupt
        return draw(step)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, draw=stop, checkpoint_seconds=0.0)
    seen = []
    networks, _, rows = train(tmp_path, draw=lambda s: seen.append(s) or draw(s))
    assert seen == [3, 4, 5] and len(rows) == 6
    assert torch.equal(weights(networks), weights(whole))


def test_a_checkpoint_of_another_training_is_left(tmp_path):
    train(tmp_path)
    seen = []
    train(tmp_path, fingerprint="b", draw=lambda s: seen.append(s) or draw(s))
    assert seen == list(range(6))


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(tmp_path)
    file = tmp_path / "x.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot be read.*x\.safetensors"):
        train(tmp_path)


def test_who_watches_sees_every_step_and_changes_nothing(tmp_path):
    (tmp_path / "watched").mkdir()
    seen = []

    def watch(step, generator):
        generator.eval()
        seen.append((step, generator.gain.item()))
        generator.train()

    watched = train(tmp_path / "watched", watch=watch)[0]
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1][1] == watched[0].gain.item() != seen[0][1]
    assert torch.equal(weights(watched), weights(train(tmp_path)[0]))


def test_time_is_a_limit(tmp_path):
    assert train(tmp_path, steps=10**6, max_seconds=0.0)[2] == []


def test_divergence_is_named(tmp_path):
    with pytest.raises(DataError, match=r"diverged.*step 0"):
        train(tmp_path, draw=lambda step: (torch.full((1, 1, 32, 32), math.nan),) * 2)
