"""Contrast kept: between tissues, and of what is brighter than they are."""

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
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


def test_bounds_are_of_the_numbers_and_what_is_missing_is_no_loss():
    nan = float("nan")
    assert ContrastKept(nan, nan, nan).losses() == []
    assert len(ContrastKept(0.3, 4.0, 0.4).losses()) == 3
    assert ContrastKept(0.4, 3.0, 2.9).losses() == []


def test_a_scan_without_tissues_gets_no_numbers(person):
    small = np.zeros_like(person.mask)
    small[20:23, 20:23, 20:23] = True
    data = scaled(person, "T1w")
    kept = contrast_kept_by_tissue(data, data, small & person.mask, "T1w", GRID.voxel_mm)
    assert np.isnan([kept.gray_white, kept.gray_csf, kept.above_white]).all()
