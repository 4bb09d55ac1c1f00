"""Settings of a run: ranges, what this machine chooses, the way to workers and back from TOML."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from bids_harmony import resources
from bids_harmony import settings as settings_module
from bids_harmony.exceptions import UsageError
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


def test_no_more_threads_than_processors():
    assert make(nprocs=2, omp_nthreads=4).omp_nthreads == 2


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
        ({"bank_scans": 0}, "bank_scans"),
        ({"b0_threshold": -1.0}, "b0_threshold"),
        ({"memory_mb": -1}, "memory_mb"),
        ({"memory_mb": 255}, "--mem 255G"),
        ({"bids_filters": {"bold": {}}}, "bold"),
        ({"dwi_fits": ("noddi",)}, "beside the tensor"),
        ({"dwi_fits": ("force", "noddi")}, "beside the tensor"),
        ({"dwi_fits": ("tensor", "dki")}, "dki"),
        ({"dwi_mode": ()}, "rish or attenuation"),
        ({"debug": "maybe"}, "no or yes or pdb"),
        ({"keep_workdir": "maybe"}, "on-failure"),
    ],
)
def test_values_out_of_range(options, named):
    with pytest.raises(UsageError, match=named):
        make(**options)


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


def test_zero_asks_for_what_this_machine_has_and_nothing_else_is_replaced():
    assert make(batch_size=0, random_seed=0).batch_size == 0
    assert make(nprocs=0).nprocs == resources.available_cpus()


def test_settings_are_light():
    """They are imported wherever a run is spoken of, and by `--help`."""
    code = "import sys, bids_harmony.settings; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "torch", "nibabel", "nipype", "bids", "argparse", "tomli_w"}
    assert not heavy & set(run.stdout.split())
