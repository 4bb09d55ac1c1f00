"""The shipped weights: fitting where they fit, refused where they were changed."""

import pytest
import torch

from bids_harmony.exceptions import DataError
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.training import start


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mri")


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_shipped_weights_fill_the_default_network(encoder):
    network = IHFNetwork(preset("local"), encoder.code_length)
    before = weights(network).clone()
    assert start.read_start(network, encoder)
    assert not torch.equal(weights(network), before)
    assert torch.isfinite(weights(network)).all()


def test_another_preset_is_left_alone(encoder):
    network = IHFNetwork(preset("flat"), encoder.code_length)
    before = weights(network).clone()
    assert not start.read_start(network, encoder)
    assert torch.equal(weights(network), before)


def test_a_changed_preset_is_left_alone(encoder):
    network = IHFNetwork(preset("local", relative=False), encoder.code_length)
    assert not start.read_start(network, encoder)


def test_another_encoder_is_left_alone():
    other = load_encoder("random", widths=(16, 32, 64, 128))
    network = IHFNetwork(preset("local"), other.code_length)
    assert not start.read_start(network, other)


def test_changed_weights_are_refused(encoder, tmp_path, monkeypatch):
    content = bytearray(start.START_FILE.read_bytes())
    content[-1] ^= 1
    (tmp_path / "start.safetensors").write_bytes(content)
    monkeypatch.setattr(start, "START_FILE", tmp_path / "start.safetensors")
    with pytest.raises(DataError, match="not those this version was made with"):
        start.read_start(IHFNetwork(preset("local"), encoder.code_length), encoder)


def test_writing_and_reading_keeps_half_precision(encoder, tmp_path, monkeypatch):
    torch.manual_seed(3)
    network = IHFNetwork(preset("local"), encoder.code_length)
    digest = start.write_start(network, encoder, tmp_path / "w.safetensors")
    monkeypatch.setattr(start, "START_FILE", tmp_path / "w.safetensors")
    monkeypatch.setattr(start, "START_SHA256", digest)
    copy = IHFNetwork(preset("local"), encoder.code_length)
    assert start.read_start(copy, encoder)
    assert torch.allclose(weights(copy), weights(network), rtol=1e-3, atol=1e-6)
