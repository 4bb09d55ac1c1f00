"""Prepared scans from disk, the modalities that can be used, and the profiles of their sites."""

import numpy as np
import pytest

from bids_harmony.exceptions import DataError, ImageError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import load_encoder
from bids_harmony.sites.prepared_scans import (
    TrainingScan,
    build_profiles,
    load_scans,
    profile_groups,
    usable_modalities,
)

VOXEL_MM = 8.0
SHAPE = reference_grid(VOXEL_MM).shape


def on_disk(folder, label, modality, site, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[4:-4, 4:-4, 4:-4] = True
    data = np.random.default_rng(len(label)).random(shape) * mask
    path = folder / f"{label}.npz"
    np.savez(path, data=data.astype(np.float16), mask=mask, scale=7.0)
    return TrainingScan(label, label[:1], modality, site, path)


@pytest.fixture
def scans(tmp_path):
    rows = [("b1", "T1w", "B"), ("a2", "T1w", "A"), ("a1", "T1w", "A"), ("a1t2", "T2w", "A")]
    return [on_disk(tmp_path, *row) for row in rows]


def test_scans_are_sorted_and_single_precision(scans):
    loaded = load_scans(scans, VOXEL_MM)
    assert [s.label for s in loaded] == ["a1", "a1t2", "a2", "b1"]
    assert loaded[0].data.dtype == np.float32 and loaded[0].mask.dtype == bool
    assert loaded[0].scale == 7.0 and loaded[3].site == "B"
    with pytest.raises(ImageError, match=r"another grid.*a1"):
        load_scans(scans, 6.0)


def test_a_modality_of_one_site_is_of_no_use(scans):
    loaded = load_scans(scans, VOXEL_MM)
    assert usable_modalities(loaded) == ["T1w"]
    with pytest.raises(DataError, match=r"at least two sites.*T2w: A"):
        usable_modalities([s for s in loaded if s.modality == "T2w"])


def test_profiles_are_of_the_first_scans_of_every_site_and_modality(scans):
    loaded = load_scans(scans, VOXEL_MM)
    groups = profile_groups(loaded, 1)
    assert {key: [s.label for s in group] for key, group in groups.items()} == {
        ("A", "T1w"): ["a1"], ("A", "T2w"): ["a1t2"], ("B", "T1w"): ["b1"],
    }  # fmt: skip
    profiles = build_profiles(
        loaded, load_encoder("random", widths=(2,) * 4), cells=2, size=2, voxel_mm=VOXEL_MM
    )
    assert profiles["A", "T1w"].scans == ("a1", "a2") and set(profiles) == set(groups)
