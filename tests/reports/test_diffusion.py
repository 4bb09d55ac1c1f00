"""Figures of a diffusion series and its maps: what is drawn where, in which colours."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.reports import paper
from bids_harmony.reports.diffusion import map_distributions_figure, maps_figure, series_figure
from bids_harmony.reports.paper import Sheet
from tests.output_folder import pixels

SHAPE = (30, 36, 28)
AFFINE = np.diag([-2.0, 2.0, 2.0, 1.0])  # stored from right to left


@pytest.fixture
def mask():
    index = np.indices(SHAPE)
    radius = (index - np.reshape([15, 18, 14], (3, 1, 1, 1))) / np.reshape(
        [12, 15, 11], (3, 1, 1, 1)
    )
    return (radius**2).sum(axis=0) < 1


@pytest.fixture
def maps(mask):
    """FA of 0.8 that runs right-left on the right side, front-back on the left."""
    v1 = np.zeros((*SHAPE, 3), np.float32)
    v1[:15, ..., 0], v1[15:, ..., 1] = 1, -1
    base = np.where(mask, 0.8, 0).astype(np.float32)
    return {"fa": base, "md": base * 1e-3, "ndi": base, "odi": base, "v1": v1}


@pytest.fixture
def drawn(monkeypatch):
    """Images and styles as they reach the paper, in order."""
    kept = []
    draw = Sheet.draw

    def keep(self, panel, cell, inch_per_mm):
        kept.append((np.asarray(cell.image), cell.style))
        return draw(self, panel, cell, inch_per_mm)

    monkeypatch.setattr(Sheet, "draw", keep)
    return kept


def test_rows_planes_and_windows(maps, mask, drawn, tmp_path):
    after = dict(maps, fa=np.where(mask, 0.7, 0).astype(np.float32))
    maps_figure(maps, after, mask, AFFINE, tmp_path / "maps.png", "sub-01", "")
    assert len(drawn) == 5 * 9
    fa, md = drawn[9:18], drawn[18:27]
    assert fa[0][1] == {"cmap": "gray", "vmin": 0.0, "vmax": 0.8}
    assert md[0][1]["vmax"] == 2.0 and md[0][0].max() == pytest.approx(0.8)  # µm2/ms
    change, style = fa[6]
    assert change.min() == pytest.approx(-0.1) and style["vmin"] == pytest.approx(-0.1)
    assert not md[6][0].any()
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")


def test_colours_are_directions_in_the_scanners_frame(maps, mask, drawn, tmp_path):
    turned = maps["v1"].copy()
    turned[:15] = [-np.cos(np.radians(12)), 0, np.sin(np.radians(12))]
    maps_figure(maps, dict(maps, v1=turned), mask, AFFINE, tmp_path / "maps.png", "t", "")
    axial, angle = drawn[0][0], drawn[6][0]
    # (up, right): the stored first half lies on the right-hand side of the picture.
    row, (left, right) = axial.shape[0] // 2, (axial.shape[1] // 3, 2 * axial.shape[1] // 3)
    np.testing.assert_allclose(axial[row, right], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(axial[row, left], [0, 1, 0], atol=1e-6)
    assert angle[row, right] == pytest.approx(12, abs=1e-4) and angle[row, left] == 0
    # An image whose first axis runs from the inside up: blue.
    upward = np.array([[0, 0, -2.0, 0], [0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]])
    drawn.clear()
    maps_figure(maps, maps, mask, upward, tmp_path / "maps.png", "t", "")
    colours = drawn[0][0].reshape(-1, 3)
    assert colours[:, 2].max() == pytest.approx(1) and not colours[:, 0].any()


def test_a_tensor_alone_and_a_thin_slab(maps, mask, drawn, tmp_path):
    one = {n: a[:, :, 13:15] for n, a in maps.items() if n in ("fa", "md")}
    maps_figure(one, maps | one, mask[:, :, 13:15], AFFINE, tmp_path / "maps.png", "t", "")
    assert len(drawn) == 2 * 3  # one plane, no colours without directions


def test_figures_are_the_same_bytes_again(maps, mask, tmp_path):
    for name in ("a.png", "b.png"):
        maps_figure(maps, maps, mask, AFFINE, tmp_path / name, "t", "n")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_maps_that_do_not_go_together_are_refused(maps, mask, tmp_path):
    with pytest.raises(DataError, match="No map"):
        maps_figure(maps, {}, mask, AFFINE, tmp_path / "maps.png", "t", "")
    with pytest.raises(DataError, match="empty"):
        maps_figure(maps, maps, np.zeros_like(mask), AFFINE, tmp_path / "maps.png", "t", "")
    with pytest.raises(DataError, match="one grid"):
        maps_figure(
            maps, dict(maps, fa=maps["fa"][1:]), mask, AFFINE, tmp_path / "maps.png", "t", ""
        )
    assert not list(tmp_path.iterdir())


def test_distributions_are_those_of_each_tissue(maps, mask, tmp_path, monkeypatch):
    panels = []
    monkeypatch.setattr(paper, "draw_densities", _keeping(paper.draw_densities, panels.append))
    white = mask & (np.indices(SHAPE)[0] < 15)
    after = dict(maps, fa=maps["fa"] - 0.4 * white)
    tissues = {"white matter": white, "grey matter": mask & ~white, "CSF": np.zeros_like(mask)}
    path = tmp_path / "densities.png"
    map_distributions_figure(maps, after, tissues, path, "sub-01")
    assert [label for _, _, label in panels] == ["FA", "MD (µm²/ms)", "NDI", "ODI"] * 2
    grid, curves, _ = panels[0]
    tops = {name: grid[np.argmax(density)] for name, density, *_ in curves}
    assert tops == pytest.approx({"source": 0.8, "harmonized": 0.4}, abs=0.01)
    assert {name for name, *_ in panels[4][1]} == {"source", "harmonized"}
    with pytest.raises(DataError, match="Nothing to draw"):
        map_distributions_figure(maps, after, {"CSF": np.zeros_like(mask)}, path, "t")


def _keeping(draw, keep):
    def drawing(panel, grid, curves, label):
        keep((grid, curves, label))
        draw(panel, grid, curves, label)

    return drawing


@pytest.fixture
def images():
    at = np.indices((20, 24, 18)) - np.reshape([10, 12, 9], (3, 1, 1, 1))
    mask = np.square(at / np.reshape([8, 10, 7], (3, 1, 1, 1))).sum(axis=0) < 1
    return np.where(mask, 0.6, 0.0).astype(np.float32), mask


def draw_series(path, b0, shell, mask):
    series_figure(
        b0,
        shell,
        mask,
        np.diag([-3.0, 3.0, 3.0, 1.0]),
        path,
        shell_name="b = 1000 s/mm²",
        title="one",
        note="",
    )
    return pixels(path)


def coloured(picture):
    """Share of pixels that are neither grey nor of the outline's blue: strong red or blue."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    return np.mean((red - green > 0.2) & (red - blue > 0.2))


