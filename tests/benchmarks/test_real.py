"""How real slices get to the reference grid, and what is measured on them, with made arrays."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.real_measures import (
    linear,
    noise_over_white,
    tissue_ratios,
    tumour_contrast,
    within_sites,
)
from benchmarks.real_slices import Scan, halves, head_mask, inner_head, moved, placed
from bids_harmony.imaging.reference import reference_grid, reference_mask

GRID = reference_grid(4.0)
HEIGHT = 24


def ellipse(shape, centre, radii):
    """A filled ellipse, bool."""
    places = np.indices(shape).T.astype(float)
    return (np.square((places - centre) / radii).sum(-1) <= 1).T


def box(mask):
    return np.stack([np.argwhere(mask).min(axis=0), np.argwhere(mask).max(axis=0)])


def test_placed_slices_fill_the_templates_brain():
    inside = ellipse((150, 160), (60, 90), (40, 61))[..., None]
    made = placed(inside.astype(np.float32), inside, GRID, [HEIGHT])
    brain = reference_mask(GRID)[..., HEIGHT]
    assert made.shape == (*GRID.shape[:2], 1)
    assert np.abs(box(made[..., 0] > 0.5) - box(brain)).max() <= 1
    overlap = 2 * (brain & (made[..., 0] > 0.5)).sum() / (brain.sum() + (made > 0.5).sum())
    assert overlap > 0.9


def test_placed_keeps_all_slices_under_the_way_of_the_largest():
    large, small = (ellipse((150, 160), (60, 90), (r, 1.5 * r)) for r in (40, 20))
    stack = np.stack([small, large], axis=2)
    made = placed(stack.astype(np.float32), stack, GRID, [HEIGHT, HEIGHT + 1]) > 0.5
    sizes = made.sum(axis=(0, 1))
    assert sizes[0] / sizes[1] == pytest.approx(0.25, abs=0.05)


def test_placed_keeps_left_and_right_and_the_intensity():
    inside = ellipse((150, 160), (60, 90), (40, 61))[..., None]
    data = np.where(inside, 5.0, 0).astype(np.float32)
    data[60:] *= 2
    made = placed(data, inside, GRID, [HEIGHT])[..., 0]
    middle = GRID.shape[0] // 2
    row = made[:, GRID.shape[1] // 2]
    assert row[middle - 6] == pytest.approx(5) and row[middle + 6] == pytest.approx(10)


def test_moved_slices_keep_every_voxel_as_it_is():
    rng = np.random.default_rng(0)
    plane = np.zeros((64, 64), np.float32)
    plane[3:30, 20:60] = rng.uniform(1, 2, (27, 40))
    made = moved(plane, GRID, HEIGHT)
    assert made.shape == GRID.shape[:2]
    assert np.array_equal(np.sort(made[made > 0]), np.sort(plane[plane > 0]))
    brain = reference_mask(GRID)[..., HEIGHT]
    assert np.abs(box(made > 0).mean(axis=0) - box(brain).mean(axis=0)).max() <= 1


def test_the_inner_head_is_the_shrunk_outline():
    plane = 100.0 * ellipse((120, 140), (60, 70), (40, 55))
    plane[50:60, 60:70] = 1  # ventricles are dark
    plane[2, 2] = 1000  # and not all that is bright is head
    head = head_mask(plane)
    assert head[55, 65] and not head[2, 2]
    brain = inner_head(head, 0.8)
    assert np.array_equal(brain & head, brain)
    assert np.ptp(box(brain), axis=0) == pytest.approx(0.8 * np.ptp(box(head), axis=0), abs=2)


@pytest.mark.parametrize(
    ("modality", "means"),
    [("T1w", (0.3, 0.7, 1.0)), ("T2w", (1.0, 0.6, 0.4)), ("FLAIR", (0.2, 0.8, 0.6))],
)
def test_ratios_of_three_tissues_and_the_noise_are_found(modality, means):
    rng = np.random.default_rng(1)
    csf, grey, white = means
    data = np.full((90, 90, 1), white)
    data[:30] = grey
    data[80:] = csf
    data *= 1 + 0.02 * rng.standard_normal(data.shape)
    found = tissue_ratios(data, np.ones(data.shape, bool), modality)
    assert found["gm_wm"] == pytest.approx(grey / white, rel=0.01)
    assert found["csf_wm"] == pytest.approx(csf / white, rel=0.01)
    assert found["noise"] == pytest.approx(0.02, rel=0.1)


def test_ratios_do_not_depend_on_the_unit():
    rng = np.random.default_rng(2)
    data = np.repeat([0.3, 0.7, 1.0], 900).reshape(90, 30, 1)
    data = data + 0.02 * rng.standard_normal(data.shape)
    inside = np.ones(data.shape, bool)
    one, other = (tissue_ratios(unit * data, inside, "T1w") for unit in (1, 250))
    assert one == pytest.approx(other)


def test_too_little_white_matter_has_no_noise():
    white = np.zeros((20, 20, 1), bool)
    white[:5, :5] = True
    assert np.isnan(noise_over_white(np.ones(white.shape), white))


def test_contrast_of_a_tumour_does_not_depend_on_the_gain():
    mask = np.ones((20, 20, 1), bool)
    tumour = np.zeros_like(mask)
    tumour[:10, :10] = True
    data = np.where(tumour, 3.0, 2.0)
    assert tumour_contrast(data, mask, tumour) == pytest.approx(0.5)
    assert tumour_contrast(7 * data, mask, tumour) == pytest.approx(0.5)
    assert np.isnan(tumour_contrast(data, mask, np.zeros_like(mask)))


def test_the_line_of_least_squares_is_applied():
    known = np.array([0.0, 1.0, 2.0])
    assert linear(np.array([3.0, 5.0]), known, 2 * known - 1) == pytest.approx([5, 9])


def test_what_is_kept_of_people_is_free_of_the_sites():
    sites = ["a"] * 4 + ["b"] * 4
    before = np.array([1.0, 2, 3, 4, 11, 12, 13, 14])
    moved_site = before - 10 * (np.array(sites) == "b")
    assert within_sites(before, moved_site, sites) == pytest.approx(1)
    assert within_sites(before, -before, sites) == pytest.approx(-1)


def test_halves_share_every_site_and_no_person():
    nothing = np.zeros((1, 1, 1))
    scans = [
        Scan(person, site, "T1w", nothing, nothing > 0, np.array([0]), GRID)
        for site, people in (("a", "cabd"), ("b", "ef"))
        for person in people
    ]
    found = halves(scans)
    assert found == {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0, "f": 1}
