"""Twin batches: they depend on the step alone and mix many pairs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.training import twin_stream
from bids_harmony.training.pretrain import twin_loss
from bids_harmony.training.twin_pool import make_pool
from bids_harmony.training.twin_stream import TwinStream
from tests.training.small_twins import CONFIG, PLAN


@pytest.fixture(scope="module")
def pool(encoder):
    return make_pool(replace(PLAN, voxel_mm=8.0), encoder, cells=2)


def stream(pool, config=CONFIG):
    return TwinStream(pool, config, use_closed_form=True, slices=6, seed=0)


def test_a_batch_depends_on_its_step_alone(pool):
    forward, back = stream(pool), stream(pool)
    wanted = [forward.part(step) for step in range(6)]
    for step in reversed(range(6)):
        again = back.part(step)
        assert torch.equal(again.stack, wanted[step].stack)
        assert torch.equal(again.twin, wanted[step].twin)
        assert torch.equal(again.condition.maps_source, wanted[step].condition.maps_source)
    assert not torch.equal(wanted[0].stack, wanted[4].stack)


@pytest.mark.parametrize("parts", [2, 7])
def test_parts_make_up_a_batch_and_its_loss(pool, parts):
    torch.manual_seed(0)
    network, source = IHFNetwork(CONFIG, 32), stream(pool)
    whole = twin_loss(network, source.part(2))[0].item()
    some = [source.part(2, i, parts) for i in range(parts)]
    assert sum(part.share for part in some) == pytest.approx(1)
    total = sum(part.share * twin_loss(network, part)[0].item() for part in some)
    assert total == pytest.approx(whole, rel=1e-5)


def test_a_batch_mixes_pairs(pool):
    condition = stream(pool).part(0).condition
    codes = torch.cat([condition.code_source, condition.code_target], dim=1)
    assert len({tuple(row.tolist()) for row in codes}) > 2


def test_a_flip_turns_image_twin_mask_and_maps_together():
    ramp = np.tile(np.linspace(0.1, 1, 8, dtype=np.float32)[:, None], (3, 1, 6))
    cells = np.zeros((3, 6, 2, 2), np.float32)
    cells[:, :, 1] = 1  # more on the side where the ramp is high
    codes = np.zeros((3, 4), np.float32)
    pair = twin_stream.Pair(
        ramp, 2 * ramp, ramp > 0.5, (ramp > 0.7).astype(np.uint8), 1.0,
        (cells, cells), (codes, codes), np.arange(3),
    )  # fmt: skip
    flipped = set()
    for seed in range(8):
        batch = TwinStream.cut(pair, np.random.default_rng(seed))
        rising = bool(batch.stack[0, 1, -1, 0] > batch.stack[0, 1, 1, 0])
        assert torch.equal(batch.twin, 2 * batch.stack)
        assert torch.equal(batch.mask, batch.stack > 0.5)
        assert torch.equal(batch.tissue, (batch.stack > 0.7).to(torch.uint8))
        for maps in (batch.condition.maps_source, batch.condition.maps_target):
            assert bool(maps[0, 0, 1, 0] > maps[0, 0, 0, 0]) == rising
        flipped.add(not rising)
    assert flipped == {True, False}


def test_anatomy_comes_on_even_and_on_odd_voxels():
    image = np.zeros((3, 6, 8), np.float32)
    image[:, 2, 4] = 1
    codes = np.zeros((3, 4), np.float32)
    pair = twin_stream.Pair(
        image, 2 * image, image > 0, (image > 0).astype(np.uint8), 1.0,
        (None, None), (codes, codes), np.arange(3),
    )  # fmt: skip
    found = set()
    for seed in range(40):
        batch = TwinStream.cut(pair, np.random.default_rng(seed))
        assert torch.equal(batch.twin, 2 * batch.stack)
        assert torch.equal(batch.mask, batch.stack > 0)
        assert torch.equal(batch.tissue, batch.mask.to(torch.uint8))
        where = torch.nonzero(batch.stack[0])
        assert set(where[:, 0].tolist()) == {0, 1, 2}
        found.add(tuple(where[0, 1:].tolist()))
    # A flip moves 2 to 3 of six.
    assert found == {(2, 4), (3, 4), (4, 4), (2, 5), (3, 5), (4, 5)}


def test_scans_are_noisier_or_cleaner_than_those_of_their_site(pool, monkeypatch):
    asked = []
    make = twin_stream.twin_pair
    monkeypatch.setattr(
        twin_stream,
        "twin_pair",
        lambda person, source, *rest, **more: (
            asked.append(source) or make(person, source, *rest, **more)
        ),
    )
    usual = {scanner.site: scanner.noise for scanner in pool.training_scanners}
    source = stream(pool)
    for step in range(40):
        source.part(step * 8)
    factors = np.array([own.noise / usual[own.site] for own in asked])
    assert len(factors) >= 60
    assert 0.35 < np.mean(np.isclose(factors, 1)) < 0.65
    assert 0.5 <= factors.min() < 0.6 and 3.3 < factors.max() <= 4


def test_old_pairs_are_let_go(pool, monkeypatch):
    monkeypatch.setattr(twin_stream, "FIRST_PAIRS", 3)
    monkeypatch.setattr(twin_stream, "KEPT_BYTES", 1)
    source = stream(pool)
    for step in range(25):
        source.part(step)
    assert sorted(source.pairs) == [3, 4, 5]


def test_a_preset_without_maps_gets_none(pool):
    batch = stream(pool, preset("paper")).part(0)
    assert batch.condition.maps_source is None and batch.condition.maps_target is None


def test_steps_of_two_streams_take_turns_and_none_is_left_out(pool):
    one, other = stream(pool), TwinStream(pool, CONFIG, use_closed_form=True, slices=2, seed=1)
    part = twin_stream.turns(one, other, 3)
    wanted = [(one, 0), (one, 1), (other, 0), (one, 2), (one, 3), (other, 1), (one, 4)]
    for step, (source, own) in enumerate(wanted):
        assert torch.equal(part(step).stack, source.part(own).stack)
    assert torch.equal(part(5, 1, 2).stack, other.part(1, 1, 2).stack)


def test_pairs_of_a_finer_grid_serve_more_steps(pool):
    fine = replace(pool, grid=replace(pool.grid, voxel_mm=1.0))
    usual = replace(pool, grid=replace(pool.grid, voxel_mm=2.0))
    assert [stream(own).steps_per_pair for own in (fine, usual, pool)] == [32, 8, 8]
