"""Lesions whose contrast is known before and after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from lab.lesions import (
    contrast_kept,
    insert_lesion,
    lesion_contrast,
    place_lesion,
)


@pytest.fixture
def head(rng):
    """White matter of 1.0 round a block of grey matter of 0.6, a little noise, 2 mm."""
    white = np.zeros((30, 30, 30), bool)
    white[2:28, 2:28, 2:28] = True
    mask = white.copy()
    white[2:10] = False
    data = np.where(white, 1.0, 0.6) * mask * (1 + 0.05 * rng.standard_normal(mask.shape))
    return data.astype(np.float32), white, mask


@pytest.mark.parametrize("seed", range(4))
def test_a_lesion_has_its_size_and_lies_in_white_matter(head, seed):
    _, white, _ = head
    lesion = place_lesion(white, 2.0, radius_mm=5.0, seed=seed)
    assert not (lesion.profile[~white]).any()
    assert not (lesion.ring & (lesion.profile > 0)).any()
    assert not (lesion.ring & ~white).any()
    assert lesion.profile.sum() * 8 == pytest.approx(4 / 3 * np.pi * 5**3, rel=0.1)
    assert (lesion.profile[lesion.core] == 1).all()
    assert lesion.profile[lesion.centre] == 1
    soft = lesion.profile[(lesion.profile > 0) & (lesion.profile < 1)]
    assert soft.size > 0


def test_seeds_draw_places(head):
    _, white, _ = head
    places = {place_lesion(white, 2.0, seed=s).centre for s in range(6)}
    assert len(places) > 3
    assert place_lesion(white, 2.0, seed=3).centre == place_lesion(white, 2.0, seed=3).centre


@pytest.mark.parametrize("contrast", [-0.3, 0.5])
def test_an_inserted_lesion_has_the_contrast_asked_for(head, contrast):
    data, white, _ = head
    lesion = place_lesion(white, 2.0, seed=1)
    before = lesion_contrast(data, lesion.core, lesion.ring)
    changed = insert_lesion(data, lesion, contrast)
    after = lesion_contrast(changed, lesion.core, lesion.ring)
    assert after - before == pytest.approx(contrast, abs=1e-5)
    outside = lesion.profile == 0
    assert np.array_equal(changed[outside], data[outside])


def test_a_pure_intensity_map_keeps_the_lesion_whatever_it_does_to_contrast(head):
    data, white, mask = head
    lesion = place_lesion(white, 2.0, seed=2)
    source = insert_lesion(data, lesion, -0.35)
    output = 300 * source**2
    got = contrast_kept(source, output, lesion, mask)
    assert got.kept == pytest.approx(1, abs=0.03)
    assert got.output == pytest.approx((1 - 0.35) ** 2 - 1, abs=0.03)
    assert got.change == pytest.approx((got.output - got.source) / got.source)
    assert got.twin is None


def test_an_erased_a_halved_and_an_overdone_lesion(head):
    data, white, mask = head
    lesion = place_lesion(white, 2.0, seed=2)
    source = insert_lesion(data, lesion, -0.4)
    for left, kept in ((0.0, 0), (-0.2, 0.5), (-0.6, 1.5)):
        got = contrast_kept(source, insert_lesion(data, lesion, left), lesion, mask)
        assert got.kept == pytest.approx(kept, abs=0.08)
        assert got.change == pytest.approx(kept - 1, abs=0.08)


def test_a_smooth_field_is_no_loss_of_contrast(head):
    data, white, mask = head
    lesion = place_lesion(white, 2.0, seed=4)
    source = insert_lesion(data, lesion, -0.35)
    field = np.exp(np.linspace(-0.15, 0.15, 30))[None, :, None]
    assert contrast_kept(source, source * field, lesion, mask).kept == pytest.approx(1, abs=0.1)


def test_one_lesion_seen_by_two_scanners():
    grid = reference_grid(3.0)
    person = make_anatomy(grid, 3)
    white = person.fractions[1] > 0.5
    lesion = place_lesion(white, 3.0, radius_mm=5.0, seed=0)
    ill = replace(
        person,
        t1_factor=person.t1_factor * (1 + 0.6 * lesion.profile),
        t2_factor=person.t2_factor * (1 + 0.8 * lesion.profile),
    )
    source, twin = (
        acquire(ill, SITES[site], "T2w", scan_seed=1, noise=False) for site in ("GE", "COI")
    )
    perfect = contrast_kept(source, 5 * twin, lesion, person.mask, twin)
    assert perfect.source > 0.05  # lesions are bright on T2w
    assert perfect.against_twin == pytest.approx(0, abs=1e-6)
    raw = contrast_kept(source, source, lesion, person.mask, twin)
    assert raw.kept == pytest.approx(1, abs=0.02)
    assert abs(raw.against_twin) > 0.02


def test_bad_input_is_named(head):
    data, white, mask = head
    lesion = place_lesion(white, 2.0, seed=0)
    with pytest.raises(DataError, match="No white matter"):
        place_lesion(np.zeros((4, 4, 4), bool), 2.0, seed=0)
    with pytest.raises(DataError, match="another grid"):
        insert_lesion(data[1:], lesion, 0.1)
    with pytest.raises(DataError, match="empty mask"):
        lesion_contrast(data, np.zeros_like(mask), lesion.ring)
    with pytest.raises(DataError, match="no signal"):
        lesion_contrast(0 * data, lesion.core, lesion.ring)
    with pytest.raises(DataError, match="no lesion"):
        contrast_kept(mask.astype(float), mask.astype(float), lesion, mask)
