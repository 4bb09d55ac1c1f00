"""Summaries as files: what was saved comes back, and anything else is refused by name."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from bids_harmony.exceptions import CannotCreateOutput, DataError
from bids_harmony.quality.summary import ScanSummary, SeriesSummary, load_summary, save_summary


@pytest.fixture
def scan(rng):
    quantiles = np.sort(rng.random((2, 4, 101)), axis=-1).astype(np.float32)
    quantiles[:, 3] = np.nan
    return ScanSummary(
        quantiles=quantiles,
        target_quantiles=np.linspace(0, 1.2, 101, dtype=np.float32),
        features=rng.random((4, 30)).astype(np.float16).astype(np.float32),
        head=rng.random(20).astype(np.float16),
        detail=np.array([-3.2, -3.4], np.float32),
        change=rng.normal(0, 0.1, (4, 5, 6)).astype(np.float16),
        voxel_mm=2.0,
    )


@pytest.fixture
def series(rng):
    regions = rng.random((2, 3, 64)).astype(np.float32)
    regions[..., 40:] = np.nan
    return SeriesSummary(("fa", "md", "ndi"), regions, rng.random((2, 3, 2)).astype(np.float32))


@pytest.mark.parametrize("kind", ["scan", "series"])
def test_what_was_saved_comes_back(kind, request, tmp_path):
    summary = request.getfixturevalue(kind)
    save_summary(tmp_path / "x.npz", summary)
    back = load_summary(tmp_path / "x.npz")
    assert type(back) is type(summary)
    for field in fields(summary):
        before, after = getattr(summary, field.name), getattr(back, field.name)
        np.testing.assert_array_equal(after, before)
        if field.name != "parameters":
            assert np.asarray(after).dtype == np.asarray(before).dtype, field.name
    save_summary(tmp_path / "y.npz", back)
    assert (tmp_path / "y.npz").read_bytes() == (tmp_path / "x.npz").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_features_of_large_stored_units_keep_their_digits(scan, tmp_path):
    features = scan.features.copy()
    features[0] *= 4e6
    save_summary(tmp_path / "x.npz", replace(scan, features=features))
    back = load_summary(tmp_path / "x.npz").features
    np.testing.assert_allclose(back[0], features[0], rtol=1e-3, atol=1e-4 * 4e6)
    np.testing.assert_array_equal(back[1:], features[1:])


def test_wrong_shapes_are_not_written(scan, series, tmp_path):
    path = tmp_path / "x.npz"
    for wrong, name in (
        (replace(scan, quantiles=scan.quantiles[:, :3]), "quantiles"),
        (replace(scan, features=scan.features[:3]), "features"),
        (replace(scan, change=scan.change[0]), "change"),
        (replace(scan, head=scan.head[:0]), "head"),
        (replace(series, regions=series.regions[:, :2]), "regions"),
        (replace(series, parameters=("fa", "md")), "regions"),
        (replace(series, parameters=()), "parameters"),
    ):
        with pytest.raises(DataError, match=name):
            save_summary(path, wrong)
    assert not path.exists()
    with pytest.raises(CannotCreateOutput):
        save_summary(tmp_path / "nowhere" / "x.npz", scan)


def test_files_that_are_no_summary_are_named(scan, tmp_path):
    path = tmp_path / "sub-01_T1w.npz"

    def refused(match="cannot be used"):
        with pytest.raises(DataError, match=match) as caught:
            load_summary(path)
        assert str(path) in str(caught.value) and "level participant again" in str(caught.value)

    refused()  # not there
    save_summary(path, scan)
    whole = path.read_bytes()
    for part in (b"", whole[:500], b"not a zip file at all"):
        path.write_bytes(part)
        refused()
    # A flipped byte in the middle of an array.
    path.write_bytes(whole[:800] + bytes([whole[800] ^ 0xFF]) + whole[801:])
    refused()
    with open(path, "wb") as stream:
        np.save(stream, np.zeros(3))
    refused()
    with open(path, "wb") as stream:
        np.savez(stream, kind="scan", version=np.array([{"x": 1}], dtype=object))
    refused()
    np.savez(path, look=np.zeros(3))
    refused("version none")


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("version", 2, "version 1 of the file"),
        ("kind", "picture", "kind picture"),
        ("detail", np.zeros(3), "detail of 2"),
        ("detail", np.array(["a", "b"]), "detail of 2"),
        ("voxel_mm", np.zeros(1), "voxel_mm of a number"),
        ("feature_unit", np.ones(3), "unit for each row"),
        ("more", 1, "more"),
        ("head", None, "head"),
    ],
)
def test_other_contents_are_refused(scan, tmp_path, name, value, match):
    path = tmp_path / "x.npz"
    save_summary(path, scan)
    with np.load(path) as file:
        arrays = dict(file)
    arrays |= {name: value}
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=match):
        load_summary(path)
