"""Tissue intensities follow a person, not the borders that a segmentation draws."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.legendre import FIELD_TERMS, log_field
from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire, without_fields
from bids_harmony.sites.tissue_profile import contrasts, tissue_profile

GRID = reference_grid(4.0)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 31)


def scan(person, site="SKYRA", modality="T1w", mask=None):
    data = acquire(person, without_fields(SITES[site]), modality, scan_seed=4)
    return data / robust_scale(data, person.mask if mask is None else mask)


def grey_contrast(person, longer):
    """log(grey / white) as measured and in pure voxels, T1 of grey matter `longer` times."""
    factor = person.t1_factor * (1 + (longer - 1) * person.fractions[0])
    changed = replace(person, t1_factor=factor.astype(np.float32))
    data = scan(changed)
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


def test_a_field_is_no_contrast(person):
    data = scan(person)
    field = np.zeros(FIELD_TERMS)
    field[[1, 4, 10]] = 0.3, -0.25, 0.2
    bright = data * np.exp(log_field(field, data.shape))
    plain, found = (tissue_profile(d, person.mask, GRID.voxel_mm) for d in (data, bright))
    assert contrasts(found.means) == pytest.approx(contrasts(plain.means), abs=0.01)
    assert (found.field - plain.field)[[1, 4, 10]] == pytest.approx([0.3, -0.25, 0.2], abs=0.06)


@pytest.mark.parametrize(("modality", "end"), [("T1w", 0.5), ("T2w", 99.5)])
def test_a_tissue_that_is_hardly_there_lies_within_the_brains_range(person, modality, end):
    inside = person.mask & (reference_tissues(GRID)[2] < 0.05)
    data = scan(person, modality=modality, mask=inside)
    found = tissue_profile(data, inside, GRID.voxel_mm)
    flat = data * np.exp(-log_field(found.field, data.shape))
    assert found.means[2] == pytest.approx(np.percentile(flat[inside], end), rel=1e-5)


@pytest.mark.parametrize(
    ("site", "modality", "means", "field"),
    [
        ("SKYRA", "T1w", (0.51333, 0.79884, 0.17335), (0.03000, -0.05506, -0.00039)),
        ("GE", "T1w", (0.67488, 0.85040, 0.38381), (0.03446, -0.02501, 0.01408)),
        ("GE", "T2w", (0.52857, 0.35173, 0.94627), (0.08272, 0.03364, 0.03085)),
        ("PHILIPS", "FLAIR", (0.86857, 0.66908, 0.42358), (0.04644, 0.03017, 0.01747)),
    ],
)
def test_a_profile_is_what_it_was(person, site, modality, means, field):
    """Numbers of today: site profiles that are kept hold such."""
    found = tissue_profile(scan(person, site, modality), person.mask, GRID.voxel_mm)
    assert found.means == pytest.approx(means, rel=1e-3)
    assert found.field[[1, 4, 10]] == pytest.approx(field, abs=1e-3)


def test_a_fine_grid_is_measured_on_a_coarse_lattice():
    fine = reference_grid(2.0)
    person = make_anatomy(fine, 31)
    data = scan(person)
    every_other = (slice(None, None, 2),) * 3
    blocks = np.zeros_like(data)
    blocks[every_other] = data[every_other]
    found, lattice = (tissue_profile(d, person.mask, 2.0) for d in (data, blocks))
    assert np.array_equal(found.means, lattice.means)
    assert np.array_equal(found.field, lattice.field)


def test_curve_and_blur_are_of_the_scan_without_its_field(person):
    data = scan(person)
    field = np.zeros(FIELD_TERMS)
    field[[1, 4, 10]] = 0.3, -0.25, 0.2
    bright = data * np.exp(log_field(field, data.shape))
    plain, found = (
        tissue_profile(d, person.mask, GRID.voxel_mm, in_full=True) for d in (data, bright)
    )
    assert plain.curve.shape == (30,) and (np.diff(plain.curve) >= 0).all()
    # Between CSF and white matter, and free of gain and field.
    assert plain.means[2] < plain.curve[15] < 1.05 * plain.means[1]
    ratio = (found.curve / found.means[1]) / (plain.curve / plain.means[1])
    assert ratio[5:] == pytest.approx(1, abs=0.04)


def test_a_smoother_scanner_shows_more_blur_and_noise_does_not_move_the_curve():
    grid = reference_grid(2.0)
    head = make_anatomy(grid, 31)

    def seen(**changes):
        scanner = replace(without_fields(SITES["COI"]), **changes)
        data = acquire(head, scanner, "T1w", scan_seed=4)
        return tissue_profile(data / robust_scale(data, head.mask), head.mask, 2.0, in_full=True)

    sharp, smooth = seen(sharpness_mm=0.0), seen(sharpness_mm=1.2)
    assert (smooth.blur - sharp.blur > 0.5).all()
    noisy = seen(sharpness_mm=0.0, noise=0.07)
    apart = noisy.curve / noisy.means[1] - sharp.curve / sharp.means[1]
    assert np.abs(apart[4:]).max() < 0.04
