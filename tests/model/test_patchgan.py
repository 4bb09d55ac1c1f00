"""The PatchGAN: 70 x 70 pixels per score, published size, and the start of the weights."""

import pytest
import torch
from torch import nn

from bids_harmony.model.patchgan import PatchGAN, start_normal


def test_a_score_looks_at_70_pixels():
    torch.manual_seed(0)
    network = PatchGAN(2)
    # The normalization looks at the whole slice; the convolutions are what is counted.
    for place, layer in enumerate(network.layers):
        if isinstance(layer, nn.InstanceNorm2d):
            network.layers[place] = nn.Identity()
    image = torch.randn(1, 1, 128, 128, requires_grad=True)
    scores = network(torch.randn(1, 1, 128, 128), image)
    assert scores.shape == (1, 1, 14, 14)
    scores[0, 0, 7, 7].backward()
    rows, columns = torch.nonzero(image.grad[0, 0], as_tuple=True)
    assert rows.max() - rows.min() + 1 == 70 and columns.max() - columns.min() + 1 == 70


@pytest.mark.parametrize(("affine", "size"), [(True, 2_764_609), (False, 2_763_713)])
def test_as_many_parameters_as_published(affine, size):
    # With three channels each for source and image: 2.769 M; four channels fewer here.
    network = PatchGAN(64, affine=affine)
    assert sum(p.numel() for p in network.parameters()) == size
    assert abs(size + 4 * 64 * 16 - 2.769e6) < 2e3


def test_scores_see_source_and_image():
    network = PatchGAN(2)
    x, y = torch.randn(2, 1, 1, 32, 32)
    assert not torch.equal(network(x, y), network(y, x))


def test_weights_start_small_and_seeded():
    network = PatchGAN(16)
    torch.manual_seed(3)
    start_normal(network)
    convolution, norm = network.layers[2], network.layers[3]
    assert abs(convolution.weight.std().item() - 0.02) < 0.002
    assert abs(norm.weight.mean().item() - 1) < 0.02 and not norm.bias.any()
    assert not network.layers[0].bias.any()
    again = PatchGAN(16)
    torch.manual_seed(3)
    start_normal(again)
    assert torch.equal(again.layers[2].weight, convolution.weight)
