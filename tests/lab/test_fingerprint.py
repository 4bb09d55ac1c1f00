"""People are found across sites as long as their anatomy is there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from lab.fingerprint import fingerprint

GRID = reference_grid(4.0)


@pytest.fixture(scope="module")
def scans():
    """Four people at two sites, and the voxels inside all of them."""
    people = [make_anatomy(GRID, seed) for seed in range(20, 24)]
    sides = [
        [acquire(p, SITES[site], "T1w", scan_seed=k) for k, p in enumerate(people)]
        for site in ("COI", "SIEMENS")
    ]
    return *sides, np.all([p.mask for p in people], axis=0)


def test_people_are_found_at_another_scanner(scans):
    here, there, mask = scans
    got = fingerprint(here, there[::-1], "abcd", "dcba", mask, 4.0)
    assert (got.rate, got.chance, got.n) == (1.0, 0.25, 4)
    assert got.margin > 0.1
    assert got.correlations.shape == (4, 4)


def test_wrong_names_are_not_found(scans):
    here, there, mask = scans
    got = fingerprint(here, there, "abcd", "bcda", mask, 4.0)
    assert got.rate == 0
    assert got.margin < 0


def test_without_anatomy_nobody_is_found_reliably(scans):
    here, there, mask = scans
    noise = np.random.default_rng(0)
    blank = [gaussian_filter(h, 8) + 100 * noise.random(h.shape) for h in here]
    got = fingerprint(blank, there, "abcd", "abcd", mask, 4.0)
    assert got.margin < 0.05


def test_gain_and_field_do_not_count(scans):
    here, there, mask = scans
    ramp = np.exp(np.linspace(-0.3, 0.3, GRID.shape[0]))[:, None, None]
    plain = fingerprint(here, there, "abcd", "abcd", mask, 4.0)
    other = fingerprint([9 * ramp * h for h in here], there, "abcd", "abcd", mask, 4.0)
    np.testing.assert_allclose(other.correlations, plain.correlations, atol=0.03)


def test_correlations_are_those_of_numpy(rng):
    mask = np.ones((6, 6, 6), bool)
    images = 1 + rng.random((4, 6, 6, 6))
    got = fingerprint(
        images[:2], images[2:], "ab", "ab", mask, 0.5
    )  # the local mean is nearly flat
    expected = np.corrcoef(images.reshape(4, -1))[:2, 2:]
    np.testing.assert_allclose(got.correlations, expected, atol=0.1)


def test_bad_galleries_are_named(scans):
    here, there, mask = scans
    with pytest.raises(DataError, match="not in the gallery: e"):
        fingerprint(here, there, "abce", "abcd", mask, 4.0)
    with pytest.raises(DataError, match="2 people"):
        fingerprint(here[:1], there, "a", "aabb", mask, 4.0)
    with pytest.raises(DataError, match="Every scan"):
        fingerprint(here[:1], there, "ab", "abcd", mask, 4.0)
    with pytest.raises(DataError, match="one grid"):
        fingerprint(here, there, "abcd", "abcd", mask[1:], 4.0)
