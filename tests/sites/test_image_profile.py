"""Codes of profiles, as a network standardizes them."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.landmarks import landmarks
from bids_harmony.imaging.slices import cut_stack
from bids_harmony.imaging.texture import texture
from bids_harmony.sites import image_profile
from bids_harmony.sites.image_profile import build_profile, standardize_codes
from bids_harmony.sites.measured_scan import CODE_STEP, encode_heights
from bids_harmony.sites.profile_files import as_stored, profile_digest
from bids_harmony.sites.tissue_profile import tissue_profile
from tests.training.tiny import network


def test_all_height_bins_of_all_profiles_count_alike(rng):
    codes = rng.normal(3, 2, (7, 6)).astype(np.float32)
    made = network()
    standardize_codes(made, [SimpleNamespace(codes=codes[:2]), SimpleNamespace(codes=codes[2:])])
    assert np.allclose(made.code_mean, codes.mean(0), atol=1e-6)
    assert np.allclose(made.code_std, codes.std(0, ddof=1), atol=1e-6)
    with pytest.raises(DataError, match="two vectors of 6"):
        standardize_codes(made, [SimpleNamespace(codes=codes[:, :5])])


def test_codes_belong_to_the_middle_of_their_bins(world):
    """A bin's code was taken at its middle slice; half a bin further it is the mean of two."""
    profile = world.profiles["COI"]
    middle = CODE_STEP * np.arange(len(profile.codes)) + CODE_STEP / 2
    assert np.allclose(profile.codes_at(middle), profile.codes)
    between = profile.codes_at(middle[:-1] + CODE_STEP / 2)
    assert np.allclose(between, (profile.codes[:-1] + profile.codes[1:]) / 2, atol=1e-6)
    ends = profile.codes_at(np.array([0, CODE_STEP * len(profile.codes)]))
    assert np.array_equal(ends, profile.codes[[0, -1]])
    assert not np.allclose(profile.codes[0], profile.codes[-1])


