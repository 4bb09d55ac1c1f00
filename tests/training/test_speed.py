"""What a training says of its speed."""

import pytest
import torch

from bids_harmony.training.speed import Speed, StepClock, convolution_rate, count_gflop


def test_arithmetic_and_its_share_follow_from_the_steps():
    speed = Speed(steps_per_second=4.0, gflop_per_step=10.0, convolution_rate=200.0)
    assert speed.gflop_per_second == 40 and speed.share == 0.2
    assert str(speed) == ("4.00 steps a second, 40 GFLOP/s, 20 % of the rate of convolutions here")


def test_steps_are_counted_from_the_first_on(monkeypatch):
    times = iter([10.0, 10.5, 12.0])
    monkeypatch.setattr("bids_harmony.training.speed.time.monotonic", lambda: next(times))
    clock = StepClock()
    assert clock.steps_per_second == 0
    clock.tick()
    assert clock.steps_per_second == 0
    clock.tick()
    clock.tick()
    assert clock.steps_per_second == 1.0


def test_a_convolution_there_and_back_is_three_times_one():
    layer = torch.nn.Conv2d(3, 5, 3, padding=1)
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    once = 2e-9 * 2 * 3 * 5 * 9 * 64
    assert count_gflop(lambda: layer(x)) == pytest.approx(once)
    assert count_gflop(lambda: layer(x).sum().backward()) == pytest.approx(3 * once)


@pytest.mark.parametrize("half", [False, True])
def test_the_rate_of_convolutions_is_measured(half):
    assert convolution_rate(torch.device("cpu"), half=half) > 0
