"""Files of settings: what users write, and messages for mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_harmony.exceptions import MissingInput, UsageError
from bids_harmony.settings import read_settings_file


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nproc = 2", "Did you mean nprocs"),
        ("nprocs = 'two'", "nprocs"),
        ("nprocs = true", "nprocs"),
        ("n4 = 1", "n4"),
        ("modalities = [1]", "modalities"),
        ("[training]\nkep = 0.5", "Did you mean keep"),
        ("training = 3", "training"),
        ("[training]\ngrid = 4.5", "grid"),
        ("[training]\nrelative = 1", "relative"),
        ("[training]\naan = 2", "aan"),
        ("bids_filters = '{'", "bids_filters"),
        ("nprocs = ", "not TOML"),
    ],
)
def test_mistakes_in_the_file(tmp_path, text, told):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told) as caught:
        read_settings_file(path)
    assert str(path) in str(caught.value)


def test_file_by_hand(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(
        "voxel_mm = 2\nmodalities = 'T1w'\nsite_map = 'map.tsv'\n"
        "[bids_filters.T1w]\nacquisition = 'mprage'\n[training]\nkeep = 1\n"
        "[provenance]\nanything = 1\n"
    )
    values = read_settings_file(path)
    assert values == {
        "voxel_mm": 2.0,
        "modalities": ("T1w",),
        "site_map": Path("map.tsv"),
        "bids_filters": {"T1w": {"acquisition": "mprage"}},
        "training": {"keep": 1.0},
    }


def test_no_such_file(tmp_path):
    with pytest.raises(MissingInput, match="or one of demo, paper"):
        read_settings_file(tmp_path / "none.toml")
