"""The settings that the package ships: they parse, and the paper's numbers are the paper's."""

from pathlib import Path

import pytest

from bids_harmony.cli.parser import parse_settings
from bids_harmony.settings import SHIPPED_CONFIGS, Settings, read_settings_file
from bids_harmony.training.adapt import network_config

FOLDER = Path(__file__).resolve().parents[1] / "bids_harmony" / "data" / "configs"


def read(name: str) -> Settings:
    return parse_settings(["bids", "out", "train", "--config-file", name])


def test_every_file_of_the_folder_has_a_name():
    assert {path.stem for path in FOLDER.iterdir()} == set(SHIPPED_CONFIGS)


@pytest.mark.parametrize("name", SHIPPED_CONFIGS)
def test_a_shipped_file_is_settings_by_name_and_by_path(name):
    assert read(name) == read(str(FOLDER / f"{name}.toml"))
    network_config(read(name).training)


def test_a_file_of_the_users_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("paper").write_text("voxel_mm = 3")
    assert read_settings_file(Path("paper")) == {"voxel_mm": 3.0}


def test_the_papers_training_has_the_papers_numbers():
    training = read("paper").training
    assert (training.batch, training.epochs, training.keep) == (32, 300, 0.9)
    assert (training.lambda_ac, training.lambda_art, training.learning_rate) == (1.0, 2.0, 1e-4)
    assert (training.twin_steps, training.start, training.identity_weight) == (0, False, 0.0)
    assert training.art_target == "slice" and training.closed_form is False
    config = network_config(training)
    assert (config.aan.mode, config.aan.grid, config.aan.relative) == ("replace", 1, False)
    assert not config.aan.gated and not config.aan.n_maps
    assert config.channels == (48, 384) and config.recursion == "convex"


def test_the_command_line_wins_over_a_shipped_file():
    asked = parse_settings(
        ["bids", "out", "train", "--config-file", "paper", "--epochs", "2", "--grid", "4"]
    ).training
    assert (asked.epochs, asked.grid, asked.batch) == (2, 4, 32)
