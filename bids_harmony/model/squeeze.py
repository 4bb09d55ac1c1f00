"""Space-to-depth and back: exact permutations of the pixels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["squeeze", "unsqueeze"]


def squeeze(x: Tensor, factor: int = 2) -> Tensor:
    """Move each `factor` x `factor` patch into channels.

    Parameters
    ----------
    x : Tensor, (B, C, H, W)
        H and W are multiples of `factor`.
    factor : int
        1 returns `x` itself.

    Returns
    -------
    Tensor, (B, C * factor**2, H / factor, W / factor)
    """
    return x if factor == 1 else F.pixel_unshuffle(x, factor)


def unsqueeze(x: Tensor, factor: int = 2) -> Tensor:
    """Undo `squeeze`: (B, C * factor**2, h, w) to (B, C, h * factor, w * factor)."""
    return x if factor == 1 else F.pixel_shuffle(x, factor)
