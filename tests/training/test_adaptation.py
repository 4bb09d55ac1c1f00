"""The second stage: kept where it helps, the whole training where nothing came before it."""

from dataclasses import replace

import pytest
import torch

from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.training.adaptation import TrainingRun, Twins, adapt
from bids_harmony.training.distributed import Ranks
from bids_harmony.training.trainer import Diverged
from bids_harmony.training.training_log import read_log
from tests.training.unpaired_scans import VOXEL_MM, encoder, network, sampler, scans

QUICK = TrainingSettings(adapt_steps=4, batch=4, slices_per_pair=1, validate_every=2,
                         learning_rate=1e-3)  # fmt: skip


@pytest.fixture(scope="module")
def made():
    return encoder()


def stage(tmp_path, made, people=3, **options):
    found = scans(people)
    settings = Settings(
        tmp_path,
        tmp_path,
        "train",
        nprocs=1,
        voxel_mm=VOXEL_MM,
        training=replace(QUICK, **options),
    )
    return network(made), TrainingRun(found, made, settings, tmp_path, False, "f", Ranks())


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_an_adaptation_is_judged_by_held_out_people_and_twins(tmp_path, made):
    model, run = stage(tmp_path, made)
    before = weights(model)
    outcome = adapt(model, run, twins=Twins(0.1, lambda: 0.1))
    assert outcome.done and outcome.kept and outcome.steps == 4
    assert outcome.held_out_after < outcome.held_out_before
    assert not torch.equal(weights(model), before)
    told = [r["validation"] for r in read_log(tmp_path / "adaptation_log.csv")]
    assert outcome.held_out_after == min(told[1], told[3])


def test_an_adaptation_that_costs_twins_is_thrown_away(tmp_path, made):
    model, run = stage(tmp_path, made)
    before = weights(model)
    outcome = adapt(model, run, twins=Twins(0.1, lambda: 0.2))
    assert outcome.done and not outcome.kept and "unseen twins 0.1000 -> 0.2000" in outcome.reason
    assert torch.equal(weights(model), before)


def test_without_people_to_hold_out_there_is_no_adaptation_but_a_whole_training(tmp_path, made):
    model, run = stage(tmp_path, made, people=2)
    before = weights(model)
    assert not adapt(model, run).done and torch.equal(weights(model), before)
    outcome = adapt(model, run, whole=True)
    assert outcome.kept and outcome.steps == 4 and not torch.equal(weights(model), before)


def test_epochs_see_every_slice_so_often(tmp_path, made):
    model, run = stage(tmp_path, made, people=2, epochs=2, batch=16)
    outcome = adapt(model, run, whole=True)
    slices = sum(len(scan.tall) for scan in scans(2))
    assert outcome.steps == 2 * sampler(batch=16).steps_per_epoch == 2 * -(-slices // 16)


def test_a_whole_training_stops_when_held_out_people_gain_nothing(tmp_path, made):
    model, run = stage(
        tmp_path, made, adapt_steps=60, validate_every=1, patience=2, learning_rate=1.0
    )
    outcome = adapt(model, run, whole=True)
    assert outcome.kept and outcome.steps < 60 and outcome.steps == outcome.best_step + 2


def test_a_training_that_diverges_is_an_error_only_where_it_is_all_there_is(tmp_path, made):
    model, run = stage(tmp_path, made, learning_rate=1e30, adapt_steps=30)
    before = weights(model)
    outcome = adapt(model, run)
    assert not outcome.kept and "diverged" in outcome.reason
    assert torch.equal(weights(model), before)
    with pytest.raises(Diverged):
        adapt(model, replace(run, fingerprint="g"), whole=True)


@pytest.mark.parametrize(
    "options", [{"art_target": "prototype"}, {"identity_weight": 1.0, "same_site_share": 0.5}]
)
def test_switches_of_the_objective_change_the_training(tmp_path, made, options):
    (tmp_path / "a").mkdir()
    plain, run = stage(tmp_path / "a", made, people=2)
    adapt(plain, run, whole=True)
    other, run = stage(tmp_path, made, people=2, **options)
    assert adapt(other, run, whole=True).kept
    assert not torch.equal(weights(plain), weights(other))
