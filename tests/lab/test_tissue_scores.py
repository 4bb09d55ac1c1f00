"""Tissues of simulated people, and what is counted from them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.imaging.tissues import segment_tissues
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from lab.tissue_scores import (
    dice_per_class,
    tissue_densities,
    volume_change,
)

GRID = reference_grid(4.0)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 5)


@pytest.fixture(scope="module")
def truth(person):
    return np.where(person.mask, person.fractions.argmax(axis=0) + 1, 0)


@pytest.mark.parametrize("modality", ["T1w", "T2w", "FLAIR"])
@pytest.mark.parametrize("site", ["COI", "GE"])
def test_any_contrast_gives_the_tissues_of_the_person(person, truth, site, modality):
    data = acquire(person, SITES[site], modality, scan_seed=1)
    template = reference_tissues(GRID)
    tissues = segment_tissues(data, person.mask, template)
    scores = dice_per_class(tissues.labels, truth)
    assert min(scores.values()) > 0.65, scores
    # Better than what the template alone knows of this person.
    blind = dice_per_class(np.where(person.mask, template.argmax(axis=0) + 1, 0), truth)
    assert np.mean(list(scores.values())) > np.mean(list(blind.values())) + 0.1
    np.testing.assert_allclose(tissues.probabilities.sum(axis=0)[person.mask], 1, atol=1e-5)
    assert not tissues.labels[~person.mask].any()


def test_gain_and_a_smooth_field_do_not_move_the_tissues(person):
    data = acquire(person, SITES["COI"], "T1w", scan_seed=1)
    ramp = np.linspace(-0.25, 0.25, GRID.shape[1])[None, :, None]
    plain, other = (
        segment_tissues(d, person.mask, reference_tissues(GRID))
        for d in (data, 37 * data * np.exp(ramp))
    )
    assert min(dice_per_class(plain.labels, other.labels).values()) > 0.97
    np.testing.assert_allclose(other.means / plain.means, 37, rtol=0.05)
    assert max(map(abs, volume_change(plain.labels, other.labels).values())) < 0.03


def test_the_same_scan_gives_the_same_bits(person):
    data = acquire(person, SITES["GE"], "T2w", scan_seed=2)
    first, second = (segment_tissues(data, person.mask, reference_tissues(GRID)) for _ in range(2))
    assert np.array_equal(first.probabilities, second.probabilities)
    assert first.means[2] > first.means[0] > first.means[1]  # CSF is brightest on T2w


def test_dice_and_volumes_of_known_boxes():
    first, second = np.zeros((10, 4, 4), int), np.zeros((10, 4, 4), int)
    first[:4], second[2:8] = 1, 1
    first[8:] = second[8:] = 2
    scores = dice_per_class(first, second)
    assert scores["gm"] == pytest.approx(2 * 2 / (4 + 6))
    assert scores["wm"] == 1
    assert np.isnan(scores["csf"])
    changes = volume_change(first, second)
    assert changes["gm"] == pytest.approx(0.5)
    assert changes["wm"] == 0
    assert np.isnan(changes["csf"])


def test_volumes_of_fractions_see_less_than_a_voxel():
    fractions = np.zeros((3, 5, 5, 5))
    fractions[0] = 0.4
    assert volume_change(fractions, fractions * 1.1)["gm"] == pytest.approx(0.1)


def test_densities_are_kernel_estimates(rng):
    labels = rng.integers(0, 3, (12, 12, 12))
    data = rng.normal(np.array([9.0, 0.3, 0.7])[labels], 0.05)
    grid = np.linspace(0, 1, 501)
    curves = tissue_densities(data, labels, grid)
    assert list(curves) == ["brain", "gm", "wm"]
    sample = data[labels == 1]
    low, high = np.quantile(sample, [0.25, 0.75])
    silverman = 0.9 * min(sample.std(), (high - low) / 1.349) * sample.size**-0.2
    expected = gaussian_kde(sample, bw_method=silverman / sample.std(ddof=1))(grid)
    np.testing.assert_allclose(curves["gm"], expected, atol=0.01 * expected.max())
    assert np.trapezoid(curves["brain"], grid) == pytest.approx(1, abs=1e-3)


def test_bad_input_is_named(person):
    data = np.ones(GRID.shape)
    with pytest.raises(DataError, match="one grid"):
        segment_tissues(data, person.mask, np.ones((2, *GRID.shape)))
    with pytest.raises(DataError, match="No positive signal"):
        segment_tissues(0 * data, person.mask, reference_tissues(GRID))
    with pytest.raises(DataError, match="one grid"):
        dice_per_class(np.ones((2, 2, 2)), np.ones((2, 2, 3)))
