"""Several processes that train one network together: each works through its share of every batch.

    torchrun --nproc-per-node 2 -m bids_harmony BIDS OUT train

The first process prepares the scans and alone writes; the others wait for it. Gradients are summed
over all processes, so that training is that of one process with the same batch. Where ``torchrun``
did not start the program, a `Ranks` of one process costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bids_harmony.resources import started_together

__all__ = ["Ranks", "joined", "local_device"]

#: The others wait while the first prepares all scans of a dataset.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes
    ----------
    rank : int
        0 is the first.
    count : int
        How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the processes, in place.

        Parameters
        ----------
        tensors : sequence of tensors
            Of the same shapes in every process, on one device.
        """
        if self.count == 1 or not tensors:
            return
        # One message instead of hundreds.
        together = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(together)
        parts = together.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def from_first(self, value: Any) -> Any:
        """Give the first process's value to all."""
        if self.count == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held)
        return held[0]

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            dist.barrier()


def local_device(device: torch.device) -> torch.device:
    """Return the graphics card of this process where several share a machine, else `device`."""
    if device.type == "cuda" and started_together()[1] > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started, and leave them at the end.

    Parameters
    ----------
    device : torch.device
        Of this process: gloo on the processor, nccl on graphics cards.

    Yields
    ------
    Ranks
        Of one process, where ``RANK`` and ``WORLD_SIZE`` are not set.
    """
    if started_together()[1] == 1:
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        ranks = Ranks(dist.get_rank(), dist.get_world_size())
        yield ranks
        # A process that leaves while another still sends can end that one at its exit (seen once
        # in some hundred runs: "terminate called without an active exception").
        ranks.wait()
    finally:
        dist.destroy_process_group()
