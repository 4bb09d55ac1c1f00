"""How long, how fast and in what precision a stage is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and in what precision.

    Attributes
    ----------
    steps : int
        Optimizer steps of the whole stage.
    learning_rate : float
        Reached after a short warm-up; falls to 0 along a cosine. Fusion logits take ten times as
        much.
    max_seconds : float
        Stop early, cleanly, when they are spent; infinity for no limit. The cosine then follows
        the clock where that is ahead of the steps, so results depend on the machine's speed.
    clip : float
        Largest global gradient norm.
    accumulate : int
        Parts that a process works through its batch in: less memory, the same result but for
        rounding.
    precision : {"float32", "bf16"}
        ``bf16`` for convolutions and linear layers; couplings, statistics and losses stay in
        float32.
    side_by_side : int
        Parts that are worked on at the same time on a processor, each by a thread with its share
        of torch's threads. Does not change the result.
    average : float
        Decay a step of a moving average of the weights, faster at first: what validation measures
        and the network ends with. 0 for none.
    validate_every : int
        Steps between validations.
    patience : int
        Stop after so many validations without a better one; 0 for never.
    checkpoint_every : int
        Steps.
    """

    steps: int
    learning_rate: float
    max_seconds: float = math.inf
    clip: float = 1.0
    accumulate: int = 1
    precision: str = "float32"
    side_by_side: int = 1
    average: float = 0.0
    validate_every: int = 50
    patience: int = 0
    checkpoint_every: int = 50
