"""The shipped weights: fitting where they fit, refused where they were changed."""

import shutil

import pytest
import torch

from bids_harmony.exceptions import DataError
from bids_harmony.model.checkpoint import load_model
from bids_harmony.model.description import WEIGHTS_FILE
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
    shutil.copytree(start.SHIPPED_MODEL, tmp_path / "model")
    weights_file = tmp_path / "model" / WEIGHTS_FILE
    content = bytearray(weights_file.read_bytes())
    content[-1] ^= 1
    weights_file.write_bytes(content)
    network = IHFNetwork(preset("local"), encoder.code_length)
    monkeypatch.setattr(start, "SHIPPED_MODEL", tmp_path / "model")
    with pytest.raises(DataError, match="not those that the model describes"):
        start.read_start(network, encoder)


def test_other_weights_in_the_shipped_place_are_refused(encoder, tmp_path, monkeypatch):
    network = IHFNetwork(preset("local"), encoder.code_length)
    start.write_shipped(network, encoder, {}, {}, tmp_path)
    monkeypatch.setattr(start, "SHIPPED_MODEL", tmp_path)
    with pytest.raises(DataError, match="not those this version was made with"):
        start.read_start(network, encoder)


def test_writing_and_reading_keeps_half_precision_and_code_statistics(
    encoder, tmp_path, monkeypatch
):
    torch.manual_seed(3)
    network = IHFNetwork(preset("local"), encoder.code_length)
    statistics = torch.randn(encoder.code_length) * 1e-6
    network.set_code_statistics(statistics, statistics.abs())
    digest = start.write_shipped(network, encoder, {}, {"command": "none"}, tmp_path)
    monkeypatch.setattr(start, "SHIPPED_MODEL", tmp_path)
    monkeypatch.setattr(start, "SHIPPED_SHA256", digest)
    copy = IHFNetwork(preset("local"), encoder.code_length)
    assert start.read_start(copy, encoder)
    assert torch.allclose(weights(copy), weights(network), rtol=1e-3, atol=1e-6)
    assert torch.equal(copy.code_mean, network.code_mean)
    assert load_model(tmp_path)[1]["extra"]["command"] == "none"
