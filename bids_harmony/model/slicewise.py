"""Volumes through networks that translate one axial slice at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.devices import exact_convolutions, slices_per_pass

__all__ = ["crop_slices", "pad_slices", "translate_volume"]


def pad_slices(x: Tensor, multiple: int) -> Tensor:
    """Pad slices (..., H, W) with zeros on all sides to multiples of so many pixels."""
    height, width = (-n % multiple for n in x.shape[-2:])
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


def crop_slices(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Undo `pad_slices`: the middle of slices (..., H, W), of a shape."""
    top, left = ((have - want) // 2 for have, want in zip(x.shape[-2:], shape, strict=True))
    return x[..., top : top + shape[0], left : left + shape[1]]


@torch.inference_mode()
def translate_volume(
    network: nn.Module,
    data: np.ndarray,
    mask: np.ndarray,
    *,
    multiple: int,
    signed: bool,
    batch_size: int = 0,
    device: str = "cpu",
) -> np.ndarray:
    """Run a generator over the slices that hold brain.

    Parameters
    ----------
    network : Module
        (B, 1, H, W) to (B, 1, H, W), in evaluation mode, on `device`.
    data : (X, Y, Z) float32
        Scaled scan in [0, 1].
    mask : (X, Y, Z) bool
    multiple : int
        Sides of the network's slices are multiples of this many pixels.
    signed : bool
        The network's range is [-1, 1], not [0, 1].
    batch_size : int
        Slices per pass, 0 for what suits the device.
    device : str

    Returns
    -------
    (X, Y, Z) float32
        On the scale of `data`; 0 in slices without brain.
    """
    result = np.zeros(data.shape, dtype=np.float32)
    wanted = np.flatnonzero(mask.any(axis=(0, 1)))
    batch_size = batch_size or slices_per_pass(device)
    for start in range(0, len(wanted), batch_size):
        indices = wanted[start : start + batch_size]
        slices = np.ascontiguousarray(np.moveaxis(data[:, :, indices], 2, 0))
        x = pad_slices(torch.from_numpy(slices)[:, None].to(device), multiple)
        with exact_convolutions():
            y = network(2 * x - 1 if signed else x)
        y = crop_slices((y + 1) / 2 if signed else y, (data.shape[0], data.shape[1]))
        result[:, :, indices] = np.moveaxis(y[:, 0].cpu().numpy(), 0, 2)
    return result
