"""One head at two sites is recognized by its gyri."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import load_encoder
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.sites.difference import compare_sites
from bids_harmony.sites.image_profile import build_profile
from bids_harmony.sites.same_head import same_head

GRID = reference_grid(2.0)


@pytest.fixture(scope="module")
def profiles():
    encoder, found = load_encoder("mri"), {}
    for number in (0, 1):
        person = make_anatomy(GRID, 300 + number)
        for site in ("COI", "GE"):
            data = acquire(person, SITES[site], "T1w", scan_seed=number)
            scale = robust_scale(data, person.mask)
            scan = (f"sub-{number}", data / scale, person.mask, scale)
            found[site, number] = build_profile(
                site, "T1w", [scan], encoder, cells=4, voxel_mm=2.0, coded=1
            )
    return found


def test_one_head_and_two_heads(profiles):
    assert same_head(profiles["COI", 0], profiles["GE", 0])
    assert same_head(profiles["GE", 1], profiles["COI", 1])
    assert not same_head(profiles["COI", 0], profiles["GE", 1])
    assert not same_head(profiles["COI", 1], profiles["COI", 0])


def test_many_people_and_empty_images_are_no_head(profiles):
    one = profiles["COI", 0]
    two = replace(
        one.single, people=("a", "b"), means=np.tile(one.single.means, (2, 1)),
        fields=np.tile(one.single.fields, (2, 1)), detail=np.tile(one.single.detail, (2, 1)),
    )  # fmt: skip
    assert not same_head(replace(one, single=two), profiles["GE", 0])
    nothing = replace(one, mean_image=np.zeros_like(one.mean_image))
    assert not same_head(nothing, one) and not same_head(nothing, nothing)
    half = one.mean_image.copy()
    half[: half.shape[0] // 2] = 0
    other = one.mean_image.copy()
    other[half.shape[0] // 2 :] = 0
    assert not same_head(replace(one, mean_image=half), replace(one, mean_image=other))


def test_a_traveller_is_worth_many_strangers(profiles):
    source, target = profiles["GE", 0].scan_measures, profiles["COI", 0].scan_measures
    strangers = compare_sites(source, target, "T1w")
    traveller = compare_sites(source, target, "T1w", same_person=True)
    assert (strangers.support, traveller.support) == (0, 1)
    assert traveller.condition_share == traveller.probability > strangers.condition_share
    assert traveller.by_contrast[1].standard_error < strangers.by_contrast[1].standard_error / 3
    raw = traveller.by_contrast[1].raw
    assert abs(traveller.contrasts[1] - raw) < abs(strangers.contrasts[1] - raw)
    assert traveller.for_sidecar()["SamePerson"] and not strangers.for_sidecar()["SamePerson"]


def test_heads_that_are_alike_in_part_are_two(profiles):
    one, other = profiles["COI", 0], profiles["COI", 1]
    both = one.mask & other.mask
    half = np.where(both, 0.45 * one.mean_image + 0.55 * other.mean_image, 0)
    assert not same_head(replace(one, mean_image=half.astype(np.float32)), one)
    most = np.where(both, 0.9 * one.mean_image + 0.1 * other.mean_image, 0)
    assert same_head(replace(one, mean_image=most.astype(np.float32)), one)
