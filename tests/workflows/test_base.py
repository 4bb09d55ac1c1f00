"""The participant level on a small dataset, with a harmonizer that only multiplies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ExitCode

T1W = "sub-01/anat/sub-01_desc-harmonizedB_T1w"


def test_participant_end_to_end(finished):
    settings, code, scans = finished
    assert code == ExitCode.DONE
    assert {label: s["state"] for label, s in scans.items()} == {
        "sub-01_T1w": "done",
        "sub-01_T2w": "done",
        "sub-02_T1w": "done",
    }
    nodes = {"mask_brain", "register", "harmonize", "draw_change", "summarize", "write_harmonized"}
    assert nodes <= set(scans["sub-01_T1w"]["seconds"])
    out = settings.output_dir
    source = nib.load(settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz")
    result = nib.load(out / f"{T1W}.nii.gz")
    assert result.shape == source.shape
    assert result.get_data_dtype() == np.int16
    np.testing.assert_array_equal(result.affine, source.affine)
    brain = source.get_fdata() > 150
    # The image was multiplied and keeps the scan's own scale.
    ratio = result.get_fdata()[brain] / source.get_fdata()[brain]
    np.testing.assert_allclose(np.median(ratio), 1.1, rtol=0.02)

    # Own site: bit for bit.
    own = nib.load(out / "sub-02/anat/sub-02_desc-harmonizedB_T1w.nii.gz")
    before = nib.load(settings.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(own.dataobj), np.asanyarray(before.dataobj))

    for name in (
        f"{T1W}.json",
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_desc-brainT2w_mask.nii.gz",
        "sub-01/anat/sub-01_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.txt",
        "sub-01/anat/sub-01_from-T2w_to-MNI152NLin2009aSym_mode-image_xfm.txt",
        "sub-01/figures/sub-01_desc-harmonizedB_T1w.png",
        "sub-01/summaries/sub-01_desc-harmonizedB_T1w.npz",
        "sub-01/summaries/sub-01_desc-harmonizedB_T2w.npz",
        "sub-01/sub-01_scans.tsv",
    ):
        assert (out / name).is_file(), name
    sidecar = json.loads((out / f"{T1W}.json").read_text())
    assert sidecar["ModelSHA256"] == "0" * 64
    assert sidecar["HarmonizationSource"]["Site"] == "A"
    assert sidecar["HarmonizationQuality"]["same_site"] is False
    table = (out / "sub-01/sub-01_scans.tsv").read_text()
    assert "anat/sub-01_desc-harmonizedB_T2w.nii.gz" in table


def test_the_derivative_is_valid_bids(finished):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    command = [str(validator), "--format", "json", str(finished[0].output_dir)]
    run = subprocess.run(command, capture_output=True, text=True)
    issues = json.loads(run.stdout)["issues"]["issues"]
    assert [i for i in issues if i["severity"] == "error"] == []


def test_summaries_say_what_was_done_to_each_scan(finished):
    from bids_harmony.quality.summary import load_summary

    out = finished[0].output_dir
    for name, gain in (("sub-01_desc-harmonizedB_T1w", 1.1), ("sub-02_desc-harmonizedB_T1w", 1)):
        summary = load_summary(out / name[:6] / "summaries" / f"{name}.npz")
        before, after = summary.quantiles[:, 0]
        np.testing.assert_allclose(after[1:], gain * before[1:], rtol=2e-3)
        assert (np.abs(summary.change).max() > 0) == (gain != 1)
        source = nib.load(finished[0].bids_dir / name[:6] / f"anat/{name[:6]}_T1w.nii.gz")
        stored = source.get_fdata()
        # Row "raw", its median: the scan's own unit, on a coarser grid.
        assert summary.features[0, 10] == pytest.approx(np.median(stored[stored > 0]), rel=0.1)


def test_finished_scans_are_skipped_also_with_an_empty_work_folder(
    participant, settings, finished, caplog
):
    shutil.copytree(finished[0].output_dir, settings.output_dir, dirs_exist_ok=True)
    # As an earlier version left it: without summaries a scan is finished, too.
    shutil.rmtree(settings.output_dir / "sub-01/summaries")
    before = {p: p.stat().st_mtime_ns for p in settings.output_dir.rglob("*.nii.gz")}
    caplog.set_level("INFO", logger="bids_harmony")
    code, scans = participant()
    assert code == ExitCode.DONE
    assert {s["state"] for s in scans.values()} == {"skipped"}
    assert "skipping" in caplog.text
    assert {p: p.stat().st_mtime_ns for p in before} == before

    # Other settings: harmonized again, from the mask and transform that are there.
    caplog.clear()
    code, scans = participant(skull_strip=True)
    assert {s["state"] for s in scans.values()} == {"done"}
    assert caplog.text.count("for the profile of its site, or by an earlier run") == len(scans)
    stages = {"harmonize", "draw_change", "summarize", "write_harmonized"}
    assert set(scans["sub-01_T2w"]["seconds"]) == stages
    assert len(list((settings.output_dir / "sub-01/summaries").iterdir())) == 2


def test_the_raw_layout_of_finished_scans_needs_no_harmonization(participant, settings, finished):
    shutil.copytree(finished[0].output_dir, settings.output_dir, dirs_exist_ok=True)
    raw = settings.output_dir / "derivatives/harmonizedB"
    code, scans = participant(output_layout="raw")
    assert code == ExitCode.DONE
    assert {s["state"] for s in scans.values()} == {"skipped"}
    images = sorted(p.name for p in raw.rglob("*.nii.gz"))
    assert images == ["sub-01_T1w.nii.gz", "sub-01_T2w.nii.gz", "sub-02_T1w.nii.gz"]
    made = settings.output_dir / f"{T1W}.nii.gz"
    assert (raw / "sub-01/anat/sub-01_T1w.nii.gz").read_bytes() == made.read_bytes()
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in raw.rglob("*")}
    participant(output_layout="raw")
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in raw.rglob("*")} == before

    # What is harmonized anew is taken over.
    _, scans = participant(output_layout="raw", method="histogram")
    assert {s["state"] for s in scans.values()} == {"done"}
    sidecar = json.loads((raw / "sub-01/anat/sub-01_T1w.json").read_text())
    assert sidecar["HarmonizationMethod"] == "histogram" and sidecar["SkullStripped"] is True


def test_without_the_option_there_is_no_raw_layout(finished):
    assert not (finished[0].output_dir / "derivatives").exists()


def test_a_lost_output_is_written_again_from_the_work_folder(participant, settings):
    participant()
    image = settings.output_dir / f"{T1W}.nii.gz"
    before = image.read_bytes()
    image.unlink()
    code, scans = participant()
    assert code == ExitCode.DONE
    assert scans["sub-01_T1w"]["state"] == "done"
    assert scans["sub-02_T1w"]["state"] == "skipped"
    assert image.read_bytes() == before


@pytest.mark.parametrize("ending", ["mask.nii.gz", "mask.json", "xfm.txt"])
def test_a_lost_mask_or_transform_comes_back(participant, settings, ending, digests):
    """The step that writes them may have failed when the image was written."""
    participant()
    before = digests(settings.output_dir)
    (lost,) = (settings.output_dir / "sub-02").rglob(f"*_{ending}")
    lost.unlink()
    code, scans = participant()
    assert code == ExitCode.DONE and lost.is_file()
    assert {label: scan["state"] for label, scan in scans.items()} == {
        "sub-01_T1w": "skipped", "sub-01_T2w": "skipped", "sub-02_T1w": "done",
    }  # fmt: skip
    assert digests(settings.output_dir) == before


def test_t2w_without_t1w_takes_the_template(participant, settings):
    (settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz").unlink()
    code, scans = participant(participant_labels=("01",))
    assert code == ExitCode.DONE
    assert set(scans) == {"sub-01_T2w"}
    mask = nib.load(settings.output_dir / "sub-01/anat/sub-01_desc-brainT2w_mask.nii.gz")
    source = nib.load(settings.bids_dir / "sub-01/anat/sub-01_T2w.nii.gz").get_fdata() > 0
    overlap = 2 * np.sum(source & (mask.get_fdata() > 0)) / (source.sum() + mask.get_fdata().sum())
    assert overlap > 0.95


def test_a_given_mask_is_used(participant, settings, tmp_path):
    source = nib.load(settings.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz")
    mask = source.get_fdata() > 0
    mask[: mask.shape[0] // 2] = False
    given = tmp_path / "fmriprep/sub-02/anat/sub-02_desc-brain_mask.nii.gz"
    given.parent.mkdir(parents=True)
    # Another voxel order, same world: as pipelines that reorient write it.
    flipped = nib.Nifti1Image(mask.astype(np.uint8), source.affine).as_reoriented(
        np.array([[0, -1], [1, 1], [2, 1]])
    )
    nib.save(flipped, given)
    derivatives = {"fmriprep": tmp_path / "fmriprep"}
    code, _ = participant(participant_labels=("02",), derivatives=derivatives)
    # Half a brain does not register: the mask was taken at its word.
    written = settings.output_dir / "sub-02/anat/sub-02_desc-brain_mask.nii.gz"
    if code == ExitCode.DONE:
        np.testing.assert_array_equal(nib.load(written).get_fdata() > 0, mask)
    else:
        assert code == ExitCode.BAD_DATA


def test_bytes_do_not_depend_on_the_number_of_processes(finished, tmp_path, digests):
    settings = finished[0]
    out, work = tmp_path / "out", tmp_path / "work"
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import pretend
pretend.install()
from pathlib import Path
from dataclasses import replace
from bids_harmony.bids.dataset import find_scans
from bids_harmony.settings import Settings
from bids_harmony.workflows.base import run_participant
import bids_harmony.workflows.plugin as plugin
plugin.START_METHOD = "fork"  # workers must know the pretended harmonizer
s = Settings(Path({str(settings.bids_dir)!r}), Path({str(out)!r}), "participant",
             target_site="B", model_dir=Path({str(settings.model_dir)!r}),
             sloppy=True, device="cpu",
             work_dir=Path({str(work)!r}), nprocs=2, omp_nthreads=1, memory_mb=8000)
sys.exit(run_participant(s, find_scans(s).scans, log_dir=s.output_dir / "logs" / "run"))
"""
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    first, second = digests(settings.output_dir), digests(out)
    assert len(first) == 9
    assert first == second
