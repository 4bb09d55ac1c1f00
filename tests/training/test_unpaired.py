"""Losses on pairs: a batch is the mean of its parts; what each term sees."""

from dataclasses import replace

import pytest
import torch

from bids_harmony.training.unpaired import UnpairedLoss, balanced
from tests.training.unpaired_scans import encoder, network, sampler


@pytest.fixture(scope="module")
def made():
    return encoder()


def test_the_loss_of_a_batch_is_that_of_its_parts(made):
    model, source = network(made), sampler(made=made, same_site_share=0.5)
    loss = UnpairedLoss(made, 1.0, 2.0, identity_weight=3.0)
    whole, numbers = loss(model, source.part(1))
    total = sum(part.share * loss(model, part)[0]
                for part in (source.part(1, i, 4) for i in range(4)))  # fmt: skip
    assert total.item() == pytest.approx(whole.item(), rel=1e-5)
    weighted = numbers["anatomical"] + 2 * numbers["artefact"] + 3 * numbers["identity"]
    assert weighted.item() == pytest.approx(whole.item(), rel=1e-6)


def test_identity_is_asked_of_same_site_pairs_only(made):
    model, loss = network(made), UnpairedLoss(made, 1.0, 2.0, identity_weight=1.0)
    pairs = sampler(made=made).part(0)
    none = replace(pairs, same_site=torch.zeros(len(pairs.stack), dtype=torch.bool))
    some = replace(pairs, same_site=torch.ones(len(pairs.stack), dtype=torch.bool))
    assert float(loss(model, none)[1]["identity"]) == 0
    change = model.change(pairs.stack, pairs.condition).abs().mean()
    assert float(loss(model, some)[1]["identity"]) == pytest.approx(float(change), rel=1e-5)
    off = replace(loss, identity_weight=0.0)
    assert float(off(model, some)[0]) == pytest.approx(float(off(model, none)[0]), rel=1e-6)


def test_losses_keep_single_precision_under_autocast(made):
    model, loss = network(made), UnpairedLoss(made, 1.0, 2.0)
    pairs = sampler(made=made).part(0)
    full = loss(model, pairs)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss(model, pairs)[0]
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(full), rel=0.05)


def test_a_network_that_changes_nothing_can_be_balanced(made):
    class Still:
        def change(self, stack, condition):
            return torch.zeros_like(stack)

    balance = balanced(Still(), UnpairedLoss(made, 1.0, 2.0), sampler(made=made).part(0))
    assert balance.norm_ac > 1e-6 and balance.norm_art > 1e-6
