"""The whole network: exactness, identity, the cache-free change, calibration, gradients."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from bids_harmony.exceptions import DataError, UsageError
from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.presets import PRESETS

from .conftest import CODE_LENGTH, condition, images, narrow, randomise


def network(config, *, seed=0, heads=0.2, dtype=torch.float32) -> IHFNetwork:
    torch.manual_seed(seed)
    return randomise(IHFNetwork(config, CODE_LENGTH).to(dtype), seed, heads)


PLANS = [
    {"squeeze": (2,) * stages if squeezed else (1,) * stages, "splits": (2, 3, 2)[:stages]}
    for stages in (1, 2, 3)
    for squeezed in (False, True)
]


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("couplings", [1, 2])
@pytest.mark.parametrize("size", [(23, 30), (5, 9)])
def test_flow_is_exact_for_any_weights(plan, couplings, size):
    config = narrow("local", **plan, couplings=couplings)
    x = images(2, 3, *size, dtype=torch.float64)
    made = network(config, dtype=torch.float64)
    assert (made.reconstruct(x) - x).abs().max() < 1e-12
    assert (made.float().reconstruct(x.float()) - x.float()).abs().max() < 1e-5


@pytest.mark.parametrize("name", list(PRESETS))
def test_flow_of_every_preset_is_exact(name):
    made = network(narrow(name))
    x = images(1, 3, 19, 26)
    assert (made.reconstruct(x) - x).abs().max() < 1e-5


@pytest.mark.parametrize("recursion", ["hf", "repo"])
def test_published_recursions_are_not_exact(recursion):
    made, x = network(narrow("paper", recursion=recursion)), images(1, 3, 24, 24)
    assert (made.reconstruct(x) - x).abs().max() > 1e-2
    given = condition(made.config, 1)
    assert torch.equal(made.change(x, given), made(x, given) - x)


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize("recursion", ["convex", "mean"])
def test_change_is_what_the_recursion_adds(name, recursion):
    made, x = network(narrow(name, recursion=recursion)), images(2, 3, 21, 18)
    given = condition(made.config, 2)
    y, change = made(x, given), made.change(x, given)
    assert change.abs().max() > 1e-2
    torch.testing.assert_close(x + change, y, atol=1e-5 * max(1, y.abs().max().item()), rtol=0)


@pytest.mark.parametrize("name", ["local", "flat"])
def test_equal_condition_gives_exact_zeros(name):
    made, x = network(narrow(name)), images(2, 3, 24, 20)
    given = condition(made.config, 2)
    same = replace(given, code_source=given.code_target.clone(), gate=torch.zeros(2))
    if given.maps_target is not None:
        same.maps_source = given.maps_target.clone()
    assert torch.count_nonzero(made.change(x, same)) == 0
    assert torch.count_nonzero(made.change(x, replace(same, gate=None))) == 0
    assert made.change(x, given).abs().max() > 1e-3


def test_gate_is_per_sample():
    made, x = network(narrow("local")), images(1, 3, 24, 20).expand(2, -1, -1, -1)
    given = condition(made.config, 1)
    same = replace(given, code_source=given.code_target, maps_source=given.maps_target)
    change = made.change(x, replace(same, gate=torch.tensor([0.0, 1.0])))
    assert torch.count_nonzero(change[0]) == 0
    assert change[1].abs().max() > 1e-3


@pytest.mark.parametrize("name", ["local", "flat"])
def test_untrained_residual_network_is_the_identity(name):
    made, x = network(narrow(name), heads=0.0), images(2, 3, 24, 20)
    given = condition(made.config, 2)
    assert (made(x, given) - x).abs().max() < 1e-5
    assert torch.count_nonzero(made.change(x, given)) == 0


def test_calibration_brings_replace_mode_near_the_input():
    made, x = network(narrow("paper"), heads=0.0), images(8, 3, 24, 20) ** 3
    given = condition(made.config, 8)
    before = (made(x, given) - x).square().mean().sqrt()
    made.calibrate([x[:4], x[4:]])
    after = (made(x, given) - x).square().mean().sqrt()
    assert after < 0.5 * before


def test_calibration_is_the_mean_over_samples():
    made, x = network(narrow("paper")), images(6, 3, 24, 20)
    made.calibrate([x])
    expected = [stage.aan.sigma_ref.clone() for stage in made.stages]
    made.calibrate([x[:1], x[1:]])
    for stage, sigma in zip(made.stages, expected, strict=True):
        torch.testing.assert_close(stage.aan.sigma_ref, sigma, atol=1e-5, rtol=1e-5)
    with pytest.raises(DataError, match="at least one"):
        made.calibrate([])


@pytest.mark.parametrize("path", ["forward", "change"])
def test_gradient_reaches_every_parameter(path):
    made, x = network(narrow("local")), images(2, 3, 24, 20).requires_grad_()
    given = condition(made.config, 2)
    out = made(x, given) if path == "forward" else made.change(x, given)
    out.square().mean().backward()
    silent = [
        name
        for name, parameter in made.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    assert silent == []
    assert x.grad is not None and x.grad.abs().max() > 0


@pytest.mark.parametrize("path", ["forward", "change"])
def test_gradient_reaches_the_zero_heads_at_the_start(path):
    made, x = network(narrow("local"), heads=0.0), images(2, 3, 24, 20)
    given = condition(made.config, 2)
    out = made(x, given) if path == "forward" else x + made.change(x, given)
    (out - 0.8 * x).square().mean().backward()
    for stage in made.stages:
        for heads in (stage.aan.heads, stage.aan.gated):
            assert heads.scale.weight.grad.abs().max() > 0
            assert heads.shift.weight.grad.abs().max() > 0


def test_a_few_steps_learn_a_site_difference():
    made, x = network(narrow("local"), heads=0.0), images(4, 3, 16, 16)
    given = condition(made.config, 4)
    ramp = torch.linspace(0.7, 1.2, 16)
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = (x + made.change(x, given) - ramp * x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_samples_of_a_batch_do_not_see_each_other():
    made, x = network(narrow("local")), images(3, 3, 24, 20)
    given = condition(made.config, 3)
    alone = replace(
        given,
        code_target=given.code_target[1:2],
        code_source=given.code_source[1:2],
        maps_target=given.maps_target[1:2],
        maps_source=given.maps_source[1:2],
    )
    torch.testing.assert_close(
        made.change(x, given)[1:2], made.change(x[1:2], alone), atol=1e-4, rtol=1e-4
    )


def test_codes_are_standardised():
    made, x = network(narrow("flat")), images(2, 3, 16, 16)
    given = condition(made.config, 2)
    expected = made.change(x, given)
    mean, std = images(CODE_LENGTH, seed=7), images(CODE_LENGTH, seed=8) + 0.5
    made.set_code_statistics(mean, std)
    scaled = replace(
        given,
        code_target=given.code_target * std + mean,
        code_source=given.code_source * std + mean,
    )
    torch.testing.assert_close(made.change(x, scaled), expected, atol=1e-4, rtol=1e-4)
    made.set_code_statistics(mean, torch.zeros(CODE_LENGTH))
    assert (made.code_std == 1.0).all()


def test_conditions_are_joined_to_that_of_the_batch():
    given = condition(narrow("local"), 3)
    singles = [
        Condition(*(getattr(given, field.name)[i : i + 1] for field in fields(given)[:4]))
        for i in range(3)
    ]
    joined = Condition.joined(singles)
    for field in fields(given)[:4]:
        assert torch.equal(getattr(joined, field.name), getattr(given, field.name))
    assert joined.gate is None and Condition.joined([Condition(given.code_target)]).gate is None


def test_maps_that_are_not_given_count_as_zeros():
    made, x = network(narrow("local")), images(1, 3, 16, 16)
    given = condition(made.config, 1)
    none = replace(given, maps_target=None, maps_source=None)
    zeros = torch.zeros_like(given.maps_target)
    expected = made.change(x, replace(given, maps_target=zeros, maps_source=zeros))
    assert torch.equal(made.change(x, none), expected)
    assert not torch.allclose(made.change(x, given), expected)


def test_bad_input_is_named():
    made, x = network(narrow("local")), images(2, 3, 16, 16)
    given = condition(made.config, 2)
    with pytest.raises(UsageError, match="code_source"):
        made(x, replace(given, code_source=None))
    with pytest.raises(DataError, match=r"maps_target .*\(2, 8, 8, 8\)"):
        made(x, replace(given, maps_target=torch.zeros(2, 7, 4, 4)))
    with pytest.raises(DataError, match="code_target"):
        made(x, replace(given, code_target=torch.zeros(3, CODE_LENGTH)))
    with pytest.raises(DataError, match="three slices"):
        made(x[:, :1], given)
    with pytest.raises(DataError, match="Code statistics"):
        made.set_code_statistics(torch.zeros(3), torch.ones(3))


def test_autocast_keeps_the_flow_exact():
    made, x = network(narrow("local")), images(1, 3, 24, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (made.reconstruct(x) - x).abs().max() < 1e-5
        change = made.change(x, condition(made.config, 1))
    assert change.dtype == torch.float32


def test_repr_names_the_plan():
    made = IHFNetwork(PRESETS["paper"], 1920)
    assert "3 -> 48 -> 384" in repr(made) and "4.11 M" in repr(made)


def test_fusion_parameters_are_the_logits():
    made = network(narrow("local", splits=(3, 2)))
    assert [len(parameter) for parameter in made.fusion_parameters()] == [2, 1]


def test_codes_count_up_to_their_bound():
    x, found = images(1, 3, 16, 16), {}
    mean, std = torch.full((CODE_LENGTH,), 3.0), torch.full((CODE_LENGTH,), 0.5)
    given = replace(condition(narrow("local"), 1), code_source=mean[None])
    sign = torch.sign(given.code_target)
    for bound in (2.0, 0.0):
        made = network(narrow("local", code_clip=bound))
        made.set_code_statistics(mean, std)
        for times in (1.0, 2.0, 6.0):
            code = mean + times * std * sign
            found[bound, times] = made.change(x, replace(given, code_target=code))
    assert torch.equal(found[2.0, 2.0], found[2.0, 6.0])
    assert not torch.allclose(found[2.0, 1.0], found[2.0, 2.0], atol=1e-4)
    assert torch.equal(found[2.0, 1.0], found[0.0, 1.0])
    assert not torch.allclose(found[0.0, 2.0], found[0.0, 6.0], atol=1e-4)
