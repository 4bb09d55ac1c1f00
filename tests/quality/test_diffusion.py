"""Quality numbers of a diffusion series, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.quality.diffusion import (
    angle_between,
    diffusion_descriptions,
    diffusion_tissues,
    direction_row,
    map_row,
    signal_row,
)
from tests.gradient_schemes import scheme


def test_tissues_by_the_tensor():
    fa = np.array([0.7, 0.31, 0.25, 0.1, 0.1, 0.7, 0.7, 0.1]).reshape(2, 2, 2)
    md = np.array([0.7, 0.8, 0.7, 0.8, 2.5, 2.5, 0.1, 0.8]).reshape(2, 2, 2) * 1e-3
    mask = np.ones((2, 2, 2), bool)
    mask[1, 1, 1] = False
    assert diffusion_tissues(fa, md, mask).ravel().tolist() == [2, 2, 0, 1, 3, 0, 0, 0]


def test_quantiles_of_maps_are_taken_in_the_sources_tissues():
    tissues = np.zeros((10, 11, 2), int)
    tissues[..., 0], tissues[:5, :, 1] = 2, 1
    fa = np.zeros(tissues.shape)
    fa[tissues == 2] = np.linspace(0, 1, 110)
    fa[tissues == 1] = 0.1
    after = {"fa": fa * 0.5 + 0.25}
    row = map_row({"fa": fa, "md": fa * 1e-3, "ad": fa}, after, tissues)
    assert row["fa_wm_p10_source"] == pytest.approx(0.1)
    assert row["fa_wm_median_source"] == pytest.approx(0.5)
    assert row["fa_wm_p90_harmonized"] == pytest.approx(0.7)
    assert row["fa_gm_median_harmonized"] == pytest.approx(0.3)
    assert row["md_wm_median_source"] == pytest.approx(0.5e-3)
    assert row["md_wm_median_harmonized"] is None and row["odi_gm_p10_source"] is None
    assert not any(key.startswith("ad_") for key in row)
    no_white = map_row({"fa": fa}, after, np.ones_like(tissues))
    assert no_white["fa_wm_median_source"] is None
    with pytest.raises(DataError, match="one grid"):
        map_row({"fa": fa}, after, tissues[:5])


def test_angles_are_sign_free_and_exact_where_small():
    for degrees in (0, 1e-6, 30, 89, 90):
        turned = [np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0]
        for sign in (1, -1):
            angle = angle_between(np.array([sign, 0, 0]), 2 * np.array(turned))
            assert angle == pytest.approx(degrees, rel=1e-9)
    assert np.isnan(angle_between(np.zeros(3), np.ones(3)))


def test_directions_are_compared_in_white_matter_only():
    tissues = np.zeros((4, 5, 2), int)
    tissues[..., 0] = 2
    source = np.broadcast_to([1.0, 0, 0], (*tissues.shape, 3)).copy()
    other = np.broadcast_to([0, 0, 1.0], source.shape).copy()
    angles = np.radians(np.arange(20))
    other[..., 0, :] = -np.stack([np.cos(angles), np.sin(angles), 0 * angles], -1).reshape(4, 5, 3)
    row = direction_row(source, other, tissues)
    assert row["v1_angle_wm_median_deg"] == pytest.approx(9.5)
    assert row["v1_angle_wm_p95_deg"] == pytest.approx(0.95 * 19)
    other[..., 0, :] = 0
    assert direction_row(source, other, tissues)["v1_angle_wm_median_deg"] is None


def test_signal_ratios_negative_values_and_attenuation():
    gradients = scheme((1000, 6), (2500, 10))  # after two volumes with b=0
    mask = np.ones((5, 4, 3), bool)
    mask[0] = False
    b0 = np.full(mask.shape, 200.0)
    b0[1, 0, 0] = 0  # left out
    n, left = 16, 47
    source = np.empty((*mask.shape, 18))
    source[..., :2], source[..., 2:8], source[..., 8:] = 200, 100, 40
    after = source * 3
    after[2, 0, 0, 2:5] = 601  # above b=0
    after[2, 1, 0, 8], after[2, 2, 0, 0] = -1, -1
    after[0] = 9999  # outside the mask
    volumes = (np.moveaxis(s, -1, 0) for s in (source, after))
    row = signal_row(*volumes, b0, 3 * b0, mask, gradients)
    assert row["ratio_above_one_share_source"] == 0
    assert row["ratio_above_one_share_harmonized"] == pytest.approx(3 / (left * n))
    assert row["negative_share_source"] == 0
    assert row["negative_share_harmonized"] == pytest.approx(2 / (left * 18))
    assert row["b0_ratio_median"] == pytest.approx(3)
    for stage in ("source", "harmonized"):
        assert row[f"attenuation_b1000_{stage}"] == pytest.approx(0.5)
        assert row[f"attenuation_b2500_{stage}"] == pytest.approx(0.2)
    with pytest.raises(DataError, match="No voxel"):
        signal_row([], [], b0, b0, np.zeros_like(mask), gradients)


def test_force_has_columns_only_where_it_was_fitted():
    tissues = np.array([[[2, 2, 2, 1]]])
    nd = np.array([[[0.5, 0.6, 0.7, 0.3]]], np.float32)
    assert not [key for key in map_row({}, {}, tissues) if key.startswith(("nd_", "disp"))]
    row = map_row({"nd": nd}, {"nd": nd + np.float32(0.1)}, tissues)
    assert row["nd_wm_median_source"] == pytest.approx(0.6)
    assert row["nd_gm_median_harmonized"] == pytest.approx(0.4)
    assert "dispersion_wm_median_source" not in row
    told = diffusion_descriptions(row)["nd_wm_median_source"]
    assert told["Description"].startswith("Median of the neurite density of the tissue in white")


def test_every_number_is_described_in_words_of_its_own():
    gradients = scheme((1000, 6))
    one = np.ones((2, 2, 2))
    series = np.ones((8, 2, 2, 2))
    row = map_row({}, {}, one)
    row |= direction_row(np.ones((2, 2, 2, 3)), np.ones((2, 2, 2, 3)), 2 * one)
    row |= signal_row(series, series, one, one, one > 0, gradients)
    told = diffusion_descriptions(row)
    assert told.keys() == row.keys()
    assert len({d["Description"] for d in told.values()}) == len(row)
    assert told["md_gm_p90_source"]["Units"] == "mm^2/s"
    assert "odi" not in told["odi_wm_median_source"]["Description"]
    assert "b=1000 s/mm2" in told["attenuation_b1000_harmonized"]["Description"]