def test_a_code_is_that_of_the_middle_slice(world):
    data = world.scan("GE").data
    codes = encode_heights(data, world.encoder)
    assert len(codes) == -(-data.shape[2] // CODE_STEP)
    middle = torch.from_numpy(np.clip(cut_stack(data, [2 * CODE_STEP + CODE_STEP // 2]), 0, 1.5))
    with torch.inference_mode():
        assert np.allclose(codes[2], world.encoder.code(middle)[0].numpy(), atol=1e-6)


def test_codes_are_the_same_bits_for_any_number_of_threads(world):
    data, before = world.scan("GE").data, torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(encode_heights(data, world.encoder))
        torch.set_num_threads(before)
    assert np.array_equal(*found)


@pytest.fixture(scope="module")
def three(world):
    """Three scans of one anatomy, of which the second lacks a half and the third a corner."""
    scan = world.scan("GE")
    left, corner = scan.mask.copy(), scan.mask.copy()
    left[: left.shape[0] // 2] = False
    corner[:, :, : corner.shape[2] // 2] = False
    masks = scan.mask, left, corner
    scans = [
        (label, gain * scan.data * mask, mask, scale)
        for label, gain, mask, scale in zip(
            ("a", "b", "c"), (1.0, 1.1, 0.8), masks, (50.0, 70, 90), strict=True
        )
    ]
    return scan, masks, scans


def build(world, scans, **given):
    return build_profile("S", "T1w", scans, world.encoder, cells=4, voxel_mm=5.0, **given)


def test_a_site_is_the_mean_of_its_scans_where_half_of_them_have_brain(world, three):
    scan, masks, scans = three
    made = build(world, scans)
    assert (made.site, made.modality, made.scans, made.scale) == ("S", "T1w", ("a", "b", "c"), 70)
    count = np.sum(masks, axis=0)
    covered = count >= 2
    total = sum(data for _, data, _, _ in scans)
    assert made.mean_image.dtype == np.float32 and not made.mean_image[~covered].any()
    assert np.allclose(made.mean_image[covered], (total / np.maximum(count, 1))[covered])
    assert {1, 2, 3} <= set(np.unique(count))
    assert np.array_equal(made.mask, covered & (scan.data > 0))
    every = [landmarks(data, mask) for _, data, mask, _ in scans]
    assert np.allclose(made.landmarks, np.mean(every, axis=0)) and made.landmarks.shape == (11,)
    levels = np.linspace(0, 100, 101)
    every = [np.percentile(data[mask], levels) for _, data, mask, _ in scans]
    assert np.allclose(made.quantiles, np.mean(every, axis=0))
    every = [texture(data, mask, 4) for _, data, mask, _ in scans]
    assert np.allclose(made.texture, np.mean(every, axis=0), atol=1e-5)
    assert made.texture.dtype == np.float32
    every = [tissue_profile(data, mask, 5.0) for _, data, mask, _ in scans]
    assert np.allclose(made.tissue_means, np.mean([own.means for own in every], axis=0))
    assert np.allclose(made.field, np.mean([own.field for own in every], axis=0))
    assert np.array_equal(made.scan_measures.means, [own.means for own in every])
    assert np.array_equal(made.scan_measures.fields, [own.field for own in every])
    assert made.scan_measures.people == ("a", "b", "c") and made.scan_measures.covariates == {}
    assert np.array_equal(made.tissues.means, made.tissue_means) and made.key == "S/T1w"


def test_one_scan_is_its_site(world, three):
    scan, _, scans = three
    made = build(world, scans[:1])
    assert np.array_equal(made.mean_image, scan.data) and made.scale == 50
    with pytest.raises(DataError, match=r"needs scans \[S T1w\]"):
        build(world, [])


def test_codes_are_of_all_scans_or_of_the_first(world, three):
    _, _, scans = three
    every = [encode_heights(data, world.encoder) for _, data, _, _ in scans]
    assert np.allclose(build(world, scans).codes, np.mean(every, axis=0), atol=1e-6)
    made = build(world, scans, coded=2)
    assert np.allclose(made.codes, np.mean(every[:2], axis=0), atol=1e-6)
    assert made.codes.dtype == np.float32
    assert made.codes_at(np.arange(9)).dtype == np.float32


def test_detail_is_the_mean_of_cells_with_brain(world, three):
    _, _, scans = three
    found = build(world, scans).scan_measures.detail
    for (_, data, mask, _), own in zip(scans, found, strict=True):
        cells = texture(data, mask, 4)
        # Cells without brain have the logarithm's floor, half of that of a millionth.
        expected = [
            band[band > 0.5 * np.log(1e-6) + 1e-3].mean() for band in np.moveaxis(cells, 1, 0)
        ]
        assert np.allclose(own, expected, atol=1e-4)


def test_people_and_what_is_known_of_them_travel_along(world, three):
    _, _, scans = three
    made = build(world, scans, people=["p", "q", "p"], covariates={"age": [30, 40.5, 30]})
    assert made.scan_measures.people == ("p", "q", "p")
    assert made.scan_measures.covariates["age"].tolist() == [30, 40.5, 30]
    assert made.scan_measures.covariates["age"].dtype == np.float64


def test_a_digest_tells_all_that_a_profile_says(world):
    profile = world.profiles["GE"]
    same = profile_digest(replace(profile))
    assert profile_digest(as_stored(profile)) == same == profile_digest(profile)
    single = profile.scan_measures
    changed = [
        replace(profile, site="X"),
        replace(profile, modality="T2w"),
        replace(profile, scans=profile.scans[1:]),
        replace(profile, landmarks=profile.landmarks + 0.1),
        replace(profile, mean_image=profile.mean_image * 2),
        replace(profile, codes=profile.codes + 1),
        replace(profile, texture=profile.texture + 1),
        replace(profile, single=None),
        replace(profile, single=replace(single, detail=single.detail + 1)),
        replace(profile, single=replace(single, people=("x", *single.people[1:]))),
        replace(profile, single=replace(single, covariates={"age": np.arange(5.0)})),
        replace(profile, single=replace(single, covariates={"agf": np.arange(5.0)})),
    ]
    digests = {profile_digest(other) for other in changed} | {same}
    assert len(digests) == len(changed) + 1


def test_a_stored_profile_has_the_kinds_and_values_of_the_first(world):
    profile = world.profiles["GE"]
    again = as_stored(profile)
    assert (again.site, again.modality, again.scans) == ("GE", "T1w", profile.scans)
    assert again.scale == profile.scale
    for name in ("landmarks", "quantiles", "tissue_means", "field"):
        assert np.array_equal(getattr(again, name), getattr(profile, name))
        assert getattr(again, name).dtype == np.float64
    for name in ("mean_image", "codes", "texture"):
        assert np.allclose(getattr(again, name), getattr(profile, name), rtol=1e-3, atol=1e-4)
        assert getattr(again, name).dtype == np.float32
    for name in ("means", "fields", "detail"):
        own, other = (getattr(p.scan_measures, name) for p in (again, profile))
        assert np.array_equal(own, other)
    assert again.scan_measures.people == profile.scan_measures.people


def test_scans_of_a_site_are_measured_side_by_side_with_the_same_bits(world, three, monkeypatch):
    threads, real = [], image_profile.measure_scan

    def measure(*scan, **how):
        threads.append((threading.current_thread().name, torch.get_num_threads()))
        return real(*scan, **how)

    monkeypatch.setattr(image_profile, "measure_scan", measure)
    made = {}
    before = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            threads.clear()
            made[n] = build(world, three[2])
            assert {own for _, own in threads} == {1} and len(threads) == 3
            main = threading.current_thread().name
            assert ({name for name, _ in threads} == {main}) == (n == 1)
    finally:
        torch.set_num_threads(before)
    for name in ("codes", "texture", "mean_image", "quantiles"):
        np.testing.assert_array_equal(getattr(made[1], name), getattr(made[2], name))
