"""The full row of a method and the floor below it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import pearsonr, wasserstein_distance
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.linear_model import LinearRegression

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.quality.image_metrics import rmse
from bids_harmony.quality.travelling import (
    FULL_FIGURES,
    TWIN_FIGURES,
    full_score,
    rescan_floor,
    score_against_twin,
)

GRID = reference_grid(4.0)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 7)


@pytest.fixture(scope="module")
def scans(person):
    """Source at GE, noise-free twin at COI."""
    source = acquire(person, SITES["GE"], "T1w", scan_seed=1)
    twin = acquire(person, SITES["COI"], "T1w", scan_seed=2, noise=False, scan_field=False)
    return source, twin


@pytest.fixture(scope="module")
def labels(person):
    return np.where(person.mask, person.fractions.argmax(axis=0) + 1, 0)


def _absolute(reference, image, data_range, mask):
    """A stand-in for LPIPS."""
    return float(np.abs(reference - image)[mask if mask is not None else ...].mean() / data_range)


def test_a_full_row_has_every_figure_in_order(scans, person, labels):
    source, twin = scans
    row = full_score(source, twin, person.mask, source=source, labels=labels, perceptual=_absolute)
    assert tuple(row) == FULL_FIGURES
    assert all(isinstance(v, float) and math.isfinite(v) for v in row.values())
    brain = score_against_twin(source, twin, person.mask)
    assert {k: row[k] for k in TWIN_FIGURES} == brain
    assert tuple(brain) == TWIN_FIGURES
    assert row["correlation_source"] == pytest.approx(1)
    assert row["nyquist_share"] == 0
    short = full_score(source, twin, person.mask)
    assert set(FULL_FIGURES) - set(short) == {
        "lpips", "lpips_whole", "wasserstein_gm", "wasserstein_wm", "wasserstein_csf",
        "correlation_source", "nyquist_share",
    }  # fmt: skip


def test_figures_are_those_of_other_libraries(scans, person, labels):
    source, twin = scans
    mask = person.mask
    image = source + 30.0  # so that the whole image differs from the brain
    row = full_score(image, twin, mask, source=source, labels=labels, perceptual=_absolute)
    ours, goal = (d / np.percentile(d[mask], 99.5) for d in (image, twin))
    before = source / np.percentile(source[mask], 99.5)
    assert row["data_range_native"] == pytest.approx(np.percentile(twin[mask], 99.5))
    expected = peak_signal_noise_ratio(goal, ours, data_range=1.0)
    assert row["psnr_whole_db"] == pytest.approx(expected, abs=1e-4)
    _, similarity = structural_similarity(
        goal, ours, data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    assert row["ssim_whole"] == pytest.approx(similarity.mean(), abs=1e-4)
    assert row["rmse_whole"] == pytest.approx(rmse(goal, ours))
    assert row["lpips_whole"] == pytest.approx(np.abs(goal - ours).mean(), rel=1e-5)
    assert row["lpips"] == pytest.approx(np.abs(goal - ours)[mask].mean(), rel=1e-5)
    assert row["correlation_twin"] == pytest.approx(pearsonr(ours[mask], goal[mask])[0])
    assert row["correlation_source"] == pytest.approx(pearsonr(ours[mask], before[mask])[0])
    line = LinearRegression().fit(ours[mask][:, None], goal[mask])
    left = goal[mask] - line.predict(ours[mask][:, None])
    assert row["rmse_affine_free"] == pytest.approx(left.std(), rel=1e-4)
    white = wasserstein_distance(ours[labels == 2], goal[labels == 2])
    assert row["wasserstein_wm"] == pytest.approx(white, rel=1e-4)


def test_gain_does_not_count_and_a_shift_does_not_count_without_it(scans, person):
    _, twin = scans
    row = full_score(7 * twin, twin, person.mask)
    assert row["rmse"] == pytest.approx(0, abs=1e-6)
    assert row["data_range"] == 1
    shifted = full_score(np.where(person.mask, 3 * twin + 100, 0), twin, person.mask)
    assert shifted["rmse_affine_free"] == pytest.approx(0, abs=1e-5)
    assert shifted["rmse"] > shifted["rmse_gain_free"] > 0.005


def test_a_checkerboard_in_the_change_is_seen(scans, person):
    source, twin = scans
    i, j, _ = np.indices(GRID.shape)
    board = np.where(person.mask, 40.0 * ((i + j) % 2 * 2 - 1), 0)
    smooth = np.where(person.mask, 40.0, 0)
    shares = [
        full_score(source + change, twin, person.mask, source=source)["nyquist_share"]
        for change in (board, smooth)
    ]
    assert shares[0] > 0.3
    assert shares[1] < 0.05


def test_the_floor_is_that_of_the_noise_and_below_every_raw_scan(scans, person):
    source, twin = scans
    draws = [
        acquire(person, SITES["COI"], "T1w", scan_seed=s, scan_field=False) for s in (11, 12, 13)
    ]
    floor = rescan_floor(draws, person.mask)
    # Two independent draws: the square root of two of what one has against the truth. Rician
    # noise lifts dark voxels of both draws alike, which leaves a little less.
    single = np.mean([full_score(d, twin, person.mask)["rmse"] for d in draws])
    assert floor["rmse"] == pytest.approx(math.sqrt(2) * single, rel=0.1)
    raw = full_score(source, draws[0], person.mask)
    assert floor["rmse"] < 0.5 * raw["rmse"]
    assert floor["ssim"] > raw["ssim"]
    pair = full_score(draws[1], draws[0], person.mask)
    assert rescan_floor(draws[:2], person.mask) == pair
    with pytest.raises(DataError, match="two draws"):
        rescan_floor(draws[:1], person.mask)
