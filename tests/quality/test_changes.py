"""The quality row of one image."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bids_harmony.quality.changes import DESCRIPTIONS, quality_row
from bids_harmony.quality.distributions import quantiles
from bids_harmony.quality.image_metrics import ms_ssim, psnr, rmse, ssim

SCALE = 800.0


@pytest.fixture
def scan():
    """A head in native units with a brain in it."""
    rng = np.random.default_rng(5)
    texture = gaussian_filter(rng.standard_normal((36, 40, 30)), 1.5)
    source = (500 + 600 * texture).clip(1).astype(np.float32)
    index = np.indices(source.shape) - np.array([18, 20, 15]).reshape(3, 1, 1, 1)
    return source, (index**2).sum(axis=0) < 12**2


def test_keys_and_descriptions_are_the_same(scan):
    source, mask = scan
    row = quality_row(source, source + 1, mask, scale=SCALE)
    assert list(row) == list(DESCRIPTIONS)
    for entry in DESCRIPTIONS.values():
        assert set(entry) == {"Description", "Units"} and all(entry.values())


def test_numbers_are_those_of_the_metrics(scan):
    source, mask = scan
    harmonized = (source * 1.1 + 20).astype(np.float32)
    row = quality_row(source, harmonized, mask, scale=1000.0)
    assert row["data_range_native"] == 1000
    assert row["rmse_brain"] == pytest.approx(rmse(source, harmonized, mask=mask) / 1000)
    assert row["rmse_whole"] == pytest.approx(rmse(source, harmonized) / 1000)
    for name, metric in (("psnr_{}_db", psnr), ("ssim_{}", ssim), ("ms_ssim_{}", ms_ssim)):
        whole = metric(source, harmonized, data_range=1000.0)
        brain = metric(source, harmonized, data_range=1000.0, mask=mask)
        assert row[name.format("whole")] == pytest.approx(whole)
        assert row[name.format("brain")] == pytest.approx(brain)
        assert whole != brain


def test_the_robust_scale_is_the_default_range(scan):
    source, mask = scan
    row = quality_row(source, source + np.float32(80), mask, scale=SCALE)
    assert row["data_range_native"] == SCALE
    assert row["rmse_brain"] == pytest.approx(0.1)
    assert row["psnr_brain_db"] == pytest.approx(20)


def test_distance_to_the_target_before_and_after(scan):
    source, mask = scan
    target = quantiles(source, mask) / SCALE + 0.25
    harmonized = source + np.float32(0.2 * SCALE)
    row = quality_row(source, harmonized, mask, scale=SCALE, target_quantiles=target)
    assert row["wasserstein_source"] == pytest.approx(0.25, abs=1e-5)
    assert row["wasserstein_harmonized"] == pytest.approx(0.05, abs=1e-5)


def test_change_outside_the_mask(scan):
    source, mask = scan
    harmonized = source.copy()
    harmonized[tuple(np.argwhere(mask)[0])] += 30
    harmonized[tuple(np.argwhere(~mask)[0])] -= 10
    row = quality_row(source, harmonized, mask, scale=SCALE)
    assert row["change_outside_mask_share"] == pytest.approx(0.25)


def test_an_unchanged_image_gives_valid_json(scan):
    source, mask = scan
    row = quality_row(source, source.copy(), mask, scale=np.float32(SCALE), same_site=np.True_)
    assert row["psnr_brain_db"] is None and row["psnr_whole_db"] is None
    assert row["rmse_brain"] == 0 and row["change_outside_mask_share"] == 0
    assert row["ssim_brain"] == pytest.approx(1) and row["ms_ssim_brain"] == pytest.approx(1)
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_what_was_not_given_is_not_made_up(scan):
    source, mask = scan
    row = quality_row(source, source, mask, scale=SCALE)
    for key in (
        "wasserstein_source",
        "wasserstein_harmonized",
        "nyquist_share",
        "round_trip_error",
        "same_site",
    ):
        assert row[key] is None, key


def test_numbers_passed_through(scan):
    source, mask = scan
    i, j, _ = np.indices((16, 16, 2))
    row = quality_row(
        source,
        source,
        mask,
        scale=SCALE,
        reference_change=(i + j) % 2 - 0.5,
        round_trip_error=np.float32(2**-20),
        same_site=False,
    )
    assert row["nyquist_share"] == pytest.approx(1)
    assert row["round_trip_error"] == 2**-20
    assert row["same_site"] is False
