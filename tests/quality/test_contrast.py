"""Contrast kept: between tissues, and of what is brighter than they are."""

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.legendre import FIELD_TERMS, log_field
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.pathology import with_lesions
from bids_harmony.phantom.scanner import SITES, acquire, without_fields
from bids_harmony.quality.contrast import ContrastKept, contrast_kept_by_tissue

GRID = reference_grid(4.0)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 77)


def scaled(person, modality):
    data = acquire(person, without_fields(SITES["COI"]), modality, scan_seed=2)
    return data / robust_scale(data, person.mask)


def measured(before, after, person, modality):
    return contrast_kept_by_tissue(before, after, person.mask, modality, GRID.voxel_mm)


def test_a_gain_loses_nothing(person):
    data = scaled(person, "FLAIR")
    kept = measured(data, 1.7 * data, person, "FLAIR")
    assert (kept.gray_white, kept.gray_csf, kept.above_white) == pytest.approx((1, 1, 1), rel=1e-5)
    assert kept.losses() == []


def test_half_the_contrast_is_half_the_contrast(person):
    data = scaled(person, "T1w")
    white = float(np.median(data[person.fractions[1] > 0.9]))
    kept = measured(data, white + 0.5 * (data - white), person, "T1w")
    assert kept.gray_white == pytest.approx(0.5, abs=0.02)
    assert kept.gray_csf == pytest.approx(0.5, abs=0.02)
    assert np.isnan(kept.above_white)  # vessels and fat


@pytest.fixture(scope="module")
def patient():
    """With 4 ml of lesions, on a grid that can show them."""
    return with_lesions(make_anatomy(reference_grid(2.0), 77), 5, load_ml=4.0)


@pytest.mark.parametrize("modality", ["T2w", "FLAIR"])
def test_lesions_that_are_flattened_are_told(patient, modality):
    data = scaled(patient, modality)
    grey = float(np.median(data[patient.fractions[0] > 0.9]))
    flat = np.where(data > grey, grey + 0.1 * (data - grey), data)
    kept = contrast_kept_by_tissue(data, flat, patient.mask, modality, 2.0)
    assert kept.above_white < 0.4
    (words,) = [text for text in kept.losses() if "brighter" in text]
    assert "0.5 to 3" in words


@pytest.mark.parametrize("modality", ["T2w", "FLAIR"])
@pytest.mark.parametrize("site", ["GE", "PHILIPS", "SIEMENS", "SKYRA"])
def test_what_the_target_itself_would_show_is_no_loss(patient, modality, site):
    """Fields of both scanners differ, and so does the contrast of all tissues."""
    before, after = (
        acquire(patient, SITES[name], modality, scan_seed=seed)
        for name, seed in ((site, 3), ("COI", 4))
    )
    kept = contrast_kept_by_tissue(before, after, patient.mask, modality, 2.0)
    assert kept.losses() == []


@pytest.mark.parametrize(
    ("modality", "above_white", "edges"),
    [("T2w", 0.19808, (0.91402, 0.13770)), ("FLAIR", 0.29986, (0.89928, 0.96926))],
)
def test_numbers_of_a_loss_are_what_they_were(patient, modality, above_white, edges):
    """Which voxels are bright, and beside what, is a choice: its numbers of today."""
    data = scaled(patient, modality)
    grey = float(np.median(data[patient.fractions[0] > 0.9]))
    flat = np.where(data > grey, grey + 0.1 * (data - grey), data)
    kept = contrast_kept_by_tissue(data, flat, patient.mask, modality, 2.0)
    assert kept.above_white == pytest.approx(above_white, rel=1e-3)
    assert (kept.gray_white, kept.gray_csf) == pytest.approx(edges, rel=1e-3)


@pytest.mark.parametrize("modality", ["T2w", "FLAIR"])
def test_neither_a_field_nor_noise_is_a_loss_of_what_is_bright(patient, modality, rng):
    data = scaled(patient, modality)
    field = np.zeros(FIELD_TERMS)
    field[[1, 4, 10]] = 0.3, -0.25, 0.2
    bright = data * np.exp(log_field(field, data.shape))
    noisy = data + 0.1 * rng.standard_normal(data.shape)
    for after in (bright, noisy):
        kept = contrast_kept_by_tissue(data, after, patient.mask, modality, 2.0)
        assert kept.above_white == pytest.approx(1, abs=0.06)


def test_an_edge_that_is_hardly_there_says_nothing(person):
    labels = person.fractions.argmax(axis=0)
    data = np.where(person.mask, np.array([0.79, 0.8, 0.2], np.float32)[labels], 0)
    kept = measured(data, data**2, person, "T1w")
    assert np.isnan(kept.gray_white) and np.isfinite(kept.gray_csf)


def test_lesions_are_not_looked_for_on_a_grid_coarser_than_they_are(person):
    coarse = make_anatomy(reference_grid(5.0), 77)
    for anatomy, voxel_mm, seen in ((coarse, 5.0, False), (person, 4.0, True)):
        data = scaled(anatomy, "FLAIR")
        kept = contrast_kept_by_tissue(data, data, anatomy.mask, "FLAIR", voxel_mm)
        assert np.isfinite(kept.above_white) == seen


@pytest.mark.parametrize("within", [(0.334, 0.334, 0.5), (3.5, 3.5, 3.0), (np.nan,) * 3])
def test_what_is_within_its_bounds_or_missing_is_no_loss(within):
    assert ContrastKept(*within).losses() == []


@pytest.mark.parametrize("beyond", [(0.333, 0.333, 0.499), (3.51, 3.51, 3.01)])
def test_each_number_beyond_its_bounds_is_told(beyond):
    first, second, third = ContrastKept(*beyond).losses()
    assert first.startswith("grey against white") and "0.33 to 3.5" in first
    assert second.startswith("grey matter against CSF") and "0.33 to 3.5" in second
    assert third.startswith("what is brighter") and "0.5 to 3" in third


def test_a_scan_without_tissues_gets_no_numbers(person):
    small = np.zeros_like(person.mask)
    small[17:23, 17:23, 17:23] = True
    data = scaled(person, "T1w")
    kept = contrast_kept_by_tissue(data, data, small & person.mask, "T1w", GRID.voxel_mm)
    assert np.isnan([kept.gray_white, kept.gray_csf, kept.above_white]).all()
