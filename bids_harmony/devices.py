"""Where networks run: a processor or a graphics card, and how many steps share a card."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.exceptions import UsageError

if TYPE_CHECKING:
    import torch

__all__ = [
    "card_files",
    "device_name",
    "exact_convolutions",
    "resolve_device",
    "slices_per_pass",
    "steps_on_card",
]

# A process's own share of a card (0.5 GiB) and 32 slices of 1 mm: 0.9 GiB in the shipped network,
# 2.9 GiB in the widest preset.
_MIB_PER_STEP = 4096


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a torch device that exists.

    Parameters
    ----------
    name : str
        ``auto`` takes the first graphics card when there is one, else the processor.

    Returns
    -------
    torch.device

    Raises
    ------
    UsageError
        When a graphics card is asked for by name and is not there: silently computing for hours on
        the processor is not what was asked.
    """
    import torch

    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind != "cuda" or (index and not (index.isascii() and index.isdigit())):
        raise UsageError(
            "Unknown device", where="device", expected="auto, cpu, cuda or cuda:N", got=name
        )
    n_cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    number = int(index or 0)
    if number >= n_cards:
        raise UsageError(
            "The graphics card is not there",
            where="device",
            got=f"{name}; cards found: {n_cards}",
            hint="Use device auto or cpu, or give the container its card (--gpus all, --nv).",
        )
    return torch.device(f"cuda:{number}")


def device_name(name: str) -> str:
    """As `resolve_device`, as text; torch is not loaded where there can be no graphics card.

    On Linux every driver of cards that torch can use has its file in ``/dev``: NVIDIA's, that of
    its small boards, that of Windows' own Linux, and AMD's.
    """
    if name == "cpu" or (name == "auto" and sys.platform == "linux" and not card_files()):
        return "cpu"
    return str(resolve_device(name))


def card_files() -> list[str]:
    """What drivers of graphics cards have in ``/dev``."""
    patterns = ("nvidia*", "nvhost*", "nvmap", "dxg", "kfd")
    return [str(path) for pattern in patterns for path in Path("/dev").glob(pattern)]


def slices_per_pass(device: str) -> int:
    """How many 2.5-D slices a network takes at once, where nobody says.

    On a processor few are faster than many: they stay in its cache, and take less memory. On a
    card every operation is one launch, whatever the number of slices.
    """
    return 4 if device == "cpu" else 32


def steps_on_card(device: str) -> int:
    """How many steps of a run may use a card side by side; its memory bounds them.

    A card computes for milliseconds of a step that reads, resamples, compares and packs for
    seconds: it waits less for several.

    Parameters
    ----------
    device : str
        "cuda:N".

    Returns
    -------
    int
        At least 1.
    """
    import torch

    total_mib = torch.cuda.get_device_properties(device).total_memory // 2**20
    return max(1, total_mib // _MIB_PER_STEP)


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Let a graphics card convolve in single precision, the same way every time.

    By default it may round what it multiplies to TF32, ten bits of mantissa, and take whichever
    way is fastest today. A processor is not concerned.
    """
    import torch

    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield
