"""The pass for processors: what `IHFNetwork.change` gives, with the same bits for any threads."""

from __future__ import annotations

import pytest
import torch

from bids_harmony.model.inference import ChangePass
from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.presets import preset

from .conftest import CODE_LENGTH, condition, images, narrow, randomise

FORMS = {
    "shipped": {},
    "three-stages": {"squeeze": (2, 1, 3), "splits": (2, 3, 2)},
    "two-couplings": {"couplings": 2},
    "normalized": {"normalize": True, "recursion": "mean"},
    "one-cell": {"grid": 1, "n_maps": 0, "gated": False},
    "one-weight": {"shared_w": True, "pad": 0, "squeeze": (1, 1)},
    "no-expansion": {"splits": (1, 1)},
}


def network(**changes) -> IHFNetwork:
    torch.manual_seed(0)
    return randomise(IHFNetwork(narrow("local", **changes), CODE_LENGTH)).eval()


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("size", [(23, 30), (40, 17), (5, 9)])
def test_change_is_the_network_s(form, size):
    made = network(**FORMS[form])
    assert ChangePass.suits(made, "cpu")
    x, given = images(3, 3, *size), condition(made.config, 3)
    with torch.inference_mode():
        expected = made.change(x, given)
    found = ChangePass(made)(x, given)
    assert found.shape == expected.shape
    assert expected.abs().max() > 1e-2
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)


def test_input_stays_as_it_is():
    made, x = network(), images(2, 3, 24, 24)
    before = x.clone()
    ChangePass(made)(x, condition(made.config, 2))
    assert torch.equal(x, before)


def test_same_site_changes_nothing_at_all():
    made = network()
    given = condition(made.config, 2)
    same = Condition(
        given.code_target, given.code_target, given.maps_target, given.maps_target
    )  # fmt: skip
    assert not ChangePass(made)(images(2, 3, 20, 26), same).any()


def test_threads_do_not_show():
    # As wide as the shipped one: narrow layers take other ways.
    torch.manual_seed(0)
    made = randomise(IHFNetwork(preset("local"), CODE_LENGTH)).eval()
    x, given = images(2, 3, 90, 101), condition(made.config, 2)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(ChangePass(made)(x, given))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    "changes", [{"recursion": "hf"}, {"mode": "replace", "relative": False}, {"final_relu": True}]
)
def test_other_networks_go_the_long_way(changes):
    assert not ChangePass.suits(network(**changes), "cpu")


def test_a_graphics_card_has_its_own_way():
    assert not ChangePass.suits(network(), "cuda:0")
