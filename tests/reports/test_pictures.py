"""Pictures of the page: of one size, of what they say, the same again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bids_harmony.exceptions import DataError
from bids_harmony.reports.pictures import BRAIN_COLOUR, draw_outlines, draw_scanner_settings

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])


@pytest.fixture
def ball():
    """A ball of 24 voxels in a cube of 40: brain mask and a scan brighter to the right."""
    x, y, z = np.indices((40, 40, 40)) - 19.5
    mask = x**2 + y**2 + z**2 < 12**2
    return mask, (mask * (1 + 0.02 * x)).astype(np.float32)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.int32)


def test_before_after_and_target_are_of_one_size_and_window(ball, tmp_path):
    mask, source = ball
    quantiles = np.linspace(0.5, 1.5, 11)
    paths = draw_scanner_settings(
        source, 1.5 * source, source, mask, AFFINE, tmp_path,
        target_name="COI", target_quantiles=quantiles,
    )  # fmt: skip
    names = [path.stem for path in paths]
    assert names == ["before", "after", "target", "change", "densities"]
    before, after, target, change = (pixels(path) for path in paths[:4])
    assert before.shape == after.shape == target.shape
    height, width, _ = before.shape
    # Three planes, each on a third: the brain is in the middle of each.
    for third in (1, 3, 5):
        assert before[height // 2, third * width // 6].min() > 60
    assert before[5, width // 2].max() == 0
    assert after.mean() > 1.2 * before.mean() and np.array_equal(before, target)
    # Brighter is red, around it white.
    red, _, blue = change[height // 2, width // 6]
    assert red > blue + 40
    again = draw_scanner_settings(
        source, 1.5 * source, source, mask, AFFINE, tmp_path,
        target_name="COI", target_quantiles=quantiles,
    )  # fmt: skip
    assert np.array_equal(pixels(again[1]), after)


def test_left_is_left_whatever_the_voxel_order(ball, tmp_path):
    mask, source = ball
    draw_scanner_settings(source, source, source, mask, AFFINE, tmp_path, target_name="COI")
    plain = pixels(tmp_path / "before.png")
    flipped = AFFINE @ np.array([[-1, 0, 0, 39], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    turned = (array[::-1] for array in (source, source, source, mask))
    draw_scanner_settings(*turned, flipped, tmp_path, target_name="COI")
    assert np.array_equal(pixels(tmp_path / "before.png"), plain)
    third = plain[:, : plain.shape[1] // 3].mean(axis=(0, 2))
    assert third[len(third) // 2 :].sum() > 1.1 * third[: len(third) // 2].sum()


def test_outlines_lie_where_the_region_ends(ball, tmp_path):
    mask, source = ball
    x, y, z = np.indices(mask.shape) - 19.5
    inner = x**2 + y**2 + z**2 < 6**2
    draw_outlines(source, {BRAIN_COLOUR: inner}, AFFINE, tmp_path / "mask.png")
    image = pixels(tmp_path / "mask.png")
    wanted = np.array([int(BRAIN_COLOUR[i : i + 2], 16) for i in (1, 3, 5)])
    height, width, _ = image.shape
    drawn = np.abs(image[:, : width // 3] - wanted).sum(axis=2) < 30
    rows, columns = np.nonzero(drawn)
    # The ball has a radius of 12 voxels and an edge of 1, the region one of 6.
    radius = np.hypot(rows - height / 2, columns - width / 6)
    assert rows.size > 100
    assert np.ptp(radius) < 0.06 * height
    draw_outlines(source, {BRAIN_COLOUR: mask}, AFFINE, tmp_path / "wide.png")
    wide = np.abs(pixels(tmp_path / "wide.png")[:, : width // 3] - wanted).sum(axis=2) < 30
    outer = np.hypot(*(np.argwhere(wide) - [height / 2, width / 6]).T)
    assert outer.mean() == pytest.approx(2 * radius.mean(), rel=0.06)


def test_nothing_changed_or_empty(ball, tmp_path):
    mask, source = ball
    draw_scanner_settings(source, source, source, mask, AFFINE, tmp_path, target_name="COI")
    with pytest.raises(DataError, match="empty mask"):
        draw_scanner_settings(
            source, source, source, mask & False, AFFINE, tmp_path, target_name="COI"
        )
    with pytest.raises(DataError, match="one grid"):
        draw_scanner_settings(
            source, source, source[1:], mask, AFFINE, tmp_path, target_name="COI"
        )
    with pytest.raises(DataError, match="scan's grid"):
        draw_outlines(source, {BRAIN_COLOUR: mask[1:]}, AFFINE, tmp_path / "m.png")
    # A region that is empty has no outline, and no region cannot be drawn.
    draw_outlines(source, {BRAIN_COLOUR: mask & False}, AFFINE, tmp_path / "m.png")
    with pytest.raises(DataError, match="scan's grid"):
        draw_outlines(source, {}, AFFINE, tmp_path / "m.png")
