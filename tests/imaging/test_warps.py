"""Transforms of other pipelines: points go where ITK leads them, and damaged files are refused."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.imaging.linear import deterministic_ants
from bids_harmony.imaging.transforms import write_transform
from bids_harmony.imaging.volume import from_image
from bids_harmony.imaging.warps import affine_of, onto_warped, read_chain, read_warp
from tests.composite_transforms import write_composite

h5py = pytest.importorskip("h5py")

AFFINE = (
    "AffineTransform_float_3_3",
    [1.02, 0.03, 0, -0.02, 0.97, 0.01, 0, 0.02, 1.05, 3, -2, 5],
    [4.0, 8, -6],
)


def field(rng, shape=(9, 10, 11)):
    """A smooth field whose grid is turned and whose voxels are not cubes."""
    from scipy.ndimage import gaussian_filter

    moves = gaussian_filter(rng.normal(size=(*shape[::-1], 3)), (2, 2, 2, 0)) * 60
    grid = [*shape, 60, 55, -50, 10, 12, 11, -1, 0, 0, 0, -1, 0, 0, 0, 1]
    return "DisplacementFieldTransform_float_3_3", moves.ravel(), grid


@pytest.fixture
def composite(tmp_path):
    path = tmp_path / "x.h5"
    write_composite(path, [AFFINE, field(np.random.default_rng(0))])
    return path


def test_points_go_where_itk_leads_them(composite):
    pandas = pytest.importorskip("pandas")
    ants = deterministic_ants()
    # Inside the field; at its very border ITK and we may part.
    ras = np.random.default_rng(1).uniform(-15, 15, (200, 3))
    lps = pandas.DataFrame(ras * [-1, -1, 1], columns=["x", "y", "z"])
    theirs = ants.apply_transforms_to_points(3, lps, [str(composite)]).to_numpy() * [-1, -1, 1]
    ours = read_warp(composite).points(ras)
    assert np.abs(ours - ras).max() > 5
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_linear_transform_as_text_is_a_warp(tmp_path):
    world = np.array([[1.0, 0, 0, 4], [0, 0.9, 0.1, -2], [0, 0, 1.1, 3], [0, 0, 0, 1]])
    write_transform(world, tmp_path / "x.txt")
    points = np.random.default_rng(0).normal(size=(20, 3)) * 50
    moved = read_warp(tmp_path / "x.txt").points(points)
    np.testing.assert_allclose(moved @ world[:3, :3].T + world[:3, 3], points, atol=1e-9)


def test_linear_transforms_follow_each_other(tmp_path):
    """As text and as ANTs' .mat, the first from the scan."""
    ants = deterministic_ants()
    turned = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    itk = ants.create_ants_transform(
        transform_type="AffineTransform", dimension=3, matrix=turned, translation=[5.0, -3, 2],
        center=[10.0, 20, -5],
    )  # fmt: skip
    ants.write_transform(itk, str(tmp_path / "x.mat"))
    shift = np.eye(4)
    shift[:3, 3] = (1, 2, 3)
    write_transform(shift, tmp_path / "x.txt")
    world = read_chain([tmp_path / "x.txt", tmp_path / "x.mat"])
    fixed = np.random.default_rng(0).normal(size=(10, 3)) * 40  # RAS of the last space
    moving = np.array([itk.apply_to_point(p * [-1, -1, 1]) for p in fixed]) * [-1, -1, 1]
    scan = moving - shift[:3, 3]
    np.testing.assert_allclose(scan @ world[:3, :3].T + world[:3, 3], fixed, atol=1e-4)
    assert (read_chain([]) == np.eye(4)).all()
    for content in (b"", b"hello", (tmp_path / "x.mat").read_bytes()[:60]):
        (tmp_path / "bad.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"bad\.mat"):
            read_chain([tmp_path / "bad.mat"])


def test_the_nearest_affine_and_what_it_leaves(tmp_path, composite):
    points = np.random.default_rng(0).uniform(-60, 60, (500, 3))
    write_composite(tmp_path / "affine.h5", [AFFINE])
    warp = read_warp(tmp_path / "affine.h5")
    world, left = affine_of(warp, points)
    assert left < 1e-4
    np.testing.assert_allclose(
        warp.points(points) @ world[:3, :3].T + world[:3, 3], points, atol=1e-3
    )
    assert affine_of(read_warp(composite), points)[1] > 0.3


def test_a_scan_through_a_warp_lies_where_the_points_are(composite):
    rng = np.random.default_rng(0)
    like = from_image(nib.Nifti1Image(rng.uniform(1, 2, (12, 13, 14)), np.diag([3.0, 3, 3, 1])))
    # A scan that is linear in space: each voxel must have the value of its point.
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = (-60, -60, -60)
    x = np.stack(np.meshgrid(*[np.arange(40)] * 3, indexing="ij"), -1) @ affine[:3, :3].T
    slope = np.array([1.0, 2.0, 0.5])
    data = 500 + (x + affine[:3, 3]) @ slope
    volume = from_image(nib.Nifti1Image(data.astype(np.float32), affine))
    shift = np.eye(4)
    shift[:3, 3] = (2, -1, 3)
    warp = read_warp(composite)
    moved = onto_warped(volume, shift, warp, like)
    grid = np.stack(np.meshgrid(*map(np.arange, moved.shape), indexing="ij"), -1).reshape(-1, 3)
    there = warp.points(grid * 3.0) - shift[:3, 3]
    inside = (np.abs(there) < 50).all(axis=1)
    assert inside.sum() > 500
    np.testing.assert_allclose(moved.ravel()[inside], (500 + there @ slope)[inside], rtol=2e-3)


@pytest.mark.parametrize(
    "spoil",
    ["empty", "text", "cut", "no group", "unknown", "few", "flat", "nan", "huge", "words"],
)
def test_damaged_files_are_refused(tmp_path, composite, spoil):
    path = tmp_path / "bad.h5"
    kind, moves, grid = field(np.random.default_rng(0))
    if spoil in ("empty", "text", "cut"):
        content = {"empty": b"", "text": b"hello", "cut": composite.read_bytes()[:4000]}[spoil]
        path.write_bytes(content)
    elif spoil == "no group":
        with h5py.File(path, "w") as file:
            file["x"] = 1
    else:
        part = {
            "unknown": ("BSplineTransform_double_3_3", [1.0] * 9, [0.0]),
            "few": (kind, moves[:30], grid),
            "flat": ("AffineTransform_float_3_3", [0.0] * 12, [0.0] * 3),
            "nan": (kind, np.where(np.arange(moves.size) == 5, np.nan, moves), grid),
            "huge": (kind, moves, [1e9, 1e9, 1e9, *grid[3:]]),
            "words": (kind, moves, [np.nan, *grid[1:]]),
        }[spoil]
        write_composite(path, [part])
    with pytest.raises(DataError, match=r"bad\.h5"):
        read_warp(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingInput):
        read_warp(tmp_path / "gone.h5")
