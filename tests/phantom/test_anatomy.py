"""People of the phantom: distinct, reproducible, and made of whole tissue."""

import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.phantom.anatomy import make_anatomy

GRID = reference_grid(4.0)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 1)


def test_the_same_seed_gives_the_same_bits(person):
    again = make_anatomy(GRID, 1)
    for name in ("fractions", "t1_factor", "t2_factor", "density_factor", "mask"):
        assert np.array_equal(getattr(person, name), getattr(again, name))


def test_fractions_sum_to_one_in_the_brain_and_zero_outside(person):
    total = person.fractions.sum(0)
    assert np.allclose(total[person.mask], 1, atol=1e-5)
    assert not total[~person.mask].any()


def test_another_seed_is_another_person_with_a_brain_of_its_own(person):
    other = make_anatomy(GRID, 2)
    both = person.mask & other.mask
    overlap = 2 * both.sum() / (person.mask.sum() + other.mask.sum())
    assert 0.85 < overlap < 0.995
    here, there = (p.fractions.argmax(0)[both] for p in (person, other))
    assert 0.1 < np.mean(here != there) < 0.6


def test_no_deformation_and_no_folding_keep_the_template(person):
    plain = make_anatomy(GRID, 1, deformation_mm=0, folding=0, variation=0)
    template = reference_tissues(GRID)
    sure = (template.max(0) > 0.9) & plain.mask
    # Only the person's size and share of CSF are left to differ.
    same = plain.fractions.argmax(0)[sure] == template.argmax(0)[sure]
    assert same.mean() > 0.85


def test_brains_have_a_plausible_volume(person):
    litres = person.mask.sum() * GRID.voxel_mm**3 / 1e6
    assert 1.4 < litres < 2.3
