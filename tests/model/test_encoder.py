"""Encoder: topology, code, kinds of weights, errors."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bids_harmony.exceptions import DataError, MissingInput, UsageError
from bids_harmony.model import encoder as room
from bids_harmony.model import encoder_files
from bids_harmony.model.encoder import (
    VGG_WIDTHS,
    VGGTrunk,
    build_mri_encoder,
    load_encoder,
    save_mri_encoder,
)

from .conftest import images

WIDTHS = (4, 6, 8, 10)
FEATURES_16 = (0, 2, 5, 7, 10, 12, 14, 17)
FEATURES_19 = (0, 2, 5, 7, 10, 12, 14, 16, 19)
ADAIN_19 = (2, 5, 9, 12, 16, 19, 22, 25, 29)


def vgg_state(indices, pattern="features.{}", first=None):
    """Narrow VGG weights under published keys, with the first weight of a published file."""
    torch.manual_seed(0)
    trunk = VGGTrunk(WIDTHS, "vgg16" if len(indices) == 8 else "vgg19")
    state = {}
    for index, layer in zip(indices, trunk.convolutions, strict=True):
        state[pattern.format(index) + ".weight"] = layer.weight.detach().clone()
        state[pattern.format(index) + ".bias"] = layer.bias.detach().clone()
    if first is not None:
        state[pattern.format(indices[0]) + ".weight"][0, 0, 0, 0] = first
    return trunk, state


def test_taps_have_vgg_shapes():
    taps = build_mri_encoder()(images(2, 3, 37, 50))
    assert [tuple(tap.shape) for tap in taps] == [
        (2, 16, 37, 50),
        (2, 32, 19, 25),
        (2, 64, 10, 13),
        (2, 128, 5, 7),
    ]


@pytest.mark.parametrize(("layout", "count"), [("vgg16", 8), ("vgg19", 9)])
def test_trunk_is_trainable(layout, count):
    trunk = VGGTrunk(WIDTHS, layout)
    assert len(trunk.convolutions) == count
    sum(tap.mean() for tap in trunk(images(1, 3, 16, 16))).backward()
    assert all(parameter.grad is not None for parameter in trunk.parameters())


def test_border_is_reflected():
    trunk = VGGTrunk(WIDTHS)
    tap = trunk(torch.full((1, 3, 12, 12), 0.5))[0]
    # Zero padding would show at the border of a constant image.
    assert (tap - tap[..., 5:6, 5:6]).abs().max() < 1e-6


def test_small_and_wrong_images_are_refused():
    trunk = VGGTrunk(WIDTHS)
    trunk(images(1, 3, 9, 9))
    for shape in ((1, 3, 8, 12), (1, 1, 12, 12), (3, 12, 12)):
        with pytest.raises(DataError, match="cannot take this image"):
            trunk(images(*shape))
    with pytest.raises(UsageError):
        VGGTrunk((4, 6), "vgg16")


def test_full_encoder_has_a_code_of_1920():
    encoder = load_encoder("random", widths=VGG_WIDTHS)
    assert encoder.code_length == 1920
    assert encoder.code(images(1, 3, 16, 16)).shape == (1, 1920)


def test_encoder_is_fixed():
    encoder = load_encoder("random", widths=WIDTHS)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder.train().training
    assert not any(module.training for module in encoder.modules())


def test_gradient_passes_through_the_fixed_encoder():
    x = images(1, 3, 16, 16).requires_grad_()
    load_encoder("random", widths=WIDTHS).features(x)[-1].mean().backward()
    assert x.grad.abs().max() > 0


def test_code_is_means_then_deviations_of_each_tap():
    encoder, x = load_encoder("random", widths=WIDTHS), images(2, 3, 20, 24)
    expected = []
    for tap in encoder.features(x):
        expected += [tap.mean((2, 3)), (tap.var((2, 3), unbiased=False) + 1e-5).sqrt()]
    torch.testing.assert_close(encoder.code(x), torch.cat(expected, 1))


def test_random_encoder_is_seeded_and_calibrated():
    first, again = (load_encoder("random") for _ in range(2))
    x = images(2, 3, 32, 32)
    assert first.sha256 == again.sha256
    assert torch.equal(first.code(x), again.code(x))
    assert all(0.2 < tap.mean() < 5.0 for tap in first.features(x))


def test_mri_encoder_round_trip(tmp_path):
    trunk = build_mri_encoder()
    digest = save_mri_encoder(trunk, tmp_path / "mri.safetensors")
    encoder = load_encoder("mri", tmp_path / "mri.safetensors")
    x = images(1, 3, 16, 20)
    assert (encoder.name, encoder.sha256, encoder.code_length) == ("mri", digest, 480)
    assert torch.equal(encoder.features(x)[-1], trunk(x)[-1])


def test_shipped_encoder_must_have_the_recorded_hash(tmp_path, monkeypatch):
    file = tmp_path / "encoder_mri.safetensors"
    monkeypatch.setattr(room, "MRI_ENCODER_FILE", file)
    with pytest.raises(MissingInput, match=r"encoder_mri\.safetensors"):
        load_encoder("mri")
    digest = save_mri_encoder(build_mri_encoder(), file)
    monkeypatch.setattr(room, "MRI_ENCODER_SHA256", digest)
    assert load_encoder("mri").sha256 == digest
    monkeypatch.setattr(room, "MRI_ENCODER_SHA256", "0" * 64)
    with pytest.raises(DataError, match="sha256"):
        load_encoder("mri")


def test_missing_and_foreign_files_are_errors(tmp_path):
    with pytest.raises(MissingInput):
        load_encoder("vgg", tmp_path / "none.safetensors")
    with pytest.raises(UsageError, match="path"):
        load_encoder("vgg")
    with pytest.raises(UsageError, match="Unknown"):
        load_encoder("resnet")
    torch.save({"layer1.0.weight": torch.zeros(3, 3)}, tmp_path / "resnet.pth")
    with pytest.raises(DataError, match="layout"):
        load_encoder("vgg", tmp_path / "resnet.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"not a weights file")
    (tmp_path / "broken.pth").write_bytes(b"not a weights file")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    for name in ("broken.safetensors", "broken.pth", "module.pth"):
        with pytest.raises(DataError, match="cannot be read"):
            load_encoder("vgg", tmp_path / name)
    save_file({"layer.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="MR encoder"):
        load_encoder("mri", tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("indices", "first", "name"),
    [
        (FEATURES_16, 0.47998, "vgg16-oxford"),
        (FEATURES_16, -0.55373, "vgg16-torchvision"),
        (FEATURES_19, -0.053474, "vgg19-torchvision"),
    ],
)
def test_published_layouts_are_recognised(tmp_path, indices, first, name):
    trunk, state = vgg_state(indices, first=first)
    with torch.no_grad():
        trunk.convolutions[0].weight[0, 0, 0, 0] = first
    state["classifier.0.weight"] = torch.zeros(2, 2)
    torch.save(state, tmp_path / "vgg.pth")
    encoder = load_encoder("vgg", tmp_path / "vgg.pth")
    x = images(1, 3, 16, 16)
    if "oxford" in name:
        scaled = 255.0 * x - torch.tensor([123.68, 116.779, 103.939])[:, None, None]
    else:
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        scaled = (x - mean) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    assert encoder.name == name
    torch.testing.assert_close(encoder.features(x)[-1], trunk(scaled)[-1], rtol=1e-4, atol=1e-4)


def test_normalised_adain_file_brings_its_colour_layer(tmp_path):
    trunk, state = vgg_state(ADAIN_19, "{}")
    state["0.weight"], state["0.bias"] = torch.randn(3, 3, 1, 1), torch.randn(3)
    torch.save(state, tmp_path / "vgg_normalised.pth")
    encoder = load_encoder("vgg", tmp_path / "vgg_normalised.pth")
    x = images(1, 3, 16, 16)
    seen = nn.functional.conv2d(x, state["0.weight"], state["0.bias"])
    assert encoder.name == "vgg19-adain"
    torch.testing.assert_close(encoder.features(x)[-1], trunk(seen)[-1])


def test_unknown_values_have_no_scaling(tmp_path):
    _, state = vgg_state(FEATURES_16, first=0.123)
    torch.save(state, tmp_path / "tuned.pth")
    with pytest.raises(DataError, match="scaling"):
        load_encoder("vgg", tmp_path / "tuned.pth")


def test_real_oxford_file(oxford_file):
    encoder = load_encoder("vgg", oxford_file)
    assert (encoder.name, encoder.code_length) == ("vgg16-oxford", 1920)
    assert encoder.sha256.startswith("b459686d12473e47")
    # conv1_1 of the published network, its blue channel first in the original order.
    assert encoder.trunk.convolutions[0].weight[0, 2, 0, 0].item() == pytest.approx(
        0.42947057, rel=1e-3
    )
    means = [tap.mean().item() for tap in encoder.features(images(1, 3, 48, 40))]
    # Activations of the un-normalised network are tens to hundreds for inputs in 0..255.
    assert all(10.0 < mean < 1000.0 for mean in means)
    grey = encoder.code(torch.zeros(1, 3, 32, 32))
    assert torch.isfinite(grey).all() and grey.shape == (1, 1920)


def test_a_sound_file_that_finds_no_memory_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "sound.safetensors"
    save_file({"a": torch.zeros(1)}, path)

    def full(_):
        raise MemoryError("Cannot allocate memory (os error 12)")

    monkeypatch.setattr(encoder_files, "load_file", full)
    with pytest.raises(MemoryError):
        encoder_files.read_tensors(path)
