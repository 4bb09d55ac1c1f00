"""Model folders: round trip, damage, missing parts."""

from __future__ import annotations

import json

import pytest
import torch

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.model.checkpoint import load_members, load_model, save_model
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


@pytest.fixture
def other(network) -> IHFNetwork:
    """A further member: the same configuration, other weights and statistics."""
    made = randomise(IHFNetwork(network.config, CODE_LENGTH))
    made.set_code_statistics(images(CODE_LENGTH) * 1e-6, images(CODE_LENGTH) + 1.5)
    return made


@pytest.mark.parametrize("half", [False, True])
def test_members_come_back_in_order(tmp_path, network, other, half):
    save_model(tmp_path, network, ENCODER, half=half, others=[other])
    found, metadata = load_members(tmp_path)
    assert metadata["members"] == len(found) == 2
    for member, written in zip(found, (network, other), strict=True):
        expected = written.state_dict()
        for name, value in member.state_dict().items():
            exact = not half or name in ("code_mean", "code_std")
            as_kept = expected[name] if exact else expected[name].half().float()
            assert torch.equal(value, as_kept), name
    first = load_model(tmp_path)[0].state_dict()
    assert all(torch.equal(first[name], v) for name, v in found[0].state_dict().items())


def test_a_model_of_before_has_one_member(tmp_path, network):
    save_model(tmp_path, network, ENCODER)
    file = tmp_path / METADATA_FILE
    known = json.loads(file.read_text())
    assert known.pop("members") == 1
    file.write_text(json.dumps(known))
    assert len(load_members(tmp_path)[0]) == 1


@pytest.mark.parametrize("members", [1, 3, 0, -1, 9, "2", 2.0, None])
def test_members_that_are_not_there_are_refused(tmp_path, network, other, members):
    save_model(tmp_path, network, ENCODER, others=[other])
    file = tmp_path / METADATA_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "members": members}))
    with pytest.raises(DataError, match=r"model\."):
        load_members(tmp_path)


def test_members_of_another_kind_are_refused(tmp_path, network):
    wider = IHFNetwork(narrow("paper"), CODE_LENGTH)
    with pytest.raises(DataError, match="more than their weights"):
        save_model(tmp_path, network, ENCODER, others=[wider])
    assert not (tmp_path / METADATA_FILE).exists()
