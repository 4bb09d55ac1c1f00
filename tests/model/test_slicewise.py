"""Slices through a network and back: padding, range, order, and slices without brain."""

import numpy as np
import pytest
import torch
from torch import nn

from bids_harmony.model.slicewise import crop_slices, pad_slices, translate_volume


def test_padding_is_undone():
    x = torch.randn(2, 1, 9, 14)
    padded = pad_slices(x, 8)
    assert padded.shape == (2, 1, 16, 16) and padded.sum() == pytest.approx(float(x.sum()), 1e-4)
    assert torch.equal(crop_slices(padded, (9, 14)), x)
    assert pad_slices(torch.zeros(1, 8, 16), 8).shape == (1, 8, 16)


class Remember(nn.Module):
    """Identity that keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return x


@pytest.mark.parametrize("signed", [True, False])
def test_an_identity_gives_the_volume_back(rng, signed):
    mask = np.zeros((9, 11, 7), bool)
    mask[2:6, 3:8, 1:6] = True
    data = np.where(mask, rng.random(mask.shape), 0).astype(np.float32)
    network = Remember()
    result = translate_volume(network, data, mask, multiple=8, signed=signed, batch_size=2)
    assert np.allclose(result, data, atol=1e-6) and result.dtype == np.float32
    shown = torch.cat(network.seen)
    assert shown.shape == (5, 1, 16, 16)  # Only slices that hold brain.
    assert shown.min() == (-1 if signed else 0)
