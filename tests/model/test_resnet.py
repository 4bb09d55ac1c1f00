"""The residual generator: published size, shape, and an output without bounds."""

import pytest
import torch

from bids_harmony.exceptions import UsageError
from bids_harmony.model.resnet import ResNetGenerator


def test_as_many_parameters_as_published():
    with torch.device("meta"):
        network = ResNetGenerator()
    # 11.378 M with three channels in and out; one each here.
    saved = 2 * (2 * 64 * 49) + 2
    assert sum(p.numel() for p in network.parameters()) == 11_378_179 - saved


def test_output_is_a_slice_of_free_range():
    network = ResNetGenerator(2, 1).eval()
    with torch.no_grad():
        network.layers[-1].bias.fill_(5.0)
    y = network(torch.rand(2, 1, 20, 28))
    assert y.shape == (2, 1, 20, 28) and y.max() > 1


def test_blocks_are_added_to_what_they_see():
    network = ResNetGenerator(2, 1)
    block = next(m for m in network.layers if type(m).__name__ == "_Block")
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    x = torch.randn(1, 8, 5, 7)
    assert torch.equal(block(x), x)


def test_nothing_to_build():
    with pytest.raises(UsageError, match="1 block"):
        ResNetGenerator(4, 0)
