"""Synthetic twins: groups that never overlap, batches that depend on the step alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.cohort import CohortPlan
from bids_harmony.phantom.people import SourceMaps
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.real_scanners import real_scanner
from bids_harmony.phantom.scanner import SITES
from bids_harmony.training.pretrain import TwinLoss, score_twins, twin_loss
from bids_harmony.training.twin_stream import TwinStream
from bids_harmony.training.twins import TwinPlan, make_pool, twin_pair

CONFIG = preset("local", grid=2, hidden=(4, 4), head_channels=4, embedding=8, projection=(8, 8),
                map_channels=4)  # fmt: skip
PLAN = TwinPlan(
    training_people=3,
    profile_people=2,
    validation_people=1,
    training_scanners=3,
    validation_scanners=2,
    modalities=("T1w",),
    voxel_mm=6.0,
)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("random", widths=(4, 4, 4, 4))


@pytest.fixture(scope="module")
def pool(encoder):
    return make_pool(PLAN, encoder, cells=2)


def stream(pool, seed=0):
    return TwinStream(pool, CONFIG, use_closed_form=True, slices=4, seed=seed)


def test_people_of_training_profiles_and_validation_are_different(pool):
    training = {p.seed for p in pool.training}
    validation = {p.seed for p in pool.validation}
    bankers = {s for profile in pool.profiles.values() for s in profile.scans}
    assert len(training) == 3 and len(validation) == 1
    assert not training & validation
    assert not {f"person-{s}" for s in training | validation} & bankers


def test_training_scanners_are_neither_validation_scanners_nor_the_named_sites(pool):
    training = {s.bias_seed for s in pool.training_scanners}
    assert not training & {s.bias_seed for s in pool.validation_scanners}
    assert not training & {s.bias_seed for s in SITES.values()}


def test_scanners_can_be_drawn_as_real_ones_differ_and_are_not_unless_asked(pool, encoder):
    real = make_pool(replace(PLAN, scanners_like="real"), encoder, cells=2)
    seeds = [7_000_000 + i for i in range(5)]
    assert list(real.scanners) == [real_scanner(s) for s in seeds]
    assert list(pool.scanners) == [random_scanner(s) for s in seeds]


def test_nobody_of_a_phantom_cohort_is_among_the_people(pool):
    first = CohortPlan().seed * 1000
    cohort = range(first, first + 1000)
    assert not any(p.seed in cohort for p in (*pool.training, *pool.validation))


def test_threads_do_not_change_the_profiles(pool, encoder):
    again = make_pool(PLAN, encoder, cells=2, threads=2)
    for key, profile in pool.profiles.items():
        assert np.array_equal(profile.mean_image, again.profiles[key].mean_image)
        assert np.array_equal(profile.codes, again.profiles[key].codes)


def test_sites_have_not_scanned_the_same_people(encoder):
    plan = replace(PLAN, profile_people=6, scans_per_profile=(2, 2), training_scanners=4)
    profiles = make_pool(plan, encoder, cells=2).profiles.values()
    assert all(len(profile.scans) == 2 for profile in profiles)
    assert len({profile.scans for profile in profiles}) > 1


def test_people_of_other_maps_train_and_fill_profiles_but_never_validate(encoder):
    template = make_anatomy(reference_grid(6.0), 1)
    one = np.ones_like(template.t1_factor)
    maps = SourceMaps(template.fractions, one, one, one, template.grid, "somebody")
    plan = replace(PLAN, people_per_source=3, profile_people=0, scans_per_profile=(1, 1))
    pool = make_pool(plan, encoder, cells=2, sources=[maps])
    assert [p.source for p in pool.training] == ["", "", "", "somebody", "somebody", "somebody"]
    assert all(p.source == "" for p in pool.validation)
    assert all(profile.scans for profile in pool.profiles.values())


def test_a_twin_has_the_level_of_what_is_to_become_it(pool):
    person, (a, b, *_) = pool.training[0], pool.scanners
    conditioned, _, twin = twin_pair(
        pool, person, a, b, "T1w", 3, config=CONFIG, use_closed_form=True
    )
    inside = person.mask
    image, twin = conditioned.image[inside], twin[inside]
    assert np.vdot(image, twin) == pytest.approx(np.vdot(twin, twin), rel=1e-3)


def test_the_weights_of_the_loss_are_used(pool, encoder):
    network, batch = IHFNetwork(CONFIG, encoder.code_length), stream(pool).part(0)
    numbers = twin_loss(network, batch)[1]
    squared = twin_loss(network, batch, TwinLoss(0.0, 1.0, 0.0))[0]
    assert squared.item() == pytest.approx(numbers["mse_network"].item())
    contrast = twin_loss(network, batch, TwinLoss(0.0, 0.0, 1.0))[0]
    assert contrast.item() == pytest.approx(numbers["mse_contrast"].item()) != 0
    both = twin_loss(network, batch, TwinLoss(1.0, 1.0, 2.0))[0].item()
    only = twin_loss(network, batch, TwinLoss(1.0, 0.0, 0.0))[0].item()
    assert both == pytest.approx(only + squared.item() + 2 * contrast.item(), rel=1e-5)
    usual = only + 4 * squared.item() + 20 * contrast.item()
    assert twin_loss(network, batch)[0].item() == pytest.approx(usual, rel=1e-5)
    # What the settings leave open is what it was.
    given = twin_loss(network, batch, TwinLoss(1.0, 4.0))[0].item()
    assert given == pytest.approx(usual, rel=1e-5)


def test_the_loss_asks_for_the_contrast_of_tissues_and_not_for_their_noise(pool):
    batch = stream(pool).part(0)
    grey, white = batch.tissue == 1, batch.tissue == 2
    sign = torch.where(
        torch.arange(batch.stack.numel()).reshape(batch.stack.shape) % 2 == 0, 1, -1
    )

    class Off:
        def __init__(self, error):
            self.error = error

        def change(self, stack, condition):
            return batch.twin - stack + self.error

    def contrast(error):
        return twin_loss(Off(error), batch, TwinLoss(0.0, 0.0, 1.0))[0].item()

    assert contrast(0.1 * sign) < 1e-4  # noise: means stay
    share = float(grey.sum() / (grey | white).sum())
    assert contrast(0.1 * grey) == pytest.approx(0.01 * share, rel=1e-4)
    assert contrast(0.1 * white) == pytest.approx(0.01 * (1 - share), rel=1e-4)


def test_people_of_a_pool_differ_in_the_contrast_of_their_tissues(pool):
    def t1_ratio(person):
        grey, white = (person.fractions[t] > 0.8 for t in (0, 1))
        return np.log(person.t1_factor[grey].mean() / person.t1_factor[white].mean())

    ratios = [t1_ratio(person) for person in (*pool.training, *pool.validation)]
    assert np.ptp(ratios) > 0.01


def test_a_fresh_network_scores_as_the_closed_form(pool, encoder):
    torch.manual_seed(0)
    network = IHFNetwork(CONFIG, encoder.code_length).eval()
    score = score_twins(network, pool, use_closed_form=True, pairs=2)
    assert score.network == pytest.approx(score.closed_form, rel=1e-6)
    assert score.closed_form < score.raw


def test_the_loss_is_zero_for_a_perfect_network(pool, encoder):
    network = IHFNetwork(CONFIG, encoder.code_length)
    batch = stream(pool).part(0)

    class Perfect:
        def change(self, stack, condition):
            return (batch.twin - stack).requires_grad_()

    assert float(twin_loss(Perfect(), batch)[0].detach()) < 1e-6
    assert float(twin_loss(network, batch)[0].detach()) > 0.01
