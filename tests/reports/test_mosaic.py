"""Tables of slices: every cell in its place, missing ones white."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.reports.mosaic import mosaic_figure
from tests.output_folder import pixels


def test_every_cell_is_drawn_and_missing_ones_stay_white(tmp_path):
    grey = np.random.default_rng(0).random((30, 40)) + 0.5
    rows = {"T1w GE": {"source": grey, "harmonized": grey}, "T2w GE": {"source": grey}}
    for name in ("a", "b"):
        mosaic_figure(rows, tmp_path / f"{name}.png", title="One person")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = pixels(tmp_path / "a.png")
    high, wide = picture.shape[:2]
    assert (picture[int(0.6 * high) : -40, -150:] > 0.99).all()
    assert picture[int(0.6 * high) : -40, wide // 3 : wide // 2].mean() < 0.9


def test_changes_have_one_range_of_colours_around_zero(tmp_path):
    rows = {"A": {"x": np.full((9, 9), 2.0)}, "B": {"x": np.full((9, 9), -1.0)}}
    mosaic_figure(rows, tmp_path / "a.png", change_label="change", pixel_mm=4.0)
    picture = pixels(tmp_path / "a.png")
    picture = picture[:, : picture.shape[1] - 130]  # beside the colour bar
    red, _, blue = np.moveaxis(picture, -1, 0)
    strong, pale = (red > 0.3) & (blue < 0.2), (blue > red + 0.1) & (red > 0.1)
    assert strong.sum() > 10000 and pale.sum() > 10000
    assert np.argwhere(strong)[:, 0].mean() < np.argwhere(pale)[:, 0].mean()


@pytest.mark.parametrize("rows", [{}, {"a": {"b": np.zeros((2, 2, 2))}}])
def test_what_is_no_slice_is_refused(rows, tmp_path):
    with pytest.raises(DataError, match="two-dimensional"):
        mosaic_figure(rows, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
