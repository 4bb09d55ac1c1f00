"""What the network sees, on small arrays: how far both sides of its condition are apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.texture import N_MAPS, texture
from bids_harmony.methods import conditioned as module
from bids_harmony.methods.conditioned import Conditioned, condition_scan
from bids_harmony.methods.site_forms import site_evidence
from bids_harmony.model.presets import preset
from bids_harmony.sites.difference import compare_sites
from bids_harmony.sites.image_profile import ImageProfile

SHAPE, CELLS = (16, 16, 6), 2
MASK = np.ones(SHAPE, bool)
#: log(own / site mean), log site mean, two bands of detail, noise, error: places in the maps.
RATIO, SITE_MEAN, DETAIL, NOISE, ERROR = 0, 2, slice(3, 5), 6, 7


def profile(level, people=5):
    """A site whose every scan is of one intensity."""
    return ImageProfile(
        site=str(level), modality="T1w", mean_image=np.full(SHAPE, level, np.float32),
        landmarks=np.linspace(0, level, 11), quantiles=np.linspace(0, level, 101),
        codes=np.full((2, 3), level, np.float32),
        texture=np.full((SHAPE[2], 2, CELLS, CELLS), -4 * level, np.float32),
        tissue_means=level * np.array([0.7, 0.9, 0.2]), field=np.zeros(20), scale=1.0,
        scans=tuple(f"sub-{i}" for i in range(people)),
    )  # fmt: skip


SOURCE, TARGET = profile(0.5), profile(0.8)


@pytest.fixture
def data(rng):
    return (0.6 + 0.01 * rng.standard_normal(SHAPE)).astype(np.float32)


@pytest.fixture
def condition(data, monkeypatch):
    """With a probability that sites differ, and a closed form that is a gain of 1.5."""
    monkeypatch.setattr(module, "closed_form", lambda data, *_: 1.5 * data)
    # As large as the mean of what is measured: these arrays have no white matter.
    monkeypatch.setattr(module, "deep_noise", lambda data, *_: 0.05 * data.mean())

    def make(probability=1.0, target=TARGET, use_closed_form=True, n_maps=N_MAPS):
        found = replace(site_evidence(SOURCE, target), probability=probability)
        monkeypatch.setattr(module, "site_evidence", lambda *_: found)
        # Another object each time: what two sites share is kept by the objects.
        target = target if target is SOURCE else replace(target)
        return condition_scan(
            data, MASK, SOURCE, target, voxel_mm=5.0,
            config=preset("local", grid=CELLS, n_maps=n_maps), use_closed_form=use_closed_form,
        )  # fmt: skip

    return make


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_target_side_is_as_far_off_as_the_evidence_supports(condition, data, share):
    found = condition(share)
    assert found.gate == pytest.approx(share)
    assert found.codes_source == pytest.approx(0.5)
    assert found.codes_target == pytest.approx(0.5 + share * 0.3)
    detail = texture(1.5 * data, MASK, CELLS)
    assert found.maps_source[:, DETAIL] == pytest.approx(detail / 4)
    assert found.maps_target[:, DETAIL] == pytest.approx(
        (detail + share * (-3.2 - detail)) / 4, abs=1e-6
    )
    # Intensities are ratios: half of the way from 0.5 to 0.8 is their geometric mean.
    between = np.log(0.5) + share * np.log(0.8 / 0.5)
    assert found.maps_source[:, SITE_MEAN] == pytest.approx(np.log(0.5), abs=1e-4)
    assert found.maps_target[:, SITE_MEAN] == pytest.approx(between, abs=1e-4)


def test_the_source_side_describes_the_scan_and_the_target_side_the_closed_form(condition, data):
    found = condition()
    assert np.array_equal(found.image, 1.5 * data)
    assert found.maps_source[:, RATIO] == pytest.approx(np.log(0.6 / 0.5), abs=0.01)
    assert found.maps_target[:, RATIO] == pytest.approx(np.log(0.9 / 0.8), abs=0.01)
    plain = condition(use_closed_form=False)
    assert plain.image is data
    assert plain.maps_target[:, RATIO] == pytest.approx(np.log(0.6 / 0.8), abs=0.01)


def test_both_sides_know_the_noise_of_what_the_network_gets(condition):
    found, plain = condition(), condition(use_closed_form=False)
    for made, mean in ((found, 0.9), (plain, 0.6)):
        for maps in (made.maps_source, made.maps_target):
            assert maps[:, NOISE] == pytest.approx(np.log((0.05 * mean + 0.002) / 0.02), abs=0.01)


def test_both_sides_know_how_well_the_sites_are_known(condition):
    for people, error in ((5, np.sqrt(2 / 5)), (2, np.sqrt(1 / 5 + 1 / 2))):
        found = condition(target=profile(0.8, people))
        assert found.maps_source[:, ERROR] == pytest.approx(error)
        assert found.maps_target[:, ERROR] == pytest.approx(error)
    assert not condition(target=SOURCE).maps_source[:, ERROR].any()


def test_a_model_of_fewer_maps_gets_the_first_of_them(condition):
    every, fewer = condition(), condition(n_maps=6)
    for side in ("maps_source", "maps_target"):
        assert np.array_equal(getattr(fewer, side), getattr(every, side)[:, :6])


def test_a_difference_that_is_sure_is_one(condition):
    found, less = condition(0.9995), condition(0.99)
    assert found.gate == 1 and less.gate == np.float32(0.99)
    assert np.array_equal(found.codes_target, condition(1.0).codes_target)
    assert np.array_equal(found.maps_target, condition(1.0).maps_target)


def test_a_site_against_itself_has_the_same_condition_on_both_sides(condition):
    found = condition(target=SOURCE)
    assert np.array_equal(found.codes_source, found.codes_target)
    assert np.array_equal(found.maps_source, found.maps_target)
    assert found.gate == 1


def test_the_gate_is_shut_where_nothing_differs(rng):
    codes = np.zeros((4, 3), np.float32)
    maps = np.zeros((4, N_MAPS, CELLS, CELLS), np.float32)
    other_codes, other_maps = codes.copy(), maps.copy()
    other_codes[1, 2] = other_maps[2, 4, 0, 1] = 1e-6
    image = rng.random((*SHAPE[:2], 4)).astype(np.float32)
    whole = Conditioned(image, image > 0, codes, other_codes, maps, other_maps, gate=0.4)
    assert whole.slices(np.arange(4))[1].gate.tolist() == pytest.approx([0, 0.4, 0.4, 0])
    without = Conditioned(image, image > 0, codes, other_codes, None, None, gate=0.4)
    assert without.slices(np.array([1, 2]))[1].gate.tolist() == pytest.approx([0.4, 0])


def test_evidence_is_of_the_way_from_source_to_target():
    found = site_evidence(SOURCE, profile(0.8, people=3))
    expected = compare_sites(SOURCE.scan_measures, profile(0.8, people=3).scan_measures, "T1w")
    assert found.people == expected.people == (5, 3)
    assert np.array_equal(found.contrasts, expected.contrasts)
