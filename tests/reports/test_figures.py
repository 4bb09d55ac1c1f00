"""Figures: what is drawn where, and that files are whole and repeatable."""

from __future__ import annotations

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_harmony.exceptions import CannotCreateOutput, DataError
from bids_harmony.reports.figures import mosaic_figure, subject_figure
from bids_harmony.reports.planes import PLANES, cut, in_ras, voxel_sizes

SHAPE = (30, 36, 28)


def _png(path):
    """Pixels of a PNG, (rows, columns, 3) in 0..1."""
    from matplotlib.image import imread

    return imread(path)[..., :3]


@pytest.fixture
def scan():
    """A dark ellipsoid with a bright block on the subject's left, front, top."""
    index = np.indices(SHAPE)
    radius = (index - np.array([15, 18, 14]).reshape(3, 1, 1, 1)) / np.array([12, 15, 11]).reshape(
        3, 1, 1, 1
    )
    mask = (radius**2).sum(axis=0) < 1
    data = np.where(mask, 50.0, 0.0).astype(np.float32)
    return data, mask


@pytest.fixture
def affine():
    return np.diag([4.0, 4.0, 4.0, 1.0])


def _draw(scan, affine, path, **keywords):
    data, mask = scan
    change = keywords.pop("change", None)
    target = keywords.pop("target_mean", data)
    harmonized = keywords.pop("harmonized", data + mask)
    subject_figure(data, harmonized, target, mask, change, affine, path, "sub-01", **keywords)


def test_the_same_figure_has_the_same_bytes_and_leaves_nothing_else(scan, affine, tmp_path):
    _draw(scan, affine, tmp_path / "a.png", note="a note")
    _draw(scan, affine, tmp_path / "b.png", note="a note")
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert first.startswith(b"\x89PNG") and b"tIME" not in first and b"Software" not in first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
    _draw(scan, affine, tmp_path / "b.png", note="another note")
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
def test_left_is_drawn_on_the_left_for_any_voxel_order(scan, affine, tmp_path, order):
    data, mask = scan
    index = np.indices(SHAPE)
    # Gains on the subject's left front, loses on the right back.
    change = np.zeros(SHAPE, np.float32)
    change[mask & (index[0] < 12) & (index[1] > 20)] = 5
    change[mask & (index[0] > 18) & (index[1] < 16)] = -5
    to = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(order)
    )
    turned = affine @ nib.orientations.inv_ornt_aff(to, SHAPE)
    stored, stored_mask, stored_change = (
        nib.orientations.apply_orientation(a, to) for a in (data, mask, change)
    )
    assert "".join(nib.aff2axcodes(turned)) == order
    path = tmp_path / "figure.png"
    subject_figure(
        stored, stored + stored_change, None, stored_mask, stored_change, turned, path, "sub-01"
    )
    pixels = _png(path)
    gain, loss = _colour_centre(pixels, 0), _colour_centre(pixels, 2)
    assert gain[1] < loss[1], "left must be left"
    assert gain[0] < loss[0], "front must be up"


