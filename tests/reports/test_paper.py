"""How slices are laid out on paper: one scale, their gaps, and colour bars that tell the truth."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.reports.paper import (
    Bar,
    Layout,
    around_zero,
    bright,
    draw_table,
    grey,
    strongest,
)
from bids_harmony.reports.planes import Cell

WIDE = Cell(np.ones((10, 20)), (2.0, 2.0), grey(1.0))  # 40 mm wide, 20 mm high
HIGH = Cell(np.ones((30, 20)), (1.0, 1.0), grey(1.0))  # 20 mm wide, 30 mm high


def _boxes(sheet):
    """Panels as (left, bottom, width, height), inches."""
    size = np.array([sheet.width, sheet.height] * 2)
    places = [axes.get_position(original=True).bounds for axes in sheet.figure.axes]
    return np.array(places) * size


def test_all_slices_have_one_scale_and_rows_are_as_high_as_they_need():
    layout = Layout(2.0, 0.1, left=0.5, right=0.2, head=1.0, foot=0.3, after_group=0.4)
    sheet = draw_table([[WIDE, HIGH], [WIDE, None]], layout)
    # 40 mm are 2 inches; rows of 30 and 20 mm, the last at the foot and its gap.
    assert sheet.width == pytest.approx(0.5 + 2 * 2.1 + 0.4 + 0.2)
    assert sheet.height == pytest.approx(1.0 + 1.5 + 1.0 + 2 * 0.1 + 0.3)
    np.testing.assert_allclose(
        _boxes(sheet), [[0.5, 1.4, 2, 1.5], [2.6, 1.4, 2, 1.5], [0.5, 0.3, 2, 1.0]]
    )
    for axes in sheet.figure.axes:
        assert np.ptp(axes.get_xlim()) == pytest.approx(40)


def test_fitted_columns_are_as_wide_as_their_slices():
    sheet = draw_table([[WIDE, HIGH]], Layout(2.0, 0.1, fitted=True))
    np.testing.assert_allclose(_boxes(sheet)[:, 2:], [[2, 1.5], [1, 1.5]])
    assert draw_table([[HIGH, HIGH]], Layout(3.0, fitted=True)).figure.axes[0].bbox.width < 221


def test_groups_stand_apart_and_headings_over_the_middle():
    layout = Layout(1.0, 0.0, after_group=0.5)
    sheet = draw_table([[WIDE] * 4], layout, groups=("a", "b"), headings=("x", "y"), note="n")
    np.testing.assert_allclose(_boxes(sheet)[:, 0], [0, 1, 2.5, 3.5])
    at = {t.get_text(): t.get_position()[0] * sheet.width for t in sheet.figure.texts}
    assert (at["a"], at["b"], at["x"], at["y"]) == pytest.approx((0, 2.5, 1.0, 3.5))
    assert sheet.height == pytest.approx(0.75 + 0.25 + 0.5 + 0.35)


@pytest.mark.parametrize(("largest", "extend"), [(0.5, "neither"), (-2.0, "both")])
def test_a_colour_bar_is_pointed_where_values_lie_beyond_it(largest, extend):
    change = Cell(np.zeros((4, 4)), (1.0, 1.0), around_zero(1.0))
    layout = Layout(1.0, 0.0, after_group=1.0, bar=(0.2, 0.1, 0.05))
    bar = Bar(1, 1, "change", np.array([0.0, largest]))
    sheet = draw_table([[WIDE, change], [WIDE, change]], layout, bars=[bar])
    drawn = sheet.figure.axes[1].images[0], sheet.figure.axes[3].images[0]
    assert drawn[0].colorbar is None and drawn[1].colorbar.extend == extend
    (x, y, wide, high), row = _boxes(sheet)[-1], _boxes(sheet)[3]
    assert (x, y) == pytest.approx((row[0] + 1.2, row[1] + 0.05))
    assert (wide, high) == pytest.approx((0.1, row[3] - 0.1))


def test_windows_are_those_of_the_voxels_inside():
    mask = np.arange(1000) < 900
    image = np.where(mask, np.arange(1000.0), 1e6)
    assert bright(mask, image, image / 2) == pytest.approx(np.percentile(image[mask], 99.5))
    assert bright(mask, 0 * image) == 1.0
    assert strongest(-image, mask, 50) == pytest.approx(449.5)
    assert strongest(np.where(mask, 0, -3.0), mask) == 3.0
