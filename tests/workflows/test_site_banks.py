"""Sites that no model knows: banks made on the fly, kept, and made anew when images change."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.dataset import Scan, find_scans
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.site import SiteEvidence
from bids_harmony.exceptions import ExitCode, MissingInput, UsageError
from bids_harmony.workflows import site_banks
from bids_harmony.workflows.base import run_participant
from bids_harmony.workflows.site_banks import LookOf, reference_images, target_modalities

T1W = LookOf("B", "T1w")


@pytest.fixture
def zero_shot(settings):
    """Settings without a model of their own: the shipped one."""
    return replace(settings, model_dir=None, modalities=("T1w",), keep_workdir="never")


def run(settings):
    write_dataset_files(settings)
    log_dir = settings.output_dir / "logs" / "run"
    code = run_participant(settings, find_scans(settings).scans, log_dir=log_dir)
    return code, json.loads((log_dir / "status.json").read_text())["scans"]


def sidecar(settings, site="B"):
    path = settings.output_dir / f"sub-01/anat/sub-01_desc-harmonized{site}_T1w.json"
    return json.loads(path.read_text())


def shelf(settings):
    return sorted((settings.output_dir / "models" / "banks").glob("*.safetensors"))


def test_an_unknown_site_is_known_from_its_scans(zero_shot):
    code, states = run(zero_shot)
    assert code == ExitCode.DONE
    assert {label: s["state"] for label, s in states.items()} == {
        "sub-01_T1w": "done",
        "sub-02_T1w": "done",
    }
    record = sidecar(zero_shot)
    assert record["TargetSiteScans"] == ["sub-02_T1w"]
    assert record["SourceSiteScans"] == ["sub-01_T1w"]
    images = {
        subject: np.asarray(
            nib.load(
                zero_shot.output_dir
                / f"sub-{subject}/anat/sub-{subject}_desc-harmonizedB_T1w.nii.gz"
            ).dataobj
        )
        for subject in ("01", "02")
    }
    sources = {
        subject: np.asarray(
            nib.load(zero_shot.bids_dir / f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz").dataobj
        )
        for subject in ("01", "02")
    }
    assert not np.array_equal(images["01"], sources["01"])
    # The target's own scan needs nothing.
    assert np.array_equal(images["02"], sources["02"])


def test_the_second_job_asks_the_dataset_nothing(zero_shot, monkeypatch):
    run(zero_shot)
    before = {path: (os.stat(path).st_mtime_ns, path.read_bytes()) for path in shelf(zero_shot)}
    assert len(before) == 2

    def never(*args, **kwargs):
        raise AssertionError("banks were made again")

    monkeypatch.setattr(site_banks, "make_banks", never)
    code, states = run(zero_shot)
    assert code == ExitCode.DONE
    assert {s["state"] for s in states.values()} == {"skipped"}
    assert before == {p: (os.stat(p).st_mtime_ns, p.read_bytes()) for p in shelf(zero_shot)}


def test_a_changed_image_of_the_target_makes_its_bank_anew(zero_shot):
    run(zero_shot)
    first = sidecar(zero_shot)["SiteBanksSHA256"]
    path = zero_shot.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz"
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image((data * 0.5 + (data > 0) * 60).astype(np.int16), image.affine), path)
    _, states = run(replace(zero_shot, participant_labels=("01",)))
    assert states["sub-01_T1w"]["state"] == "done"
    assert sidecar(zero_shot)["SiteBanksSHA256"] != first


def test_a_target_image_takes_the_place_of_a_site(zero_shot, tmp_path):
    image = nib.load(zero_shot.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz")
    data = np.asarray(image.dataobj)
    given = tmp_path / "my look_T1w.nii.gz"
    nib.save(nib.Nifti1Image((data // 2).astype(np.int16), image.affine), given)
    asked = replace(zero_shot, target_site="mine", target_images=(given,))
    code, states = run(asked)
    assert code == ExitCode.DONE, states
    assert sidecar(asked, "mine")["TargetSiteScans"] == ["my look_T1w"]
    # Nothing of an image from outside the dataset is left in the derivative but its look.
    names = {p.name for p in asked.output_dir.rglob("*") if p.is_file()}
    assert not any("my" in name and not name.startswith("mine-") for name in names)


def test_no_scan_of_the_target_in_a_modality_is_said(zero_shot):
    code, states = run(replace(zero_shot, modalities=("T1w", "T2w")))
    assert code == ExitCode.BAD_DATA
    assert states["sub-01_T1w"]["state"] == "done"
    assert "--target-image" in states["sub-01_T2w"]["message"]


def scan(subject, session, site="B", modality="T1w"):
    from pathlib import Path

    path = Path(f"/data/sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}_T1w.nii.gz")
    entities = {"subject": subject, "session": session}
    return Scan(path, entities, modality, {}, SiteEvidence(site, "test"))


def test_different_people_stand_for_a_site_before_second_sessions(zero_shot):
    everyone = [
        scan("1", "a"),
        scan("1", "b"),
        scan("2", "a"),
        scan("3", "a", "C"),
        scan("4", "a"),
    ]
    everyone.append(scan("5", "a", modality="T2w"))
    chosen = reference_images(T1W, replace(zero_shot, bank_scans=3), everyone)
    assert [(s.subject, s.session) for s in chosen] == [("1", "a"), ("2", "a"), ("4", "a")]
    all_of_them = reference_images(T1W, zero_shot, everyone[::-1])
    assert [(s.subject, s.session) for s in all_of_them][3:] == [("1", "b")]


def test_target_images_must_tell_their_modality_and_exist(zero_shot, tmp_path):
    with pytest.raises(UsageError, match="modality"):
        target_modalities(replace(zero_shot, target_images=(tmp_path / "look.nii.gz",)))
    with pytest.raises(MissingInput, match="does not exist"):
        target_modalities(replace(zero_shot, target_images=(tmp_path / "look_T1w.nii.gz",)))
