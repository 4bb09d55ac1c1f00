"""Scanners of the phantom: contrast, field, noise and sharpness as physics has them."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.image_chain import Detail, bias_field
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.scanner import SITES, acquire, without_fields
from bids_harmony.phantom.sequences import Sequence

GRID = reference_grid(4.0)
CLEAN = replace(SITES["COI"], bias_log_sd=0.0, flip_spread=0.0, sharpness_mm=0.0, noise=0.0)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 3, variation=0)


def tissue_means(person, image):
    return [float(image[f > 0.95].mean()) for f in person.fractions]


def test_spoiled_gradient_echo_follows_the_ernst_equation():
    sequence = Sequence("spgr", 10.0, 0.0, 0.0, 20.0)
    e1, flip = np.exp(-10 / 900), np.deg2rad(20)
    expected = 0.7 * np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1)
    assert np.isclose(sequence.signal(np.float64(900), np.float64(80), 0.7, 1.0), expected)


def test_inversion_nulls_at_its_zero_crossing():
    t1 = np.float64(1000.0)
    null = -np.log((1 + np.exp(-5000 / 1000)) / 2) * 1000
    sequence = Sequence("tse", 5000, 10, null)
    assert abs(sequence.signal(t1, np.float64(80), 1.0, 1.0)) < 1e-9


def test_t1w_and_t2w_order_the_tissues(person):
    grey, white, csf = tissue_means(person, acquire(person, CLEAN, "T1w", scan_seed=0))
    assert csf < grey < white
    grey, white, csf = tissue_means(person, acquire(person, CLEAN, "T2w", scan_seed=0))
    assert white < grey < csf


def test_gain_is_the_white_matter_signal(person):
    image = acquire(person, CLEAN, "T1w", scan_seed=0)
    assert np.isclose(np.median(image[person.fractions[1] > 0.98]), CLEAN.gain, rtol=0.03)


def test_background_is_exactly_zero(person):
    image = acquire(person, SITES["GE"], "T1w", scan_seed=0)
    assert not image[~person.mask].any()


def test_noise_is_repeatable_and_of_the_stated_size(person):
    noisy = replace(CLEAN, noise=0.05)
    clean = acquire(person, noisy, "T1w", scan_seed=4, noise=False)
    one = acquire(person, noisy, "T1w", scan_seed=4)
    assert np.array_equal(one, acquire(person, noisy, "T1w", scan_seed=4))
    assert not np.array_equal(one, acquire(person, noisy, "T1w", scan_seed=5))
    bright = person.mask & (clean > 0.5 * CLEAN.gain)
    assert np.isclose((one - clean)[bright].std(), 0.05 * CLEAN.gain, rtol=0.1)


def test_field_has_the_stated_size_and_is_smooth(person):
    field = bias_field(GRID.shape, person.mask, [1])
    inside = field[person.mask]
    assert abs(inside.mean()) < 1e-4 and np.isclose(inside.std(), 1, atol=1e-3)
    step = np.abs(np.diff(field, axis=0))[person.mask[1:] & person.mask[:-1]]
    assert step.max() < 0.8


def test_a_scan_has_a_field_of_its_own_only_when_asked(person):
    fielded = replace(CLEAN, bias_log_sd=0.2)
    own = [acquire(person, fielded, "T1w", scan_seed=s, noise=False) for s in (1, 2)]
    mean = [
        acquire(person, fielded, "T1w", scan_seed=s, noise=False, scan_field=False) for s in (1, 2)
    ]
    assert not np.allclose(own[0], own[1], rtol=1e-3)
    assert np.array_equal(mean[0], mean[1])


def test_blur_and_sharpening_move_edges_in_opposite_directions(person):
    def edge_energy(sharpness):
        scanner = replace(CLEAN, sharpness_mm=sharpness)
        image = acquire(person, scanner, "T1w", scan_seed=0, noise=False)
        core = person.mask[1:] & person.mask[:-1]
        return np.square(np.diff(image, axis=0))[core].mean()

    assert edge_energy(3.0) < edge_energy(0.0) < edge_energy(-0.6)


def test_twelve_sites_differ_in_all_that_tells_them_apart():
    assert len(SITES) == 12 and next(iter(SITES)) == "COI"
    for name in ("bias_seed", "serial", "noise", "gain"):
        assert len({getattr(s, name) for s in SITES.values()}) == len(SITES)
    assert all(site == scanner.site for site, scanner in SITES.items())
    assert {s.field_tesla for s in SITES.values()} == {1.5, 3.0}
    assert {s.sequences["T1w"].kind for s in SITES.values()} == {"mprage", "spgr"}


@pytest.mark.parametrize("site", SITES)
def test_every_site_sees_the_tissues_in_order(person, site):
    # Sharpening and blur mix tissues at their borders; a scanner without them shows its contrast.
    scanner = replace(without_fields(SITES[site]), sharpness_mm=0.0)
    grey, white, csf = tissue_means(person, acquire(person, scanner, "T1w", scan_seed=0))
    assert csf < 0.8 * grey and grey < 0.95 * white
    grey, white, csf = tissue_means(person, acquire(person, scanner, "T2w", scan_seed=0))
    assert 1.05 * white < grey and 1.2 * grey < csf


def test_without_fields_nothing_depends_on_place(person):
    scanner = without_fields(replace(SITES["GE"], sharpness_mm=0.0, noise=0.0))
    image = acquire(person, scanner, "T1w", scan_seed=1)
    white = image[person.fractions[1] > 0.995]
    fielded = acquire(person, replace(SITES["GE"], noise=0.0), "T1w", scan_seed=1)
    assert white.std() < 0.01 * white.mean()
    assert fielded[person.fractions[1] > 0.995].std() > 0.1 * white.mean()
    assert scanner.sequences == SITES["GE"].sequences and scanner.gamma == SITES["GE"].gamma


def test_a_modality_may_have_noise_sharpness_and_slices_of_its_own(person):
    plain = without_fields(replace(SITES["COI"], noise=0.0, sharpness_mm=0.0))
    own = replace(plain, details={"T2w": Detail(0.1, 0.8, 4.0)})
    same = (acquire(person, s, "T1w", scan_seed=1) for s in (plain, own))
    np.testing.assert_array_equal(*same)
    expected = replace(plain, noise=0.1, sharpness_mm=0.8, thick_mm=4.0)
    scans = (acquire(person, s, "T2w", scan_seed=1) for s in (expected, own))
    np.testing.assert_array_equal(*scans)
    changed = acquire(person, plain, "T2w", scan_seed=1)
    assert not np.array_equal(changed, acquire(person, own, "T2w", scan_seed=1))


def test_more_noise_is_of_every_modality_and_changes_nothing_else():
    scanner = replace(SITES["COI"], details={"T2w": Detail(0.1, 0.8, 4.0)})
    noisier = scanner.with_noise(1.5)
    assert noisier.detail("T1w").noise == pytest.approx(1.5 * 0.025)
    assert noisier.detail("T2w") == Detail(pytest.approx(0.15), 0.8, 4.0)
    assert replace(noisier, noise=scanner.noise, details=scanner.details) == scanner


def test_random_scanners_are_reproducible_and_differ():
    assert random_scanner(5) == random_scanner(5)
    assert random_scanner(5) != random_scanner(6)
    assert any(random_scanner(s).bias_log_sd == 0 for s in range(40))
