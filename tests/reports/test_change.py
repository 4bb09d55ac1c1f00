"""The figure of a scan and the pictures of its page: what is drawn where, whole and repeatable."""

from __future__ import annotations

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_harmony.exceptions import CannotCreateOutput, DataError
from bids_harmony.reports.change import (
    Comparison,
    draw_outlines,
    page_pictures,
    subject_figure,
)
from bids_harmony.reports.paper import ON_GREY
from tests.output_folder import pixels

SHAPE = (30, 36, 28)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
QUANTILES = np.linspace(0, 60, 11)


@pytest.fixture
def scan():
    """A dark ellipsoid."""
    index = np.indices(SHAPE)
    radius = (index - np.array([15, 18, 14]).reshape(3, 1, 1, 1)) / np.array([12, 15, 11]).reshape(
        3, 1, 1, 1
    )
    mask = (radius**2).sum(axis=0) < 1
    data = np.where(mask, 50.0, 0.0).astype(np.float32)
    return data, mask


def _draw(scan, path, note="", *, harmonized=None, target_mean=None, affine=AFFINE):
    data, mask = scan
    after = data + mask if harmonized is None else harmonized
    mean = data if target_mean is None else target_mean
    shown = Comparison(data, after, mean, mask, affine, QUANTILES, "COI")
    subject_figure(shown, path, "sub-01", note)


def test_the_same_figure_has_the_same_bytes_and_leaves_nothing_else(scan, tmp_path):
    _draw(scan, tmp_path / "a.png", "a note")
    _draw(scan, tmp_path / "b.png", "a note")
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert first.startswith(b"\x89PNG") and b"tIME" not in first and b"Software" not in first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
    _draw(scan, tmp_path / "b.png", "another note")
    assert first != (tmp_path / "b.png").read_bytes()


def _colour_centre(pixels, channel):
    """Mean (row, column) of strongly red (0) or blue (2) pixels of the axial change map."""
    high, wide = pixels.shape[:2]
    strong = pixels[..., channel] > pixels[..., 2 - channel] + 0.2
    strong[int(0.3 * high) :] = False  # other planes, curves
    strong[:, : int(0.5 * wide)] = False  # other columns
    strong[:, int(0.85 * wide) :] = False  # colour bar
    assert strong.any()
    return np.argwhere(strong).mean(axis=0)


@pytest.mark.parametrize("order", ["RAS", "LPS", "SLA"])
def test_left_is_drawn_on_the_left_for_any_voxel_order(scan, tmp_path, order):
    data, mask = scan
    index = np.indices(SHAPE)
    # Gains on the subject's left front, loses on the right back.
    change = np.zeros(SHAPE, np.float32)
    change[mask & (index[0] < 12) & (index[1] > 20)] = 5
    change[mask & (index[0] > 18) & (index[1] < 16)] = -5
    to = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(order)
    )
    turned = AFFINE @ nib.orientations.inv_ornt_aff(to, SHAPE)
    stored, stored_mask, stored_change = (
        nib.orientations.apply_orientation(a, to) for a in (data, mask, change)
    )
    assert "".join(nib.aff2axcodes(turned)) == order
    path = tmp_path / "figure.png"
    _draw((stored, stored_mask), path, harmonized=stored + stored_change, affine=turned)
    picture = pixels(path)
    gain, loss = _colour_centre(picture, 0), _colour_centre(picture, 2)
    assert gain[1] < loss[1], "left must be left"
    assert gain[0] < loss[0], "front must be up"


