"""The closed form by tissues: blind to how much of a tissue there is, exact where it can be."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.legendre import FIELD_TERMS, log_field
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods.tissue_form import match_tissues
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.sites.tissue_profile import TissueProfile, tissue_profile

GRID = reference_grid(4.0)
FLAT = np.zeros(FIELD_TERMS)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 5)


def scan(person, site, modality="T1w", **changes):
    data = acquire(person, replace(SITES[site], **changes), modality, scan_seed=3)
    return (data / robust_scale(data, person.mask)).astype(np.float32)


def test_equal_profiles_leave_the_scan_as_it_is(person):
    data = scan(person, "GE")
    own = tissue_profile(data, person.mask, 4.0)
    assert np.allclose(match_tissues(data, person.mask, own, own), data, atol=1e-5)


def test_tissues_land_where_the_target_has_them(person):
    data, goal = scan(person, "GE"), scan(person, "COI")
    target = tissue_profile(goal, person.mask, 4.0)
    result = match_tissues(data, person.mask, tissue_profile(data, person.mask, 4.0), target)
    # Relative to white matter: gain is free.
    before, reached, wanted = (
        p.means / p.means[1]
        for p in (
            tissue_profile(data, person.mask, 4.0),
            tissue_profile(result, person.mask, 4.0),
            target,
        )
    )
    assert np.abs(reached - wanted)[0] < 0.05
    # CSF is next to nothing but partial volume at 4 mm.
    assert np.abs(reached - wanted)[2] < 0.1
    assert np.abs(reached - wanted).max() < np.abs(before - wanted).max() / 2


def test_a_field_is_found_and_taken_out(person):
    field = np.zeros(FIELD_TERMS)
    field[1] = 0.3  # linear from foot to head
    flat = scan(person, "COI", bias_log_sd=0.0, noise=0.0)
    bright = flat * np.exp(log_field(field, flat.shape))
    found = tissue_profile(bright, person.mask, 4.0).field
    known = tissue_profile(flat, person.mask, 4.0).field
    assert found[1] - known[1] == pytest.approx(0.3, abs=0.06)
    assert np.abs(np.delete(found - known, 1)).max() < 0.06


@pytest.mark.parametrize("modality", ["T1w", "T2w"])
def test_more_csf_does_not_move_the_map(person, modality):
    # Much CSF, the same tissues: percentiles would move.
    wide = person.fractions.copy()
    middle = np.zeros(GRID.shape, bool)
    middle[18:28, 18:34, 18:26] = True
    wide[:, middle] = np.array([0, 0, 1], np.float32)[:, None]
    wide[:, ~person.mask] = 0
    other = replace(person, fractions=wide)
    profiles = [
        tissue_profile(scan(p, "PHILIPS", modality, gain=1.0), p.mask, 4.0)
        for p in (person, other)
    ]
    scales = [
        robust_scale(
            acquire(p, replace(SITES["PHILIPS"], gain=1.0), modality, scan_seed=3), p.mask
        )
        for p in (person, other)
    ]
    first, second = (p.means * s for p, s in zip(profiles, scales, strict=True))
    assert np.allclose(first[:2], second[:2], rtol=0.08)


def test_the_map_never_falls_and_background_stays_zero(person):
    data = scan(person, "GE")
    upside_down = TissueProfile(np.array([0.5, 0.2, 0.9]), FLAT)
    result = match_tissues(data, person.mask, TissueProfile(np.array([0.5, 0.8, 0.2]), FLAT),
                           upside_down)  # fmt: skip
    inside = person.mask
    order = np.argsort(data[inside])
    assert (np.diff(result[inside][order]) >= 0).all()
    assert result.min() >= 0 and not result[~inside].any()


def test_tissues_that_look_alike_share_an_anchor(person):
    data = scan(person, "COI")
    alike = TissueProfile(np.array([0.600, 0.601, 0.2]), FLAT)
    result = match_tissues(
        data, person.mask, alike, TissueProfile(np.array([0.5, 0.7, 0.1]), FLAT)
    )
    rise = np.diff(np.unique(result[person.mask])).max()
    assert np.isfinite(result).all() and rise < 0.2
