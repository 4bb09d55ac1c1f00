"""Summaries against the measures that they are made of, and against maps of known values."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_tissues
from bids_harmony.methods.controls import blurred
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.quality.diffusion_sites import white_matter_blocks
from bids_harmony.quality.site_probe import mask_features, scan_features
from bids_harmony.quality.summarize_scan import summarize_scan
from bids_harmony.quality.summarize_series import summarize_series
from bids_harmony.quality.summary import FEATURE_ROWS, STAGES, TISSUES

MM = 4.0
GRID = reference_grid(MM)
SCALE = 800.0


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 5)


@pytest.fixture(scope="module")
def source(person):
    data = acquire(person, SITES["GE"], "T1w", scan_seed=1)
    return (data / np.percentile(data[person.mask], 99.5)).astype(np.float32)


def summary_of(source, harmonized, mask):
    target = np.linspace(0, 1.2, 101)
    return summarize_scan(
        source, harmonized, mask, scale=SCALE, target_quantiles=target, voxel_mm=MM
    )


@pytest.fixture(scope="module")
def brighter(person, source):
    """Brighter by a tenth, and what is made of it."""
    harmonized = np.where(person.mask, 1.1 * source, 0).astype(np.float32)
    return harmonized, summary_of(source, harmonized, person.mask)


def test_quantiles_are_of_the_same_voxels_of_each_tissue(brighter, person, source):
    _, summary = brighter
    np.testing.assert_allclose(summary.quantiles[1], 1.1 * summary.quantiles[0], rtol=1e-5)
    before = dict(zip(TISSUES, summary.quantiles[0], strict=True))
    expected = np.percentile(source[person.mask], np.arange(101))
    np.testing.assert_allclose(before["brain"], expected, atol=1e-6)
    middle = {tissue: levels[50] for tissue, levels in before.items()}
    assert middle["csf"] < middle["gm"] < middle["wm"]
    np.testing.assert_allclose(summary.target_quantiles, np.linspace(0, 1.2, 101), rtol=1e-6)


def test_a_tissue_that_is_not_there_has_no_quantiles(person, source):
    pure = person.mask & (person.fractions[1] > 0.99)
    mask = np.zeros_like(pure)
    mask[tuple(np.argwhere(pure)[:2].T)] = True
    levels = summary_of(source * mask, source * mask, mask).quantiles
    known = np.isfinite(levels).all(axis=-1)
    assert known[:, 0].all() and not known[:, 1:].all()
    assert (known == np.isfinite(levels).any(axis=-1)).all()


def test_features_are_those_of_the_probe(brighter, person, source):
    harmonized, summary = brighter
    within = reference_mask(GRID)
    rows = dict(zip(FEATURE_ROWS, summary.features, strict=True))
    blurry = blurred(source, person.mask, MM)
    for name, data in (
        ("preprocessed", source), ("harmonized", harmonized), ("blurred", blurry),
    ):  # fmt: skip
        expected = scan_features(data, person.mask, MM, within=within)
        np.testing.assert_array_equal(rows[name], expected)
    raw = scan_features(SCALE * source, person.mask, MM, unit=1.0, within=within)
    np.testing.assert_allclose(rows["raw"], raw, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(rows["raw"][10], SCALE * np.median(source[person.mask]), rtol=0.01)
    shape = mask_features(person.mask, MM)
    np.testing.assert_allclose(summary.head, shape, rtol=1e-3)


def test_detail_falls_by_blurring_and_not_by_much_else(brighter, person, source):
    blurry = np.where(person.mask, blurred(source, person.mask, MM / 3), 0)
    before, after = summary_of(source, blurry, person.mask).detail
    assert after < before - 0.5
    # A gain is a step of the logarithm.
    detail = dict(zip(STAGES, brighter[1].detail, strict=True))
    step = detail["harmonized"] - detail["source"]
    assert step == pytest.approx(2 * np.log10(1.1), abs=1e-3)


def test_change_is_averaged_and_lies_in_the_brain_alone(brighter, person, source):
    change = brighter[1].change.astype(np.float32)
    assert change.shape == GRID.shape
    np.testing.assert_allclose(change, 0.1 * source * person.mask, atol=5e-4)
    assert not change[~person.mask].any()
    assert not summary_of(source, source, person.mask).change.any()


def test_another_grid_is_refused(source, person):
    with pytest.raises(DataError, match="one grid"):
        summary_of(source[1:], source[1:], person.mask[1:])


# A grid of its own: reversed first axis, 3 mm, turned and moved against the reference.
AFFINE = np.diag([-3.0, 3.0, 3.0, 1.0])
AFFINE[:3, 3] = [110, -125, -85]
TURN = np.deg2rad(10)
WORLD = np.eye(4)
WORLD[:2, :2] = [[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]]
WORLD[:3, 3] = [4, -9, 6]
SHAPE = (72, 78, 62)


def maps_along(axis: int, shape=SHAPE, affine=AFFINE):
    """FA that grows along an axis of the reference, 1/400 a mm; MD of white matter."""
    voxels = np.indices(shape).reshape(3, -1)
    at = (WORLD @ affine @ np.vstack([voxels, np.ones(voxels.shape[1])]))[axis]
    fa = (0.6 + at / 400).reshape(shape).astype(np.float32)
    return {"fa": fa, "md": np.full(shape, 8e-4, np.float32), "v1": np.ones((*shape, 3))}


def block_centres(axis: int):
    grid = reference_grid(2.0)
    blocks = white_matter_blocks(reference_tissues(grid)[1] > 0.5, 64, voxel_mm=(2, 2, 2))
    mm = grid.affine[axis, 3] + 2 * np.arange(grid.shape[axis])
    at = np.broadcast_to(np.expand_dims(mm, [a for a in range(3) if a != axis]), grid.shape)
    return [at[blocks == k + 1] for k in range(64)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_regions_are_where_the_template_has_them(axis):
    source = maps_along(axis)
    harmonized = {name: 1.1 * data for name, data in source.items()}
    summary = summarize_series(source, harmonized, AFFINE, WORLD)
    assert summary.parameters == ("fa", "md")
    expected = [0.6 + np.median(mm) / 400 for mm in block_centres(axis)]
    # Blocks are some 20 mm wide; voxels are of 3 mm here and of 2 mm there.
    off_mm = np.abs(summary.regions[0, 0] - expected) * 400
    assert off_mm.max() < 4.5 and off_mm.mean() < 1.5
    np.testing.assert_allclose(summary.regions[1], 1.1 * summary.regions[0], rtol=1e-5)


def test_a_block_of_which_most_is_out_of_view_or_not_fitted_is_not_known():
    cut = 31
    affine = AFFINE.copy()
    affine[2, 3] += 3 * cut
    shape = (*SHAPE[:2], SHAPE[2] - cut)
    maps = maps_along(2, shape, affine)
    out_of_view = summarize_series(maps, maps, affine, WORLD).regions
    unfitted = maps_along(2)
    for data in unfitted.values():
        data[:, :, :cut] = 0
    not_fitted = summarize_series(unfitted, unfitted, AFFINE, WORLD).regions
    bottom = affine[2, 3] + WORLD[2, 3]  # the turn is about this axis
    share = np.array([np.mean(mm > bottom) for mm in block_centres(2)])
    clear = np.abs(share - 0.5) > 0.1
    assert 10 < np.sum(share < 0.4) < 54
    for regions in (out_of_view, not_fitted):
        assert (np.isfinite(regions[0, 0]) == (share > 0.5))[clear].all()
    # Nothing but the same voxels was seen.
    np.testing.assert_array_equal(out_of_view, not_fitted)


def test_tissues_are_medians_in_the_voxels_of_both():
    maps = maps_along(0)
    maps["fa"][:, :39] = 0.1
    maps["ndi"] = np.where(maps["fa"] == np.float32(0.1), 0.4, 0.7).astype(np.float32)
    less = maps | {"ndi": maps["ndi"] - np.float32(0.1)}
    summary = summarize_series(maps, less, AFFINE, None)
    assert summary.parameters == ("fa", "md", "ndi")
    np.testing.assert_allclose(summary.tissues[0, 2], [0.4, 0.7])
    np.testing.assert_allclose(summary.tissues[1, 2], [0.3, 0.6])
    assert np.isnan(summary.regions).all()
    white = summarize_series(maps_along(0), maps_along(0), AFFINE, WORLD).tissues
    assert np.isnan(white[:, :, 0]).all() and np.isfinite(white[:, :, 1]).all()
