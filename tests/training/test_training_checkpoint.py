"""Checkpoints: everything comes back to the bit, and only to the training it belongs to."""

import pytest
import torch
from torch import nn

from bids_harmony.training.training_checkpoint import Progress, TrainingCheckpoint


def trained():
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    module(torch.rand(4, 3)).sum().backward()
    optimizer.step()
    return module, optimizer


def test_a_checkpoint_comes_back_to_the_bit(tmp_path):
    module, optimizer = trained()
    progress = Progress(step=1, seconds=2.5)
    progress.validated(0.5, module)
    progress.validated(0.75, module)
    progress.average_in(module, 0.5)
    TrainingCheckpoint(tmp_path, "s", "a").save(module, optimizer, progress)
    other = nn.Linear(3, 2)
    empty = torch.optim.Adam(other.parameters(), lr=0.1)
    found = TrainingCheckpoint(tmp_path, "s", "a").load(other, empty)
    assert (found.step, found.seconds, found.best, found.stale) == (1, 2.5, 0.5, 1)
    assert torch.equal(found.best_weights["weight"], module.weight)
    assert torch.equal(found.average["weight"], module.weight)
    assert torch.equal(other.weight, module.weight)
    saved, loaded = (o.state_dict()["state"] for o in (optimizer, empty))
    assert saved.keys() == loaded.keys()
    for number, state in saved.items():
        assert all(torch.equal(state[k], loaded[number][k]) for k in state)


def test_the_best_weights_are_a_copy():
    module, _ = trained()
    progress = Progress()
    progress.validated(1.0, module)
    with torch.no_grad():
        module.weight.zero_()
    assert progress.best_weights["weight"].any()


def test_the_average_follows_the_weights_by_its_decay_and_faster_at_first():
    module = nn.Linear(1, 1, bias=False)
    progress = Progress()
    values = [1.0, 2.0, 4.0, 8.0]
    for step, value in enumerate(values, start=1):
        with torch.no_grad():
            module.weight.fill_(value)
        progress.step = step
        progress.average_in(module, 0.35)
    # 3 / 12 after two steps, 4 / 13 after three, then 0.35; the first is the weights themselves.
    expected = values[0]
    for value, decay in zip(values[1:], (3 / 12, 4 / 13, 0.35), strict=True):
        expected = decay * expected + (1 - decay) * value
    assert float(progress.average["weight"]) == pytest.approx(expected)


def test_no_average_is_kept_that_is_not_asked_for():
    progress = Progress(step=1)
    progress.average_in(nn.Linear(1, 1), 0.0)
    assert progress.average == {}


def test_without_a_checkpoint_or_with_another_trainings_nothing_is_loaded(tmp_path):
    module, optimizer = trained()
    TrainingCheckpoint(tmp_path, "s", "a").save(module, optimizer, Progress(step=4))
    other = nn.Linear(3, 2)
    before = other.weight.clone()
    empty = torch.optim.Adam(other.parameters())
    for stage, fingerprint in (("s", "b"), ("t", "a")):
        assert TrainingCheckpoint(tmp_path, stage, fingerprint).load(other, empty).step == 0
    assert torch.equal(other.weight, before)
