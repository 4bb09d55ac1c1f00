"""Histogram matching: identity, monotony, quantiles met, and bias taken out before."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.histogram import match_distribution
from bids_harmony.methods.histogram_n4 import without_bias
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