def test_change_is_measured_against_zero_not_its_mean(scan, affine, tmp_path):
    _draw(scan, affine, tmp_path / "up.png", harmonized=scan[0] + 3 * scan[1])
    _draw(scan, affine, tmp_path / "down.png", harmonized=scan[0] - 3 * scan[1])
    for name, channel in (("up.png", 0), ("down.png", 2)):
        pixels = _png(tmp_path / name)
        part = pixels[: pixels.shape[0] // 3, pixels.shape[1] // 2 : int(0.85 * pixels.shape[1])]
        strong = (part[..., channel] > part[..., 2 - channel] + 0.25).sum()
        opposite = (part[..., 2 - channel] > part[..., channel] + 0.25).sum()
        assert strong > 500 and opposite == 0, name


def test_an_unchanged_image_and_missing_profiles_are_drawn(scan, affine, tmp_path):
    data, mask = scan
    subject_figure(data, data, None, mask, None, affine, tmp_path / "same.png")
    _draw(scan, affine, tmp_path / "flat.png", target_mean=data[..., 14])
    _draw(scan, affine, tmp_path / "whole.png")
    widths = {n: _png(tmp_path / f"{n}.png").shape[1] for n in ("same", "flat", "whole")}
    assert widths["same"] < widths["flat"] == widths["whole"]


def test_a_target_mean_on_another_grid(scan, affine, tmp_path):
    _draw(
        scan,
        affine,
        tmp_path / "a.png",
        target_mean=np.ones((60, 70, 50), np.float32) * 40,
        target_affine=np.diag([2.0, 2.0, 2.0, 1.0]),
        target_quantiles=np.linspace(10, 60, 101),
    )
    assert (tmp_path / "a.png").stat().st_size > 10000


def test_voxels_keep_their_shape_on_paper(tmp_path):
    """A 48 mm cube of 1 x 1 x 4 mm voxels is as high as it is wide in every plane."""
    data = np.zeros((64, 64, 16), np.float32)
    data[8:56, 8:56, 2:14] = 100
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    subject_figure(data, data, None, data > 0, None, affine, tmp_path / "cube.png")
    regions, _ = ndimage.label((_png(tmp_path / "cube.png") > 0.99).all(axis=2))
    sizes = [
        (box[0].stop - box[0].start, box[1].stop - box[1].start)
        for box in ndimage.find_objects(regions)
    ]
    page, *cubes = sorted(sizes, reverse=True)[:8]
    cubes = [size for size in cubes if min(size) > 50]
    assert min(page) > 500 and len(cubes) == 6  # three planes of source and harmonized
    assert np.ptp(cubes) <= 4, cubes


def test_planes_are_cut_where_the_brain_is_largest(scan):
    _, mask = scan
    picture = cut(mask, mask, np.ones(3))
    for axis in range(3):
        areas = mask.sum(axis=tuple(a for a in range(3) if a != axis))
        assert areas[picture.centre[axis]] == areas.max()
    axial = picture.plane(np.broadcast_to(np.arange(SHAPE[1])[None, :, None], SHAPE), PLANES[0])
    assert (np.diff(axial, axis=0) == 1).all(), "front must be up"


def test_in_ras_and_voxel_sizes_follow_the_affine():
    affine = np.array([[0, 0, -3.0, 0], [1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    data = np.arange(24).reshape(2, 3, 4)  # axes: A, S, L
    np.testing.assert_array_equal(in_ras(data, affine), data.transpose(2, 0, 1)[::-1])
    np.testing.assert_allclose(voxel_sizes(affine), [3, 1, 2])


def test_mosaic_draws_every_cell_and_leaves_missing_ones_white(tmp_path):
    rng = np.random.default_rng(0)
    grey, error = rng.random((30, 40)) + 0.5, np.full((30, 40), 2.0)
    rows = {"T1w GE": {"source": grey, "error": error}, "T2w GE": {"source": grey}}
    mosaic_figure(rows, tmp_path / "a.png", title="Twins", diverging=["error"])
    mosaic_figure(rows, tmp_path / "b.png", title="Twins", diverging=["error"])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    pixels = _png(tmp_path / "a.png")
    red = (pixels[..., 0] > 0.3) & (pixels[..., 2] < 0.2)
    assert red.sum() > 10000
    assert np.argwhere(red)[:, 0].mean() < 0.5 * pixels.shape[0], "only the first row has errors"
    lower_right = pixels[int(0.6 * pixels.shape[0]) : -40, -150:]
    assert (lower_right > 0.99).all()


def test_bad_input_is_named_and_nothing_is_left(scan, affine, tmp_path):
    data, mask = scan
    path = tmp_path / "a.png"
    with pytest.raises(DataError, match="one shape"):
        subject_figure(data, data[1:], None, mask, None, affine, path)
    with pytest.raises(DataError, match="mask is empty"):
        subject_figure(data, data, None, np.zeros_like(mask), None, affine, path)
    with pytest.raises(DataError, match="two-dimensional"):
        mosaic_figure({"a": {"b": data}}, path)
    with pytest.raises(DataError, match="two-dimensional"):
        mosaic_figure({}, path)
    with pytest.raises(CannotCreateOutput):
        subject_figure(data, data, None, mask, None, affine, tmp_path / "no" / "a.png")
    assert not list(tmp_path.iterdir())


def test_importing_figures_costs_no_matplotlib_and_drawing_no_pyplot(tmp_path):
    code = (
        "import sys, numpy as np, bids_harmony.reports.figures as f;"
        "assert not any(m.startswith('matplotlib') for m in sys.modules);"
        "f.mosaic_figure({'a': {'b': np.ones((4, 4))}}, sys.argv[1]);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
