"""Weights that are damaged or do not fit are named with their file."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from bids_harmony.exceptions import DataError
from bids_harmony.io.tensors import build, fill, parse_tensors, read_described

WHERE = Path("some/weights.safetensors")


def test_weights_fill_a_module():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    fill(second, parse_tensors(save(first.state_dict()), WHERE), WHERE)
    assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize("content", [b"", b"\x00" * 20, save({"a": torch.zeros(9)})[:40]])
def test_damaged_bytes(content):
    with pytest.raises(DataError, match=r"cannot be read.*weights\.safetensors"):
        parse_tensors(content, WHERE)


def test_only_the_file_that_was_described_is_read(tmp_path):
    file = tmp_path / "weights.safetensors"
    for content, message in (
        (b"other", r"not those that the model describes.*weights\.safetensors"),
        (b"", r"cannot be read.*weights\.safetensors"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_described(file, hashlib.sha256(b"").hexdigest())
    file.write_bytes(save({"a": torch.ones(2)}))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert torch.equal(read_described(file, digest)["a"], torch.ones(2))


@pytest.mark.parametrize(
    "state", [{}, {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, nn.PReLU().state_dict()]
)
def test_weights_of_another_network(state):
    with pytest.raises(DataError, match=r"do not fit.*weights\.safetensors"):
        fill(nn.Linear(2, 2), state, WHERE)


def test_a_module_of_the_described_size_is_made_and_filled():
    wanted = nn.Linear(3, 2)
    made = build(lambda: nn.Linear(3, 2), wanted.state_dict(), WHERE)
    assert torch.equal(made.weight, wanted.weight) and torch.equal(made.bias, wanted.bias)


def test_a_module_of_another_size_is_never_made():
    places = []

    def make():
        module = nn.Linear(4, 2)
        places.append(module.weight.device.type)
        return module

    with pytest.raises(DataError, match=r"do not fit the network \[some/weights") as caught:
        build(make, nn.Linear(3, 2).state_dict(), WHERE)
    assert places == ["meta"]
    assert "Expected: weight (2, 4). Got: weight (2, 3)." in str(caught.value)
    with pytest.raises(DataError, match=r"Expected: bias \(2,\)\. Got: bias not there"):
        build(lambda: nn.Linear(3, 2), {"weight": torch.zeros(2, 3)}, WHERE)
    with pytest.raises(DataError, match=r"Expected: more not there\. Got: more \(1,\)"):
        build(
            lambda: nn.Linear(3, 2),
            {**nn.Linear(3, 2).state_dict(), "more": torch.zeros(1)},
            WHERE,
        )


@pytest.mark.parametrize("size", [-1, "wide", None])
def test_a_network_that_cannot_be_built_is_told(size):
    with pytest.raises(DataError, match=r"cannot be built \[some\].*Error: "):
        build(lambda: nn.Linear(3, size), {}, WHERE)


def test_a_library_without_memory_is_told_as_that(monkeypatch, tmp_path):
    """What pyo3 raises is no `Exception`."""

    class PanicException(BaseException):
        pass

    def load(content):
        raise PanicException("PyObject pointer is null")

    monkeypatch.setattr("bids_harmony.io.tensors.load", load)
    with pytest.raises(MemoryError, match="weights"):
        parse_tensors(b"", tmp_path / "weights")

    def stopped(content):
        raise KeyboardInterrupt

    monkeypatch.setattr("bids_harmony.io.tensors.load", stopped)
    with pytest.raises(KeyboardInterrupt):
        parse_tensors(b"", tmp_path / "weights")
