"""The U-Net of pix2pix: its published size, range, levels, and a slice's own statistics."""

import pytest
import torch

from bids_harmony.exceptions import UsageError
from bids_harmony.model.unet import UNet, levels_for


def size(network):
    return sum(p.numel() for p in network.parameters())


def test_as_many_parameters_as_published():
    with torch.device("meta"):
        network = UNet()
    assert network.levels == 8 and network.multiple == 256
    # 54.414 M with three channels in and out; one each here.
    saved = 2 * 64 * 16 + 2 * 128 * 16 + 2
    assert size(network) == 54_413_955 - saved


@pytest.mark.parametrize(
    ("shape", "levels"), [((197, 233), 8), ((300, 256), 8), ((98, 116), 7), ((40, 47), 6),
                          ((9, 9), 4), ((129, 20), 8), ((128, 128), 7)],
)  # fmt: skip
def test_smaller_slices_take_fewer_levels(shape, levels):
    assert levels_for(shape) == levels


def test_output_is_a_slice_between_minus_one_and_one():
    network = UNet(2, 5).eval()
    y = network(5 * torch.randn(2, 1, 32, 64))
    assert y.shape == (2, 1, 32, 64) and y.abs().max() <= 1 and y.std() > 0


def test_a_slice_does_not_depend_on_its_batch():
    network = UNet(2, 5).eval()
    x = torch.randn(3, 1, 32, 32)
    assert torch.allclose(network(x)[1:2], network(x[1:2]), atol=1e-6)


def test_dropout_is_in_the_three_innermost_layers_and_off_in_evaluation():
    network = UNet(2, 6)
    dropped = [any(isinstance(m, torch.nn.Dropout) for m in up.modules()) for up in network.up]
    assert dropped == [True, True, True, False, False, False]
    x = torch.randn(1, 1, 64, 64)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_too_few_levels():
    with pytest.raises(UsageError, match="4 levels"):
        UNet(2, 3)
