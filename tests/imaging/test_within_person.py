"""Sessions of one person, moved by known amounts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.alike import LEAST_AGREEMENT
from bids_harmony.imaging.mask import BrainMask, person_mask
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import register_to_reference
from bids_harmony.imaging.within_person import agreements_of, middle_of, share_space
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from tests.small_volumes import rigid

SCANNED = reference_grid(2.0)

#: Where the template's voxels were before each session moved them.
MOVES = (rigid((6, -4, 5), (8, -3, 10)), rigid((-5, 3, 0), (-6, 9, 2)), np.eye(4))


def session(volume, move, noise):
    rng = np.random.default_rng(noise)
    data = np.where(volume.data > 0, volume.data + rng.normal(0, 20, volume.data.shape), 0)
    affine = np.linalg.inv(move) @ volume.affine
    return replace(volume, data=data.clip(0).astype(np.float32), affine=affine)


@pytest.fixture(scope="module")
def sessions(brain_at_2mm):
    """Scans with masks of different care: the last one misses a part."""
    volume, mask = brain_at_2mm
    short = mask.copy()
    short[:30] = False
    masks = (mask, mask, short)
    return [
        (session(volume, move, i), BrainMask(own, "given"))
        for i, (move, own) in enumerate(zip(MOVES, masks, strict=True))
    ]


@pytest.fixture(scope="module")
def shared(sessions):
    return share_space(sessions, modality="T1w", sloppy=True)


def test_from_session_to_session_it_is_rigid_and_the_known_move(shared, sessions):
    points = np.c_[np.random.default_rng(0).uniform(-50, 50, (50, 3)), np.ones(50)]
    for world, move in zip(shared.worlds, MOVES, strict=True):
        step = np.linalg.inv(shared.worlds[2]) @ world
        np.testing.assert_allclose(step[:3, :3] @ step[:3, :3].T, np.eye(3), atol=1e-6)
        apart = (points @ (step - move).T)[:, :3]
        assert np.linalg.norm(apart, axis=1).max() < 0.7
    # One by one each session is scaled in a way of its own.
    alone = [register_to_reference(*one, modality="T1w", sloppy=True).world for one in sessions]
    assert np.ptp([np.linalg.det(w[:3, :3]) for w in alone]) > 1e-4
    assert np.ptp([np.linalg.det(w[:3, :3]) for w in shared.worlds]) < 1e-6


def test_the_order_of_sessions_changes_no_bit(shared, sessions):
    again = share_space([sessions[i] for i in (2, 0, 1)], modality="T1w", sloppy=True)
    for i, j in enumerate((2, 0, 1)):
        assert again.worlds[i].tobytes() == shared.worlds[j].tobytes()
        assert again.agreements[i] == shared.agreements[j]
    assert again.mask.tobytes() == shared.mask.tobytes()
    assert min(shared.agreements) > 0.9


def test_the_brain_is_that_of_most_and_the_same_in_every_session(shared, sessions, brain_at_2mm):
    _, mask = brain_at_2mm
    volumes = []
    for volume, own in sessions:
        world = shared.worlds[sessions.index((volume, own))]
        carried = person_mask(shared.mask, volume, world)
        assert carried.kind == "person"
        # Also in the third, whose own mask lacks a side.
        agree = 2 * (carried.data & mask).sum() / (carried.data.sum() + mask.sum())
        assert agree > 0.96
        volumes.append(carried.data.sum())
    # The session that was masked badly has no smaller brain for it.
    assert np.ptp(volumes) < 0.02 * mask.sum() < 0.1 * mask.sum() < mask.sum() - own.data.sum()
    assert 2 * (own.data & mask).sum() / (own.data.sum() + mask.sum()) < 0.9


def test_what_one_field_of_view_lacks_the_others_have(brain_at_2mm):
    volume, mask = brain_at_2mm
    whole = session(volume, MOVES[2], 0)
    low = 20
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * low
    cut = replace(whole, data=whole.data[:, :, low:].copy(), affine=affine)
    found = share_space(
        [(whole, BrainMask(mask, "given")), (cut, BrainMask(mask[:, :, low:], "given"))],
        modality="T1w",
        sloppy=True,
    )
    carried = person_mask(found.mask, whole, found.worlds[0]).data
    below = mask[:, :, : low - 2]
    assert below.sum() > 1000 and (carried[:, :, : low - 2] & below).sum() > 0.85 * below.sum()


def test_whole_heads_without_masks_share_a_space_and_no_mask(brain_at_2mm):
    volume, _ = brain_at_2mm
    scans = [(session(volume, move, i), None) for i, move in enumerate(MOVES[1:])]
    found = share_space(scans, modality="FLAIR", sloppy=True)
    assert found.mask is None
    step = np.linalg.inv(found.worlds[1]) @ found.worlds[0]
    np.testing.assert_allclose(step, MOVES[1], atol=0.8)


def test_the_middle_neither_turns_nor_moves_on_average():
    centre = np.array([3.0, -20.0, 15.0])
    back = rigid((10, 0, 0), (4, 0, 0))
    found = middle_of([np.eye(4), np.linalg.inv(back)], centre)
    # Half of the turn each way.
    np.testing.assert_allclose(found[0][:3, :3], rigid((5, 0, 0), (0, 0, 0))[:3, :3], atol=1e-9)
    home = [np.linalg.inv(step) for step in found]
    middle = found[0][:3, :3] @ centre + found[0][:3, 3]
    where = [h[:3, :3] @ middle + h[:3, 3] for h in home]
    np.testing.assert_allclose(np.mean(where, axis=0), middle, atol=1e-9)


def test_what_differs_between_scanners_is_no_other_person(world_of_scanners):
    """Two of one person at scanners of other contrasts and fields agree, two people do not."""
    people, scans = world_of_scanners
    for one in people:
        for site in ("GE", "PHILIPS"):
            pair = [scans[one, "COI"], scans[one, site]]
            assert min(agreement(pair)) > LEAST_AGREEMENT + 0.1
    for site in ("COI", "GE"):
        pair = [scans[people[0], "COI"], scans[people[1], site]]
        assert max(agreement(pair)) < LEAST_AGREEMENT - 0.1


def agreement(pair):
    (one, first), (other, second) = pair
    return agreements_of([one, other], first & second, SCANNED.voxel_mm)


@pytest.fixture(scope="module")
def world_of_scanners():
    """Two simulated people at three scanners, in one space."""
    people = {i: make_anatomy(SCANNED, 900 + i) for i in range(2)}
    scans = {
        (i, site): (acquire(person, SITES[site], "T1w", scan_seed=i), person.mask)
        for i, person in people.items()
        for site in ("COI", "GE", "PHILIPS")
    }
    return tuple(people), scans
