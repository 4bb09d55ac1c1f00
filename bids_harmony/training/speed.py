"""How fast a training is, beside what the machine's convolutions could do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Speed", "StepClock", "convolution_rate", "count_gflop"]

#: A layer of middling size: maps, channels in and out.
_LAYER = ((8, 64, 64, 64), (64, 64, 3, 3))
_TRIES = 5


@dataclass(frozen=True)
class Speed:
    """Steps of a training and their arithmetic.

    Attributes
    ----------
    steps_per_second : float
    gflop_per_step : float
        Of convolutions and products, there and back, 10^9 operations.
    convolution_rate : float
        10^9 operations a second of a lone convolution in the same precision, with as many threads
        as work on a step.
    """

    steps_per_second: float
    gflop_per_step: float
    convolution_rate: float

    @property
    def gflop_per_second(self) -> float:
        """Arithmetic done, 10^9 operations a second."""
        return self.steps_per_second * self.gflop_per_step

    @property
    def share(self) -> float:
        """Of the rate of convolutions."""
        return self.gflop_per_second / self.convolution_rate

    def __str__(self) -> str:
        return (
            f"{self.steps_per_second:.2f} steps a second, {self.gflop_per_second:.0f} GFLOP/s, "
            f"{100 * self.share:.0f} % of the rate of convolutions here"
        )


class StepClock:
    """Steps a second since the first, which waits for its data."""

    def __init__(self) -> None:
        self._steps, self._start, self._last = -1, 0.0, 0.0

    def tick(self) -> None:
        """A step is done."""
        self._steps, self._last = self._steps + 1, time.monotonic()
        if self._steps == 0:
            self._start = self._last

    @property
    def steps_per_second(self) -> float:
        """Steps per second; 0 before the second step."""
        return self._steps / (self._last - self._start) if self._last > self._start else 0.0


def count_gflop(run: Callable[[], Any]) -> float:
    """Arithmetic of the convolutions and products of a call, 10^9 operations."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) * 1e-9


def convolution_rate(device: torch.device, *, half: bool) -> float:
    """Convolutions, 10^9 operations a second: the best of a few tries with torch's threads.

    Parameters
    ----------
    device : torch.device
    half : bool
        In bfloat16, not float32.
    """
    kind = torch.bfloat16 if half else torch.float32
    x, weight = (
        torch.ones(shape, dtype=kind, device=device).contiguous(memory_format=torch.channels_last)
        for shape in _LAYER
    )
    with torch.inference_mode():
        gflop = count_gflop(lambda: F.conv2d(x, weight, padding=1))
        seconds = []
        for _ in range(_TRIES):
            start = time.perf_counter()
            made = F.conv2d(x, weight, padding=1)
            # Waits for a card.
            float(made[0, 0, 0, 0])
            seconds.append(time.perf_counter() - start)
    return gflop / min(seconds)