def test_change_is_measured_against_zero_not_its_mean(scan, tmp_path):
    _draw(scan, tmp_path / "up.png", harmonized=scan[0] + 3 * scan[1])
    _draw(scan, tmp_path / "down.png", harmonized=scan[0] - 3 * scan[1])
    for name, channel in (("up.png", 0), ("down.png", 2)):
        picture = pixels(tmp_path / name)
        high, wide = picture.shape[:2]
        part = picture[: high // 3, wide // 2 : int(0.85 * wide)]
        strong = (part[..., channel] > part[..., 2 - channel] + 0.25).sum()
        opposite = (part[..., 2 - channel] > part[..., channel] + 0.25).sum()
        assert strong > 500 and opposite == 0, name


def test_an_unchanged_image_and_an_empty_target_mean_are_drawn(scan, tmp_path):
    data, _ = scan
    _draw(scan, tmp_path / "same.png", harmonized=data)
    _draw(scan, tmp_path / "dark.png", target_mean=0 * data)
    same, dark = (pixels(tmp_path / f"{name}.png") for name in ("same", "dark"))
    third = slice(same.shape[1] // 2, 3 * same.shape[1] // 4)
    assert same.shape[1] == dark.shape[1]
    assert same[: same.shape[0] // 2, third].mean() > dark[: dark.shape[0] // 2, third].mean()


def test_voxels_keep_their_shape_on_paper(tmp_path):
    """A 48 mm cube of 1 x 1 x 4 mm voxels is as high as it is wide in every plane."""
    data = np.zeros((64, 64, 16), np.float32)
    data[8:56, 8:56, 2:14] = 100
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    _draw((data, data > 0), tmp_path / "cube.png", harmonized=data, affine=affine)
    regions, _ = ndimage.label((pixels(tmp_path / "cube.png") > 0.99).all(axis=2))
    sizes = [
        (box[0].stop - box[0].start, box[1].stop - box[1].start)
        for box in ndimage.find_objects(regions)
    ]
    page, *cubes = sorted(sizes, reverse=True)
    cubes = [size for size in cubes if min(size) > 50]
    assert min(page) > 500 and len(cubes) == 9  # three planes of source, harmonized, target
    assert np.ptp(cubes) <= 4, cubes


def test_bad_input_is_named_and_nothing_is_left(scan, tmp_path):
    data, mask = scan
    path = tmp_path / "a.png"
    with pytest.raises(DataError, match="on one grid"):
        _draw(scan, path, harmonized=data[1:])
    with pytest.raises(DataError, match="on one grid"):
        _draw(scan, path, target_mean=data[..., 3])
    with pytest.raises(DataError, match="mask is empty"):
        _draw((data, np.zeros_like(mask)), path)
    with pytest.raises(CannotCreateOutput):
        _draw(scan, tmp_path / "no" / "a.png")
    assert not list(tmp_path.iterdir())


def test_importing_figures_costs_no_matplotlib_and_drawing_no_pyplot(tmp_path):
    code = (
        "import sys, numpy as np, bids_harmony.reports.change as c;"
        "assert not any(m.startswith('matplotlib') for m in sys.modules);"
        "ball = np.ones((4, 4, 4));"
        "c.draw_outlines(ball, {'#000000': ball > 0}, np.eye(4), sys.argv[1]);"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def ball():
    """A ball of 24 voxels in a cube of 40: brain mask and a scan brighter to the right."""
    x, y, z = np.indices((40, 40, 40)) - 19.5
    mask = x**2 + y**2 + z**2 < 12**2
    return mask, (mask * (1 + 0.02 * x)).astype(np.float32)


def test_before_after_and_target_are_of_one_size_and_window(ball, tmp_path):
    mask, source = ball
    paths = _pictures(source, 1.5 * source, mask, tmp_path)
    names = [path.stem for path in paths]
    assert names == ["before", "after", "target", "change", "densities"]
    before, after, target, change = (pixels(path) for path in paths[:4])
    assert before.shape == after.shape == target.shape
    height, width, _ = before.shape
    # Three planes, each on a third: the brain is in the middle of each.
    for third in (1, 3, 5):
        assert before[height // 2, third * width // 6].min() > 0.23
    assert before[5, width // 2].max() == 0
    assert after.mean() > 1.2 * before.mean() and np.array_equal(before, target)
    # Brighter is red, around it white.
    red, _, blue = change[height // 2, width // 6]
    assert red > blue + 0.16
    again = _pictures(source, 1.5 * source, mask, tmp_path)
    assert np.array_equal(pixels(again[1]), after)


def test_left_is_left_whatever_the_voxel_order(ball, tmp_path):
    mask, source = ball
    _pictures(source, source, mask, tmp_path)
    plain = pixels(tmp_path / "before.png")
    flipped = AFFINE @ np.array([[-1, 0, 0, 39], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    _pictures(source[::-1], source[::-1], mask[::-1], tmp_path, flipped)
    assert np.array_equal(pixels(tmp_path / "before.png"), plain)
    third = plain[:, : plain.shape[1] // 3].mean(axis=(0, 2))
    assert third[len(third) // 2 :].sum() > 1.1 * third[: len(third) // 2].sum()


def test_outlines_lie_where_the_region_ends(ball, tmp_path):
    mask, source = ball
    x, y, z = np.indices(mask.shape) - 19.5
    inner = x**2 + y**2 + z**2 < 6**2
    draw_outlines(source, {ON_GREY: inner}, AFFINE, tmp_path / "mask.png")
    image = 255 * pixels(tmp_path / "mask.png")
    wanted = np.array([int(ON_GREY[i : i + 2], 16) for i in (1, 3, 5)])
    height, width, _ = image.shape
    drawn = np.abs(image[:, : width // 3] - wanted).sum(axis=2) < 30
    rows, columns = np.nonzero(drawn)
    # The ball has a radius of 12 voxels and an edge of 1, the region one of 6.
    radius = np.hypot(rows - height / 2, columns - width / 6)
    assert rows.size > 100
    assert np.ptp(radius) < 0.06 * height
    draw_outlines(source, {ON_GREY: mask}, AFFINE, tmp_path / "wide.png")
    wide = np.abs(255 * pixels(tmp_path / "wide.png")[:, : width // 3] - wanted).sum(axis=2) < 30
    outer = np.hypot(*(np.argwhere(wide) - [height / 2, width / 6]).T)
    assert outer.mean() == pytest.approx(2 * radius.mean(), rel=0.06)


def test_outlines_must_be_on_the_grid_of_the_scan(ball, tmp_path):
    mask, source = ball
    with pytest.raises(DataError, match="on one grid"):
        draw_outlines(source, {ON_GREY: mask[1:]}, AFFINE, tmp_path / "m.png")
    with pytest.raises(DataError, match="empty"):
        draw_outlines(source, {ON_GREY: mask & False}, AFFINE, tmp_path / "m.png")
    assert not list(tmp_path.iterdir())


def _pictures(source, harmonized, mask, folder, affine=AFFINE):
    quantiles = np.linspace(0.5, 1.5, 11)
    shown = Comparison(source, harmonized, source, mask, affine, quantiles, "COI")
    return page_pictures(shown, folder)
