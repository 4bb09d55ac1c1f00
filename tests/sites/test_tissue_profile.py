"""Tissue intensities follow a person, not the borders that a segmentation draws."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire, without_fields
from bids_harmony.sites.tissue_profile import contrasts, tissue_profile

GRID = reference_grid(4.0)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 31)


def grey_contrast(person, longer):
    """log(grey / white) as measured and in pure voxels, T1 of grey matter `longer` times."""
    factor = person.t1_factor * (1 + (longer - 1) * person.fractions[0])
    changed = replace(person, t1_factor=factor.astype(np.float32))
    data = acquire(changed, without_fields(SITES["SKYRA"]), "T1w", scan_seed=4)
    data = data / robust_scale(data, person.mask)
    grey, white = (np.median(data[person.fractions[t] > 0.9]) for t in (0, 1))
    measured = contrasts(tissue_profile(data, person.mask, GRID.voxel_mm).means)[0]
    return measured, np.log(grey / white)


def test_measured_contrast_follows_a_person(person):
    (low, true_low), (high, true_high) = (grey_contrast(person, t) for t in (0.92, 1.08))
    # By the means of sure voxels it is half of it.
    assert (high - low) / (true_high - true_low) == pytest.approx(1, abs=0.25)
    assert low == pytest.approx(true_low, abs=0.15)


def test_contrasts_are_free_of_gain_and_do_not_follow_noise():
    means = np.array([[0.5, 0.8, 0.1], [1.0, 1.6, 0.2]])
    assert np.allclose(contrasts(means), np.log([[0.625, 0.125]] * 2))
    assert contrasts([0.5, 0.8, 0.0])[1] == pytest.approx(np.log(0.02))
