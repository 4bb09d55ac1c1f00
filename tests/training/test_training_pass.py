"""The pass for training: `IHFNetwork.change` and its gradients, in another order of memory."""

import pytest
import torch

from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.training.training_pass import TrainingPass, change_with_gradients

SMALL = {"hidden": (4, 6), "head_channels": 4, "embedding": 8, "projection": (8, 8),
         "map_channels": 4}  # fmt: skip
KINDS = {
    "local": {"grid": 2},
    "normalizing": {"grid": 3, "normalize": True},
    "two couplings": {"grid": 2, "couplings": 2, "splits": (2, 2)},
    "not squeezed": {"grid": 2, "squeeze": (1, 2), "stride_unsqueezed": 4},
    "one cell, no maps, no gate": {"grid": 1, "n_maps": 0, "gated": False},
    "not relative": {"grid": 2, "relative": False},
    "mean": {"grid": 2, "recursion": "mean"},
}


def made(**changes):
    torch.manual_seed(0)
    network = IHFNetwork(preset("local", **SMALL | changes), 5)
    for parameter in network.parameters():
        # Heads start at zero.
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def job(network, batch=3):
    torch.manual_seed(1)
    aan = network.config.aan
    maps = [torch.randn(batch, aan.n_maps, aan.grid, aan.grid) if aan.n_maps else None] * 2
    return torch.rand(batch, 3, 21, 26), Condition(
        torch.randn(batch, 5), torch.randn(batch, 5), *maps, gate=torch.tensor([1.0, 0.5, 0.0])
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_and_all_gradients_are_those_of_the_network(kind):
    network = made(**KINDS[kind]).double()
    assert TrainingPass.suits(network)
    x, condition = job(network)
    x = x.double()
    expected, found = network.change(x, condition), TrainingPass(network)(x, condition)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    assert expected.abs().max() > 0.05
    weight = torch.randn_like(x)
    parameters = list(network.parameters())
    wanted, got = (
        torch.autograd.grad(y, parameters, weight, allow_unused=True) for y in (expected, found)
    )
    scale = max(float(g.abs().max()) for g in wanted if g is not None)
    for (name, _), first, second in zip(network.named_parameters(), wanted, got, strict=True):
        assert (first is None) == (second is None), name
        if first is not None:
            torch.testing.assert_close(second, first, atol=1e-9 * scale, rtol=1e-8)


def test_equal_conditions_change_nothing():
    network = made(grid=2)
    x, given = job(network)
    same = Condition(given.code_source, given.code_source, given.maps_source, given.maps_source)
    assert torch.count_nonzero(TrainingPass(network)(x, same)) == 0


def test_half_precision_is_near_and_comes_out_in_single():
    network = made(grid=2)
    x, condition = job(network)
    expected = network.change(x, condition)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = TrainingPass(network)(x, condition)
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_networks_of_another_kind_go_their_own_way():
    for network in (made(grid=2, mode="replace"), made(grid=2, recursion="hf")):
        assert not TrainingPass.suits(network)
        x, condition = job(network)
        expected = network.change(x, condition)
        assert torch.equal(change_with_gradients(network, x, condition), expected)
