"""Model folders: round trip, damage, missing parts."""

from __future__ import annotations

import json

import pytest
import torch

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.model.checkpoint import load_model, save_model
from bids_harmony.model.description import METADATA_FILE, WEIGHTS_FILE
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.network import IHFNetwork

from .conftest import CODE_LENGTH, condition, images, narrow, randomise

ENCODER = {"name": "random-0", "sha256": "ab" * 32}


@pytest.fixture
def network() -> IHFNetwork:
    torch.manual_seed(0)
    made = randomise(IHFNetwork(narrow("local"), CODE_LENGTH))
    made.set_code_statistics(images(CODE_LENGTH), images(CODE_LENGTH) + 0.5)
    return made


@pytest.mark.parametrize("name", ["local", "paper"])
def test_round_trip(tmp_path, name):
    network = randomise(IHFNetwork(narrow(name), CODE_LENGTH))
    x = images(2, 3, 20, 18)
    network.calibrate([x])
    written = save_model(tmp_path / "models", network, ENCODER, {"seed": 3})
    loaded, metadata = load_model(tmp_path / "models")
    given = condition(network.config, 2)
    assert torch.equal(loaded(x, given), network(x, given))
    assert loaded.config == network.config and not loaded.training
    assert metadata == written
    assert metadata["extra"] == {"seed": 3}
    assert metadata["encoder"] == {**ENCODER, "code_length": CODE_LENGTH}
    assert sorted(file.name for file in (tmp_path / "models").iterdir()) == [
        METADATA_FILE,
        WEIGHTS_FILE,
    ]


def test_same_network_gives_the_same_bytes(tmp_path, network):
    for folder in ("a", "b"):
        save_model(tmp_path / folder, network, ENCODER)
    for file in (METADATA_FILE, WEIGHTS_FILE):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_encoder_must_fit(tmp_path, network):
    with pytest.raises(DataError, match="code length 10"):
        save_model(tmp_path, network, load_encoder("random", widths=(1, 2, 3, 4)))
    with pytest.raises(DataError, match="sha256"):
        save_model(tmp_path, network, {"name": "x"})


def test_damaged_weights_are_noticed(tmp_path, network):
    save_model(tmp_path, network, ENCODER)
    file = tmp_path / WEIGHTS_FILE
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.safetensors.*sha256"):
        load_model(tmp_path)


@pytest.mark.parametrize("missing", [METADATA_FILE, WEIGHTS_FILE])
def test_missing_file_is_named(tmp_path, network, missing):
    save_model(tmp_path, network, ENCODER)
    (tmp_path / missing).unlink()
    with pytest.raises(MissingInput, match=missing):
        load_model(tmp_path)


def test_unreadable_descriptions(tmp_path, network):
    save_model(tmp_path, network, ENCODER)
    file = tmp_path / METADATA_FILE
    good = json.loads(file.read_text())
    wider = {**good, "network": {**good["network"], "hidden": [7, 7]}}
    foreign = {**good, "network": {**good["network"], "depth": 3}}
    without = {key: value for key, value in good.items() if key != "weights"}
    for text in ("{", "[]", "3", *(json.dumps(t) for t in (wider, foreign, without))):
        file.write_text(text)
        with pytest.raises(DataError):
            load_model(tmp_path)
    file.write_text(json.dumps({**good, "format": 99}))
    with pytest.raises(DataError, match="version of the package"):
        load_model(tmp_path)
