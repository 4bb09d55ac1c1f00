"""What a graphics card makes is what a processor makes; it needs one to be seen."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from bids_harmony.imaging.texture import N_MAPS
from bids_harmony.methods.conditioned import Conditioned, predict_change
from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.model.slicewise import translate_volume

needs_card = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no graphics card on this machine"
)
#: As a share of the range of prepared scans, [0, 1].
WITHIN = 1e-4


def moved_network(**changes) -> IHFNetwork:
    """The default network's form, away from its start, where it changes nothing."""
    torch.manual_seed(0)
    network = IHFNetwork(preset("local", grid=4, **changes), 5).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


def conditioned(rng: np.random.Generator) -> Conditioned:
    mask = np.ones((90, 101, 12), bool)
    codes = rng.normal(size=(2, 12, 5)).astype(np.float32)
    maps = rng.normal(size=(2, 12, N_MAPS, 4, 4)).astype(np.float32)
    return Conditioned(
        rng.random(mask.shape).astype(np.float32), mask, codes[0], codes[1], maps[0], maps[1]
    )


@needs_card
def test_the_network_s_change_is_the_processor_s(rng):
    given = conditioned(rng)
    expected = predict_change(moved_network(), given)
    card = moved_network().to("cuda")
    found = predict_change(card, given, device="cuda")
    assert np.abs(expected).max() > 0.01
    assert np.abs(found - expected).max() < WITHIN
    assert np.array_equal(found, predict_change(card, given, device="cuda"))


@needs_card
def test_generators_make_what_they_make_on_the_processor(rng):
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 1, 3, padding=1).eval()
    data, mask = rng.random((64, 64, 5)).astype(np.float32), np.ones((64, 64, 5), bool)
    expected = translate_volume(network, data, mask, multiple=4, signed=False)
    found = translate_volume(
        network.to("cuda"), data, mask, multiple=4, signed=False, device="cuda"
    )
    assert np.abs(found - expected).max() < WITHIN


def test_slices_go_with_their_conditions_in_passes_of_any_number(rng):
    given = conditioned(rng)
    # A network that takes the way of a card on a processor, too.
    network = moved_network(recursion="hf")
    one, five, all_of_them = (
        predict_change(network, given, batch_size=number) for number in (1, 5, 0)
    )
    assert np.abs(one).max() > 0.01
    assert not np.allclose(one[3], one[4], atol=1e-3)
    assert np.abs(one - five).max() < 1e-5 and np.abs(one - all_of_them).max() < 1e-5


def test_a_pass_asks_nothing_back_and_leaves_nothing_on_the_processor(monkeypatch):
    """Tensors without content: whatever asks for one, or mixes it with another device, raises."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # not for such a device
    network = moved_network().to("meta")
    codes, maps = torch.empty(2, 4, 5), torch.empty(2, 4, N_MAPS, 4, 4)
    condition = Condition(codes[0], codes[1], maps[0], maps[1])
    slices = torch.empty(4, 3, 90, 101, device="meta")
    with torch.inference_mode():
        assert network.change(slices, condition.to("meta")).device.type == "meta"
        network.code_std = torch.ones(5)
        with pytest.raises(RuntimeError, match="device"):
            network.change(slices, condition.to("meta"))


def test_it_may_not_round_to_tf32_nor_choose_its_way(rng, monkeypatch):
    seen, change = [], IHFNetwork.change

    def watched(network, *inputs):
        cudnn = torch.backends.cudnn
        seen.append((cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark))
        return change(network, *inputs)

    monkeypatch.setattr(IHFNetwork, "change", watched)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    predict_change(moved_network(recursion="hf"), conditioned(rng))
    assert seen and set(seen) == {(False, True, False)}
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == before
