"""Several lesions in one head, and what is left of what they add."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from lab.lesion_signal import (
    insert_lesions,
    place_lesions,
    prepared_with_lesions,
    signal_kept,
)


@pytest.fixture
def head(rng):
    """White matter of 1.0 beside grey matter of 0.6, a little noise, 2 mm."""
    white = np.zeros((50, 40, 40), bool)
    white[2:40, 2:38, 2:38] = True
    mask = white.copy()
    mask[40:48, 2:38, 2:38] = True
    data = np.where(white, 1.0, 0.6) * mask * (1 + 0.02 * rng.standard_normal(mask.shape))
    return data.astype(np.float32), white, mask


@pytest.fixture
def lesions(head):
    return place_lesions(head[1], 2.0, 7, seed=3)


def test_lesions_lie_apart_in_white_matter_and_differ_in_size(head, lesions):
    _, white, _ = head
    touched = np.zeros(white.shape, int)
    for lesion in lesions:
        assert not lesion.profile[~white].any()
        touched += (lesion.profile > 0) | lesion.ring
    assert touched.max() == 1
    volumes = [lesion.profile.sum() for lesion in lesions]
    assert volumes[0] > 3 * volumes[3]


def test_seeds_draw_places(head, lesions):
    again, other = (place_lesions(head[1], 2.0, 7, seed=seed) for seed in (3, 50))
    assert [a.centre for a in again] == [b.centre for b in lesions]
    assert [a.centre for a in other] != [b.centre for b in lesions]


def test_too_little_white_matter_is_said(head):
    small = np.zeros_like(head[1])
    small[10:18, 10:18, 10:18] = True
    with pytest.raises(DataError):
        place_lesions(small, 2.0, 30, seed=1)


@pytest.mark.parametrize("contrast", [-0.25, 0.5])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, 1.3])
def test_the_share_that_is_left_is_found_whatever_the_gain(head, lesions, contrast, share):
    data, _, mask = head
    ill = insert_lesions(data, lesions, contrast)
    after, after_with = 700 * data, 700 * (data + np.float32(share) * (ill - data))
    kept = signal_kept(data, ill, after, after_with, lesions, mask)
    assert kept.signal_kept == pytest.approx(share, abs=1e-3)
    assert kept.gain == pytest.approx(700, rel=1e-4)
    assert kept.contrast_before == pytest.approx(contrast, abs=0.03)
    assert kept.contrast_after == pytest.approx(share * contrast, abs=0.03)


def test_a_map_that_is_flat_above_white_matter_loses_bright_lesions(head, lesions):
    data, _, mask = head
    ill = insert_lesions(data, lesions, 0.5)
    after, after_with = (np.minimum(d, 1.1) for d in (data, ill))
    kept = signal_kept(data, ill, after, after_with, lesions, mask)
    assert kept.signal_kept == pytest.approx(0.1 / 0.5, abs=0.03)


def test_lesions_that_add_nothing_are_refused(head, lesions):
    data, _, mask = head
    with pytest.raises(DataError, match="no signal"):
        signal_kept(data, data, data, data, lesions, mask)


def test_a_prepared_scan_with_lesions_is_scaled_anew(head):
    data, white, mask = head
    lesions = place_lesions(white, 2.0, 12, seed=3)
    scan = Prepared(data, mask, 300.0, np.eye(4), reference_grid(2.0))
    ill = prepared_with_lesions(scan, lesions, 0.5)
    stored, stored_ill = scan.data * scan.scale, ill.data * ill.scale
    free = np.all([lesion.profile == 0 for lesion in lesions], axis=0)
    np.testing.assert_allclose(stored_ill[free], stored[free], rtol=1e-5)
    assert ill.scale > 1.1 * scan.scale
    assert np.percentile(ill.data[mask], 99.5) == pytest.approx(np.percentile(data[mask], 99.5))
