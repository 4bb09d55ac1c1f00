"""Presets and their way through JSON."""

from __future__ import annotations

import json

import pytest

from bids_harmony.exceptions import DataError, UsageError
from bids_harmony.model.presets import DEFAULT_PRESET, PRESETS, NetworkConfig, preset


@pytest.mark.parametrize("name", list(PRESETS))
def test_json_round_trip(name):
    table = json.loads(json.dumps(PRESETS[name].to_dict()))
    assert NetworkConfig.from_dict(table) == PRESETS[name]


def test_configurations_of_before_bound_no_code():
    table = PRESETS["local"].to_dict()
    assert table["aan"].pop("code_clip") == 2.0
    assert NetworkConfig.from_dict(table).aan.code_clip == 0
    assert PRESETS["paper"].aan.code_clip == 0


def test_default_is_local():
    config = preset(DEFAULT_PRESET)
    assert config.channels == (48, 384)
    assert (config.aan.grid, config.aan.n_maps, config.aan.mode) == (8, 8, "residual")
    assert config.aan.relative and config.aan.gated


def test_paper_is_literal():
    config = preset("paper")
    assert (config.squeeze, config.channels, config.aan.grid) == ((2, 2), (48, 384), 1)
    assert config.aan.mode == "replace"
    assert not (config.aan.relative or config.aan.gated or config.aan.n_maps or config.aan.fuse)


def test_channel_plans_without_squeeze():
    assert preset("flat").channels == (30, 120)
    assert preset("repo").channels == (30, 120, 480)


def test_changes_reach_both_levels():
    config = preset("local", hidden=(8, 8), grid=4, n_maps=0)
    assert (config.hidden, config.aan.grid, config.aan.n_maps) == ((8, 8), 4, 0)
    assert preset("local").aan.grid == 8


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 3},
        {"splits": (2,)},
        {"recursion": "sum"},
        {"w_init": "zero"},
        {"mode": "add"},
        {"fuse": False},
        {"grid": 0},
        {"code_clip": -1.0},
        {"code_clip": "2"},
    ],
    ids=str,
)
def test_senseless_changes_are_refused(changes):
    with pytest.raises(UsageError, match="Expected"):
        preset("local", **changes)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="local"):
        preset("glow")
    with pytest.raises(DataError):
        NetworkConfig.from_dict({"depth": 3})
    with pytest.raises(DataError):
        NetworkConfig.from_dict({"aan": 3})
