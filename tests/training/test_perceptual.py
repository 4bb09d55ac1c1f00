"""The perceptual distance: which features, and that gradients reach what was made."""

import pytest
import torch

from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.vgg import VGGTrunk
from bids_harmony.training.perceptual import PerceptualDistance


def test_the_stand_in_is_the_second_tap_of_the_encoder():
    encoder = load_encoder("random", widths=(2, 3, 2, 2))
    distance = PerceptualDistance(encoder)
    x = torch.rand(1, 1, 16, 20)
    assert torch.allclose(distance.features(x), encoder.features(x.expand(-1, 3, -1, -1))[1])
    assert not distance.published and distance.name == "random-0 relu2_1"


def test_of_a_vgg16_it_is_one_convolution_further():
    encoder = Encoder(VGGTrunk((2, 3, 2, 2), "vgg16"), name="vgg16-oxford", sha256="0")
    distance = PerceptualDistance(encoder)
    x = torch.rand(1, 1, 16, 16)
    tap = encoder.features(x.expand(-1, 3, -1, -1))[1]
    layer = encoder.trunk.convolutions[3]
    padded = torch.nn.functional.pad(tap, (1, 1, 1, 1), mode="reflect")
    assert torch.allclose(distance.features(x), layer(padded).relu())
    assert distance.published and distance.name == "vgg16-oxford relu2_2"


def test_distance_is_zero_for_equals_and_gradients_reach_what_was_made():
    distance = PerceptualDistance(load_encoder("random", widths=(2, 3, 2, 2)))
    made = torch.rand(1, 1, 16, 16, requires_grad=True)
    target = torch.rand(1, 1, 16, 16)
    assert float(distance(target, target)) == pytest.approx(0)
    distance(made, target).backward()
    assert made.grad.abs().sum() > 0
    assert all(p.grad is None for p in distance.parameters())
