"""What becomes of a run when a scan, its model or the run itself fails."""

from __future__ import annotations

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ExitCode, MissingInput, Terminated


def test_a_scan_that_failed_is_missing_in_the_raw_layout(participant, settings):
    bad = settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:2000])
    participant(output_layout="raw")
    raw = settings.output_dir / "derivatives/harmonizedB"
    images = sorted(p.name for p in raw.rglob("*.nii.gz"))
    assert images == ["sub-01_T2w.nii.gz", "sub-02_T1w.nii.gz"]


def test_a_run_that_is_stopped_tells_what_is_done(participant, settings, monkeypatch):
    from bids_harmony.interfaces.harmonization import Harmonize

    real = Harmonize._adapt

    def stopped(interface, folder):
        if "sub-02" in str(interface.inputs.in_file):
            raise Terminated
        return real(interface, folder)

    monkeypatch.setattr(Harmonize, "_adapt", stopped)
    with pytest.raises(Terminated):
        participant()
    status = json.loads((settings.output_dir / "logs/run/status.json").read_text())["scans"]
    assert {label: scan["state"] for label, scan in status.items()} == {
        "sub-01_T1w": "done", "sub-01_T2w": "done", "sub-02_T1w": "failed",
    }  # fmt: skip
    assert status["sub-02_T1w"]["exit_code"] == ExitCode.TRY_AGAIN
    assert "stopped" in status["sub-02_T1w"]["message"]


def test_one_bad_scan_stops_no_other(participant, settings):
    bad = settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:2000])
    code, scans = participant()
    assert code == ExitCode.INPUT_OUTPUT
    assert scans["sub-01_T1w"]["error"] == "InputOutputError"
    assert scans["sub-01_T1w"]["exit_code"] == ExitCode.INPUT_OUTPUT
    assert str(bad) in scans["sub-01_T1w"]["message"]
    # The T2w of the same person goes to the reference without it.
    assert scans["sub-01_T2w"]["state"] == scans["sub-02_T1w"]["state"] == "done"
    out = settings.output_dir / "sub-01/anat"
    assert (out / "sub-01_desc-harmonizedB_T2w.nii.gz").is_file()
    assert not list(out.glob("*harmonizedB_T1w*"))
    again = participant()[1]
    assert again["sub-01_T2w"]["state"] == "skipped" and again["sub-01_T1w"]["state"] == "failed"


def test_another_t1w_stands_in_for_one_that_fails(participant, settings):
    """What is wrong with run-1 shows when its voxels are read, after T2w and T1w were planned."""
    anat = settings.bids_dir / "sub-01/anat"
    for kind in ("nii.gz", "json"):
        shutil.copy(anat / f"sub-01_T1w.{kind}", anat / f"sub-01_run-1_T1w.{kind}")
        (anat / f"sub-01_T1w.{kind}").rename(anat / f"sub-01_run-2_T1w.{kind}")
    image = nib.load(anat / "sub-01_run-1_T1w.nii.gz")
    empty = nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine)
    nib.save(empty, anat / "sub-01_run-1_T1w.nii.gz")
    code, scans = participant(participant_labels=("01",))
    assert code == ExitCode.BAD_DATA
    assert {label: scan["state"] for label, scan in scans.items()} == {
        "sub-01_run-1_T1w": "failed", "sub-01_run-2_T1w": "done", "sub-01_T2w": "done",
    }  # fmt: skip
    out = settings.output_dir / "sub-01/anat"
    assert not list(out.glob("*run-1*"))
    # Just as if the bad one had never been there.
    for kind in ("nii.gz", "json"):
        (anat / f"sub-01_run-1_T1w.{kind}").unlink()
    code, scans = participant(participant_labels=("01",))
    assert code == ExitCode.DONE
    assert scans["sub-01_run-2_T1w"]["state"] == scans["sub-01_T2w"]["state"] == "skipped"


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_refused_scan_leaves_neither_image_nor_mask(participant, settings, monkeypatch, number):
    from bids_harmony.quality import changes

    for path in settings.output_dir.rglob("sub-02_*"):
        path.unlink()
    real = changes.quality_row
    monkeypatch.setattr(
        changes, "quality_row", lambda *a, **k: real(*a, **k) | {"mean_change": float(number)}
    )
    code, scans = participant(participant_labels=("02",))
    assert code == ExitCode.BAD_DATA
    assert "a finite quality.mean_change" in scans["sub-02_T1w"]["message"]
    assert not [path for path in (settings.output_dir / "sub-02").rglob("*") if path.is_file()]


def test_failures_of_two_kinds_make_the_unspecified_code(participant, settings):
    truncated = settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    zero = settings.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz"
    image = nib.load(zero)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine), zero)
    code, scans = participant()
    assert code == ExitCode.UNSPECIFIED
    assert scans["sub-02_T1w"]["exit_code"] == ExitCode.BAD_DATA


def test_an_unknown_target_is_told_for_each_scan(participant):
    code, scans = participant(target_site="C")
    assert code == ExitCode.BAD_DATA
    assert "A, B" in scans["sub-01_T1w"]["message"]


def test_no_model(participant, tmp_path):
    with pytest.raises(MissingInput, match="train"):
        participant(model_dir=tmp_path / "nowhere")


def test_secrets_of_the_environment_reach_no_file(participant, settings, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "open-sesame-4711")
    bad = settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:2000])
    participant()
    for path in (*settings.output_dir.rglob("*"), *settings.work_dir.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if content[:2] == b"\x1f\x8b" and path.suffix == ".pklz":
                content = gzip.decompress(content)
            assert b"open-sesame" not in content, path
    assert list((settings.output_dir / "logs/run").glob("crash-*.txt"))


@pytest.mark.parametrize("keep", ["always", "on-failure", "never"])
def test_work_folders_are_kept_as_asked(participant, settings, keep):
    bad = settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:2000])
    participant(keep_workdir=keep, modalities=("T1w",))
    kept = {p.name for p in (settings.work_dir / "participant_wf").glob("sub_*_wf")}
    assert ("sub_01_T1w_wf" in kept) == (keep != "never")
    assert ("sub_02_T1w_wf" in kept) == (keep == "always")
