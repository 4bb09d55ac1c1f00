"""Settings: ranges, the round trip through TOML, and messages for mistakes."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from bids_harmony import resources
from bids_harmony import settings as settings_module
from bids_harmony.exceptions import MissingInput, UsageError
from bids_harmony.settings import Settings, TrainingSettings, read_settings_file


def make(**options) -> Settings:
    return Settings(
        **{
            "bids_dir": Path("/data"),
            "output_dir": Path("/out"),
            "analysis_level": "participant",
            **options,
        }
    )


EVERYTHING = {
    "participant_labels": ("01", "02"),
    "session_labels": ("A",),
    "modalities": ("T1w",),
    "bids_filters": {"T1w": {"acquisition": None, "run": 1, "session": ["A", "B"]}},
    "derivatives": {"fmriprep": Path("/fp")},
    "target_site": "COI",
    "source_site": "GE",
    "site_map": Path("/map.tsv"),
    "model_dir": Path("/model"),
    "work_dir": Path("/w"),
    "nprocs": 3,
    "omp_nthreads": 2,
    "memory_mb": 4000,
    "device": "cuda:1",
    "output_spaces": ("native", "MNI152NLin2009aSym"),
    "output_layout": "raw",
    "plugin_file": Path("/p.yaml"),
    "verbosity": 2,
    "anonymize_provenance": True,
    "keep_header_extensions": True,
    "n4": True,
    "training": TrainingSettings(
        encoder="vgg", encoder_file=Path("/vgg"), keep=0.8, relative=False, grid=4, aan="replace"
    ),
}


def test_round_trip(tmp_path):
    for settings in (make(), make(**EVERYTHING)):
        path = tmp_path / "settings.toml"
        path.write_text(settings.to_toml())
        assert Settings.from_dict(read_settings_file(path)) == settings


def test_machine_values_are_not_carried_unless_asked_for(monkeypatch):
    monkeypatch.setattr(resources, "available_cpus", lambda: 16)
    monkeypatch.setattr(resources, "available_memory_mb", lambda: 1000)
    settings = make()
    assert (settings.nprocs, settings.omp_nthreads, settings.memory_mb) == (16, 8, 1000)
    assert not {"nprocs", "omp_nthreads", "memory_mb", "work_dir"} & set(settings.to_dict())
    assert make(nprocs=2).to_dict()["nprocs"] == 2
    assert make(nprocs=2).omp_nthreads == 2


def test_frozen_and_travels_to_workers():
    settings = make(**EVERYTHING)
    with pytest.raises(FrozenInstanceError):
        settings.nprocs = 1
    with pytest.raises(TypeError):
        settings.bids_filters["T2w"] = {}
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert replace(settings, target_site="GE").target_site == "GE"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"analysis_level": "cohort"}, "participant or train"),
        ({"modalities": ("bold",)}, "bold"),
        ({"output_spaces": ("MNI305",)}, "MNI152NLin2009aSym"),
        ({"device": "tpu"}, "cuda:N"),
        ({"device": "cuda:x"}, "cuda:N"),
        ({"device": "cpu:1"}, "cuda:N"),
        ({"batch_size": -1}, "batch_size"),
        ({"voxel_mm": -1.0}, "voxel_mm"),
        ({"nprocs": -1}, "nprocs"),
        ({"nprocs": 1, "omp_nthreads": 2}, "--omp-nthreads"),
        ({"keep_workdir": "maybe"}, "on-failure"),
    ],
)
def test_values_out_of_range(options, named):
    with pytest.raises(UsageError, match=named):
        make(**options)


@pytest.mark.parametrize(
    "options",
    [{"same_site_share": 1.5}, {"art_target": "mean"}, {"aan": "adain"}, {"recursion": "glow"},
     {"grid": 0}, {"accumulate": 0}, {"precision": "fp16"}, {"patience": -1}, {"epochs": -1},
     {"validate_every": 0}, {"identity_weight": -1.0}, {"slices_per_pair": 0},
     {"keep": 0.0}, {"keep": 1.1}, {"bank_size": 0}, {"lambda_art": -1.0}, {"encoder": "vgg"},
     {"encoder": "random"}, {"train_minutes": -1.0}],
)  # fmt: skip
def test_training_values_out_of_range(options):
    with pytest.raises(UsageError):
        TrainingSettings(**options)


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


def test_methods_for_one_target_site_are_not_trained_without_it(tmp_path):
    places = (tmp_path / "bids", tmp_path / "out", "train")
    with pytest.raises(UsageError, match="--target-site"):
        Settings(*places, method="cgan")
    assert Settings(*places, method="cgan", target_site="COI").method == "cgan"
    assert Settings(*places, method="histogram-n4").target_site is None


def test_modes_of_diffusion_are_those_of_the_core():
    from bids_harmony.diffusion.features import DEFAULT_DWI_MODE, DWI_MODES

    assert settings_module.DWI_MODES == DWI_MODES
    assert Settings(Path("b"), Path("o"), "participant").dwi_mode == DEFAULT_DWI_MODE
