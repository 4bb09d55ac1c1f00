"""People of one source: themselves when asked, others when not."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.phantom.people import AS_IT_IS, SourceMaps, draw_person

GRID = reference_grid(4.0)
FIELDS = ("fractions", "t1_factor", "t2_factor", "density_factor", "mask")


@pytest.fixture(scope="module")
def maps():
    one = np.ones(GRID.shape, np.float32)
    bump = one.copy()
    bump[:, :, GRID.shape[2] // 2 :] = 0.85
    return SourceMaps(reference_tissues(GRID), bump, one, one, GRID, "template")


def test_the_same_seed_gives_the_same_bits_and_others_differ(maps):
    one, again, other = draw_person(maps, 1), draw_person(maps, 1), draw_person(maps, 2)
    for name in FIELDS:
        assert np.array_equal(getattr(one, name), getattr(again, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name))
    assert one.source == other.source == "template"


def test_the_same_seed_of_another_source_is_another_person(maps):
    twin = replace(maps, name="another")
    assert not np.array_equal(draw_person(maps, 1).mask, draw_person(twin, 1).mask)


def test_fractions_sum_to_one_in_the_brain_and_zero_outside(maps):
    person = draw_person(maps, 1)
    total = person.fractions.sum(0)
    assert np.allclose(total[person.mask], 1, atol=1e-5)
    assert not total[~person.mask].any()
    assert person.fractions.dtype == np.float32


def test_as_it_is_keeps_maps_and_factors(maps):
    person = draw_person(maps, 7, AS_IT_IS)
    inside = person.mask
    assert np.abs(person.fractions - maps.fractions)[:, inside].max() < 0.01
    assert np.allclose(person.t1_factor, maps.t1_factor, atol=1e-4)
    assert np.allclose(person.t2_factor, 1, atol=1e-4)


def test_people_of_one_source_have_about_its_volume(maps):
    for seed in range(3):
        person = draw_person(maps, seed)
        assert abs(person.mask.sum() / (maps.fractions.sum(0) > 0.5).sum() - 1) < 0.15
        moved = person.fractions.argmax(0) != maps.fractions.argmax(0)
        assert 0.1 < moved[person.mask].mean() < 0.6
