"""Histogram matching: identity, monotony, quantiles met, and bias taken out before."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.histogram import match_distribution
from bids_harmony.methods.histogram_n4 import without_bias
from bids_harmony.methods.site_forms import (
    closed_form,
    low_order_form,
    ratio_matched,
    tissue_match,
)
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.method_files import write_method
from bids_harmony.phantom.image_chain import bias_field
from bids_harmony.sites.image_profile import build_profile
from bids_harmony.sites.profile_files import write_profiles

LEVELS = np.linspace(0, 100, 101)


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("banks")
    write_profiles(path, world.profiles.values(), 5.0)
    return path


def test_a_distribution_matched_to_itself_is_the_identity(rng):
    data = rng.gamma(2, 0.2, (12, 12, 12)).astype(np.float32)
    mask = np.ones(data.shape, bool)
    own = np.percentile(data, LEVELS)
    assert np.allclose(match_distribution(data, mask, own), data, atol=1e-6)


@pytest.mark.parametrize("count", [101, 1001])
def test_quantiles_become_the_targets(rng, count):
    data = rng.gamma(2, 0.2, (20, 20, 20)).astype(np.float32)
    mask = np.ones(data.shape, bool)
    levels = np.linspace(0, 100, count)
    goal = np.percentile(rng.normal(0.6, 0.1, 8000), levels)
    matched = match_distribution(data, mask, goal)
    assert np.allclose(np.percentile(matched, LEVELS), np.interp(LEVELS, levels, goal), atol=2e-3)
    order = np.argsort(data, axis=None)
    assert (np.diff(matched.ravel()[order]) >= 0).all()


def test_equal_intensities_stay_equal_in_the_middle_of_their_quantiles():
    data = np.zeros((10, 10, 10), np.float32)
    data[5:] = np.linspace(0.5, 1, 500).reshape(5, 10, 10)
    matched = match_distribution(data, np.ones(data.shape, bool), np.linspace(0, 1, 101))
    assert len(np.unique(matched[:5])) == 1 and matched[0, 0, 0] == pytest.approx(0.25, abs=0.02)


def test_the_method_meets_the_quantiles_of_the_profile(world, folder):
    scan, method = world.scan("GE"), load_harmonizer("histogram-cdf", folder)
    applied = method.apply(scan, modality="T1w", source_site="GE", target_site="COI")
    wanted = method.target_quantiles("T1w", "COI")
    assert np.allclose(np.percentile(applied.data[scan.mask], LEVELS), wanted, atol=0.01)
    assert not applied.data[~scan.mask].any()


def test_bias_is_taken_out_before_landmarks_are_matched(tmp_path, rng):
    grid = reference_grid(6.0)
    mask = np.zeros(grid.shape, bool)
    mask[3:-3, 3:-3, 3:-3] = True
    # Two tissues in small patches, and a field that no tissue explains.
    tissue = gaussian_filter(rng.normal(size=grid.shape), 1.5) > 0
    clean = np.where(mask, 0.5 + 0.3 * tissue + rng.normal(0, 0.01, grid.shape), 0)
    field = np.exp(0.3 * bias_field(mask.shape, mask, [2]))
    data = (clean * field).astype(np.float32)
    kept = without_bias(data, mask, grid)
    assert kept[mask].mean() == pytest.approx(data[mask].mean(), rel=1e-3)

    encoder = load_encoder("random", widths=(2, 2, 2, 2))
    goal = landmarks(clean, mask)
    profile = build_profile(
        "A", "T1w", [("a", clean.astype(np.float32), mask, 1.0)], encoder, cells=2, voxel_mm=6.0
    )
    write_profiles(tmp_path, [profile], 6.0)
    place = {"site": "A", "modality": "T1w", "scans": ["a"]}
    tensors = {"0": torch.from_numpy(goal)}
    write_method(tmp_path, "histogram-n4", tensors, {"version": "1", "landmarks": [place]})
    method = load_harmonizer("histogram-n4", tmp_path)
    assert method.targets("T1w") == ("A",) and method.targets("T2w") == ()
    result = method.apply(
        Prepared(data, mask, 1.0, np.eye(4), grid),
        modality="T1w", source_site="B", target_site="A",
    ).data  # fmt: skip
    assert np.allclose(landmarks(result, mask), goal, atol=1e-3) and not result[~mask].any()
    plain = landmark_map(data, landmarks(data, mask), goal)
    assert np.std((result - clean)[mask]) < 0.5 * np.std((plain - clean)[mask])


def applied(method, world, folder, source, target):
    scan = world.scan("GE")
    made = load_harmonizer(method, folder).apply(
        scan, modality="T1w", source_site=source, target_site=target
    )
    assert made.data.dtype == np.float32 and made.round_trip_error == 0
    assert not made.data[~scan.mask].any() and made.data.min() >= 0
    return scan, made.data


def test_landmarks_become_the_targets_whatever_the_source(world, folder):
    scan, data = applied("histogram", world, folder, "GE", "COI")
    wanted = world.profiles["COI"].landmarks
    assert np.allclose(landmarks(data, scan.mask), wanted, atol=0.01)
    assert np.array_equal(applied("histogram", world, folder, "COI", "COI")[1], data)


@pytest.mark.parametrize(
    ("method", "form"),
    [
        ("histogram-ratio", ratio_matched),
        ("histogram-fit", low_order_form),
        ("histogram-tissue", tissue_match),
        ("histogram-relative", closed_form),
    ],
)
def test_a_form_between_sites_is_applied_from_source_to_target(method, form, world, folder):
    scan, data = applied(method, world, folder, "GE", "COI")
    loaded = load_harmonizer(method, folder)
    sites = (loaded.profile("T1w", site) for site in ("GE", "COI"))
    expected = form(scan.data, scan.mask, *sites, 5.0)
    assert np.allclose(data, np.maximum(expected, 0) * scan.mask, atol=1e-6)
    assert loaded.needs_source
    # It brings the scan nearer to what the target's scanner makes of this person.
    twin = world.twin("COI")[scan.mask]
    before, after = (np.abs(image[scan.mask] - twin).mean() for image in (scan.data, data))
    assert after < 0.8 * before


@pytest.mark.parametrize("method", ["histogram-fit", "histogram-tissue", "histogram-relative"])
def test_a_scan_of_the_target_is_left_alone(method, world, folder):
    scan, data = applied(method, world, folder, "GE", "GE")
    assert np.array_equal(data, scan.data)


@pytest.mark.parametrize(
    ("voxel_mm", "shrink"), [(0.5, 4), (1.0, 4), (2.0, 2), (2.5, 2), (4.0, 1), (6.0, 1)]
)
def test_the_bias_is_estimated_on_about_4_mm(voxel_mm, shrink, monkeypatch, rng):
    asked = {}

    def note(volume, mask, *, shrink_factor):
        asked.update(volume=volume, mask=mask, shrink=shrink_factor)
        return volume

    monkeypatch.setattr("bids_harmony.methods.histogram_n4.correct_bias", note)
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    data = rng.random((4, 5, 6)).astype(np.float32)
    mask = data > 0.3
    found = without_bias(data, mask, ReferenceGrid("test", data.shape, affine, voxel_mm))
    assert found is data and asked["shrink"] == shrink
    assert asked["volume"].voxel_mm == pytest.approx([voxel_mm] * 3)
    assert np.array_equal(asked["mask"].data, mask)
