"""The train level: what it hands to a method, and where the method's model lies."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.exceptions import DataError, ExitCode
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.workflows.base import run_train
from bids_harmony.workflows.models import model_folder, trained_folder


def test_train_prepares_scans_and_hands_them_over(settings, finished, monkeypatch, digests):
    seen = {}

    def fit_method(method, scans, settings, out_dir):
        for scan in scans:
            with np.load(scan.prepared) as prepared:
                seen[scan.label] = (scan.site, prepared["data"].shape, prepared["data"].dtype)
        seen["out_dir"], seen["method"] = out_dir, method
        out_dir.mkdir(parents=True)
        return {"version": "0"}

    room = types.ModuleType("bids_harmony.training.fit")
    room.fit_method = fit_method
    monkeypatch.setitem(sys.modules, "bids_harmony.training.fit", room)
    settings = replace(settings, analysis_level="train", target_site=None, keep_workdir="never")
    logs = settings.output_dir / "logs" / "run"
    assert run_train(settings, find_scans(settings).scans, log_dir=logs) == ExitCode.DONE
    shape = reference_grid(8.0).shape
    assert seen.pop("out_dir") == settings.output_dir / "models"
    assert seen.pop("method") == "ihf"
    assert seen == {
        "sub-01_T1w": ("A", shape, np.float16),
        "sub-01_T2w": ("A", shape, np.float16),
        "sub-02_T1w": ("B", shape, np.float16),
    }
    # What it fitted is what the participant level finds.
    fitted = {n: d for n, d in digests(finished[0].output_dir).items() if "harmonized" not in n}
    assert digests(settings.output_dir) == fitted
    assert not list((settings.work_dir / "train_wf").glob("sub_*"))


@pytest.mark.parametrize("readable", [True, False])
def test_training_on_too_little_names_the_scans_that_failed(settings, monkeypatch, readable):
    def fit_method(method, scans, settings, out_dir):
        raise DataError("Fewer than two sites")

    room = types.ModuleType("bids_harmony.training.fit")
    room.fit_method = fit_method
    monkeypatch.setitem(sys.modules, "bids_harmony.training.fit", room)
    settings = replace(settings, analysis_level="train", target_site=None, modalities=("T1w",))
    logs = settings.output_dir / "logs" / "run"
    if readable:
        with pytest.raises(DataError):
            run_train(settings, find_scans(settings).scans, log_dir=logs)
        return
    bad = settings.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:2000])
    assert run_train(settings, find_scans(settings).scans, log_dir=logs) == ExitCode.INPUT_OUTPUT


def test_every_method_has_a_folder_of_its_own(settings, tmp_path):
    models = tmp_path / "out" / "models"
    settings = replace(settings, output_dir=tmp_path / "out", model_dir=None)
    cgan = replace(settings, method="cgan")
    assert trained_folder(settings) == models and trained_folder(cgan) == models / "cgan"
    models.mkdir(parents=True)
    (models / "model.json").write_text("{}")
    # Profiles of the default serve methods that are not trained.
    assert model_folder(replace(settings, method="blur")) == models
    (models / "cgan").mkdir()
    (models / "cgan" / "model.json").write_text("{}")
    assert model_folder(cgan) == models / "cgan" and model_folder(settings) == models
    named = replace(cgan, model_dir=models)
    assert model_folder(named) == models
