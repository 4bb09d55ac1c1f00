"""Where networks run, and how much of a card a step may ask for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bids_harmony import devices
from bids_harmony.devices import device_name, resolve_device, slices_per_pass, steps_on_card
from bids_harmony.exceptions import UsageError


def test_device_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="not there"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(resolve_device("auto")) == "cuda:0"
    assert str(resolve_device("cuda:1")) == "cuda:1"
    with pytest.raises(UsageError, match="cards found: 2"):
        resolve_device("cuda:2")
    with pytest.raises(UsageError):
        resolve_device("tpu")


def test_torch_is_asked_for_cards_only_where_a_driver_is(monkeypatch):
    monkeypatch.setattr(devices.sys, "platform", "linux")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "card_files", lambda: [])
    assert (device_name("auto"), device_name("cpu")) == ("cpu", "cpu")
    assert device_name("cuda:0") == "cuda:0"
    monkeypatch.setattr(devices, "card_files", lambda: ["/dev/nvidia0"])
    assert device_name("auto") == "cuda:0"
    monkeypatch.setattr(devices, "card_files", lambda: [])
    monkeypatch.setattr(devices.sys, "platform", "win32")
    assert device_name("auto") == "cuda:0"


def test_a_card_takes_more_slices_at_once_than_a_processor():
    assert 1 <= slices_per_pass("cpu") < slices_per_pass("cuda:0")


@pytest.mark.parametrize(("gib", "steps"), [(2, 1), (8, 2), (79.1, 19)])
def test_the_memory_of_a_card_bounds_the_steps_that_share_it(monkeypatch, gib, steps):
    asked = []

    def properties(device):
        asked.append(device)
        return SimpleNamespace(total_memory=int(gib * 2**30))

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    assert steps_on_card("cuda:1") == steps
    assert asked == ["cuda:1"]
