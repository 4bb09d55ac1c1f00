"""Pairs of travelling subjects and their slices."""

import numpy as np
import pytest
import torch

from bids_harmony.exceptions import DataError
from bids_harmony.sites.prepared_scans import PreparedScan
from bids_harmony.training.pairs import PairedScans, PairedSlices, pair_scans

SHAPE = (8, 9, 6)


def scan(subject, site, modality="T1w", value=0.5, rows=slice(2, 6)):
    mask = np.zeros(SHAPE, bool)
    mask[rows, 2:7, 1:5] = True
    data = np.where(mask, np.float32(value), 0)
    return PreparedScan(f"sub-{subject}_{site}_{modality}", subject, modality, site, data, mask, 1)


def test_pairs_are_one_person_at_source_and_target():
    scans = [scan("1", "A"), scan("1", "B", rows=slice(3, 7)), scan("1", "C"), scan("2", "A"),
             scan("1", "A", "T2w"), scan("3", "B"), scan("1", "B", "FLAIR")]  # fmt: skip
    pairs = pair_scans(scans, "B")
    assert [(p.subject, p.site, p.modality) for p in pairs] == [("1", "A", "T1w"),
                                                                ("1", "C", "T1w")]  # fmt: skip
    assert pairs[0].target is scans[1].data
    assert np.array_equal(pairs[0].mask, scans[0].mask & scans[1].mask)


def test_without_travelling_subjects():
    with pytest.raises(DataError, match=r"no travelling subjects.*subjects at B: 2"):
        pair_scans([scan("1", "A"), scan("2", "B")], "B")
    with pytest.raises(DataError, match="subjects at Z: none"):
        pair_scans([scan("1", "A"), scan("1", "B")], "Z")


def pair(source, target):
    mask = np.zeros(SHAPE, bool)
    mask[2:6, 2:7, 1:5] = True
    return PairedScans(source, target, mask, "1", "A", "T1w")


@pytest.fixture
def numbered(rng):
    """Every slice holds its own number, and noise outside the mask."""
    source = np.broadcast_to(np.arange(6) / 10, SHAPE).astype(np.float32)
    return pair(source, 1 - source)


def test_an_epoch_shows_every_slice_with_brain_once(numbered):
    slices = PairedSlices([numbered, numbered], multiple=8, signed=False, seed=1)
    assert len(slices) == 8
    shown = [round(float(slices.draw(step)[0].max()) * 10) for step in range(16)]
    assert sorted(shown[:8]) == sorted(shown[8:]) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert shown[:8] != shown[8:]
    again = PairedSlices([numbered, numbered], multiple=8, signed=False, seed=1)
    assert torch.equal(again.draw(11)[0], slices.draw(11)[0])


def test_slices_are_masked_clipped_padded_and_scaled(numbered):
    bright = pair(3 * numbered.source, numbered.target)
    source, target = PairedSlices([bright], multiple=16, signed=True, seed=0).draw(0)
    assert source.shape == target.shape == (1, 1, 16, 16)
    assert source.max() <= 1 and source.min() == -1 == target.min()
    assert (source > -1).sum() == (target > -1).sum() == 4 * 5


def test_mixing_moves_the_source_along_the_line_to_its_target(numbered):
    plain = PairedSlices([numbered], multiple=1, signed=False, seed=0)
    mixed = PairedSlices([numbered], multiple=1, signed=False, seed=0, mixing=0.3)
    shares = []
    for step in range(40):
        (x, y), (z, same) = plain.draw(step), mixed.draw(step)
        assert torch.equal(y, same)
        inside = y > 0
        share = ((z - x) / (y - x))[inside]
        assert share.std() < 1e-4 and not z[~inside].any()
        shares.append(float(share.mean()))
    assert -0.3 <= min(shares) < -0.2 and 0.2 < max(shares) <= 0.3


def test_no_common_brain():
    nothing = PairedScans(np.zeros(SHAPE), np.zeros(SHAPE), np.zeros(SHAPE, bool), "1", "A", "T1w")
    with pytest.raises(DataError, match="no slices"):
        PairedSlices([nothing], multiple=8, signed=True, seed=0)


def test_the_digest_sees_every_voxel(numbered):
    other = numbered.target.copy()
    other[0, 0, 0] += 1
    assert pair(numbered.source, other).digest != numbered.digest
    assert pair(numbered.source, numbered.target).digest == numbered.digest