def test_a_change_of_a_series_is_seen_on_its_half_alone(images, tmp_path):
    image, mask = images
    still = draw_series(tmp_path / "still.png", (image, image), (image, image), mask)
    rounded = (image, np.where(mask, image + 1e-5, 0))
    moved = draw_series(tmp_path / "moved.png", (image, 1.2 * image), rounded, mask)
    middle = still.shape[1] // 2
    assert moved.shape == still.shape
    # Beside the colour bar, which is there either way.
    assert coloured(moved[:, :middle]) > coloured(still[:, :middle]) + 0.02
    np.testing.assert_allclose(
        coloured(moved[:, middle:]), coloured(still[:, middle:]), atol=0.005
    )


def test_a_series_gives_the_same_bytes_again(images, tmp_path):
    image, mask = images
    for name in ("a.png", "b.png"):
        draw_series(tmp_path / name, (image, 1.1 * image), (image, image), mask)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_series_that_cannot_be_drawn_is_told(images, tmp_path):
    image, mask = images
    with pytest.raises(DataError, match="empty"):
        draw_series(tmp_path / "a.png", (image, image), (image, image), np.zeros_like(mask))
    with pytest.raises(DataError, match="on one grid"):
        draw_series(tmp_path / "a.png", (image, image[1:]), (image, image), mask)
    assert list(tmp_path.iterdir()) == []
