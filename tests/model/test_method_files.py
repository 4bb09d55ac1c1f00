"""Folders of fitted methods: what is written comes back, and what does not belong is named."""

import json

import pytest
import torch

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.model.description import METADATA_FILE, WEIGHTS_FILE
from bids_harmony.model.method_files import read_method, write_method


@pytest.fixture
def folder(tmp_path):
    write_method(tmp_path, "cgan", {"0.a": torch.arange(3.0)}, {"version": "1"})
    return tmp_path


def test_what_is_written_comes_back(folder):
    tensors, metadata = read_method(folder, "cgan")
    assert torch.equal(tensors["0.a"], torch.arange(3.0))
    assert metadata["method"] == "cgan" and metadata["extra"] == {"version": "1"}


def test_a_method_without_tensors_writes_no_weights(tmp_path):
    assert write_method(tmp_path, "none", {}, {})["weights"] is None
    assert not (tmp_path / WEIGHTS_FILE).exists()


def test_another_method_is_named(folder):
    with pytest.raises(DataError, match=r"another method.*simix.*cgan"):
        read_method(folder, "simix")
    (folder / METADATA_FILE).write_text(json.dumps({"format": 1, "network": {}}))
    with pytest.raises(DataError, match="Got: ihf"):
        read_method(folder, "cgan")


def test_missing_and_damaged_files(folder, tmp_path_factory):
    with pytest.raises(MissingInput, match="--method cgan"):
        read_method(tmp_path_factory.mktemp("empty"), "cgan")
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="not those that the model describes"):
        read_method(folder, "cgan")
    (folder / METADATA_FILE).write_text("[]")
    with pytest.raises(DataError, match="cannot be read"):
        read_method(folder, "cgan")
