"""``--dry-run``: the plan on the terminal, and nothing written."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest


def test_templates_that_are_not_there_stop_before_anything_is_written(call, workflow, tmp_path):
    words = ("--output-spaces", "MNI152NLin2009cAsym", "--template-dir", str(tmp_path))
    for more in ((), ("--dry-run",)):
        code, _, told = call(*words, *more)
        assert code == 66 and "TEMPLATEFLOW_HOME" in told and not workflow.calls
    assert not list((tmp_path / "out").glob("sub-*"))


def test_the_plan_counts_what_is_reused(call, tmp_path):
    anat = tmp_path / "fmriprep/sub-01/anat"
    anat.mkdir(parents=True)
    for name in ("desc-brain_mask.nii.gz", "from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5"):
        (anat / f"sub-01_{name}").write_bytes(b"content")
    _, shown, _ = call("--dry-run", "-d", f"fmriprep={tmp_path / 'fmriprep'}")
    assert (
        "Reused of derivatives: brain masks of 1 scans, transforms of 1 scans, tissue maps of 0"
    ) in shown
    assert "has nothing for any" not in shown
    assert "Reused" not in call("--dry-run")[1]


@pytest.mark.parametrize("level", ["participant", "train"])
def test_a_folder_of_derivatives_with_nothing_to_reuse_is_told(
    call, cohort, workflow, tmp_path, level
):
    inner = tmp_path / "derivatives/fmriprep"
    (inner / "sub-09/anat").mkdir(parents=True)
    (inner / "sub-09/anat/sub-09_desc-brain_mask.nii.gz").write_bytes(b"content")
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, told in (
        (inner, "It has sub-09."),
        (inner.parent, f"Did you mean {inner}?"),
        (empty, "It has no folder of any person."),
    ):
        shown = call("--dry-run", "-d", f"x={folder}", level=level)[1]
        assert f"--derivatives x={folder} has nothing for any selected scan" in shown
        assert told in shown
    # A mask of the dataset itself is none of the folder's.
    (cohort.root / "sub-01/anat/sub-01_desc-brain_mask.nii.gz").write_bytes(b"content")
    assert "has nothing for any selected scan" in call("-d", f"x={empty}", level=level)[2]


def test_the_plan_says_whose_sessions_share_a_space(call, tmp_path):
    assert "share a space" not in call("--dry-run")[1]
    _, shown, _ = call("--dry-run", "--longitudinal")
    assert "Sessions that share a space: sub-03 (2 T1w)\n" in shown
    # A transform to a template serves one session alone.
    anat = tmp_path / "fmriprep/sub-03/anat"
    anat.mkdir(parents=True)
    (anat / "sub-03_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5").write_bytes(b"content")
    folder = ("-d", f"fmriprep={tmp_path / 'fmriprep'}")
    assert "transforms of 2 scans" in call("--dry-run", *folder)[1]
    assert "transforms of 0 scans" in call("--dry-run", "--longitudinal", *folder)[1]


def test_dry_run_shows_the_plan_and_writes_nothing(call, workflow, cohort, tmp_path):
    cohort.table("participants.tsv", "participant_id site", "sub-03 Osaka")
    (cohort.root / "sub-02/anat/sub-02_T2w.json").write_text("{,}")
    code, out, err = call("--dry-run")
    assert code == 65 and not workflow.calls
    assert not (tmp_path / "out").exists() and not (tmp_path / "w").exists()
    for told in ("sub-01_T1w", "InstitutionName", "COI (its own site)", "COI 2, Osaka 2",
                 "sub-01/anat/sub-01_desc-harmonizedCOI_T1w.nii.gz", "participants.tsv: site",
                 "sub-03_ses-COI_acq-mp_T1w: participants.tsv: site says 'Osaka'",
                 "sub-02_T2w: JSON with a syntax error"):  # fmt: skip
        assert told in out, told
    assert "successfully" not in err


def test_dry_run_without_problems(call, workflow):
    code, out, err = call("--dry-run")
    assert (
        code == 0
        and "nothing was written" in out
        and "successfully" in err.strip().splitlines()[-1]
    )
    assert call("--dry-run", level="train")[0] == 0


def test_raw_layout_is_in_the_plan_and_refused_for_a_derivative(call, workflow, cohort, tmp_path):
    words = ("--output-layout", "raw")
    out = call("--dry-run", *words)[1]
    assert str(tmp_path / "out/derivatives/harmonizedCOI") in out
    cohort.json("dataset_description.json", Name="x", BIDSVersion="1.9", DatasetType="derivative")
    code, _, err = call(*words)
    assert code == 64 and "--output-layout" in err and not workflow.calls


def test_a_plan_of_failures_of_several_kinds_counts_them_and_has_the_code_of_the_run(
    call, workflow, tmp_path
):
    bids = tmp_path / "bids"
    first, second = sorted(bids.glob("sub-*/anat/*_T1w.nii.gz"))[:2]
    first.write_bytes(first.read_bytes()[:100])
    code, shown, told = call("--dry-run")
    assert code == 74 and "1 of 5 scans cannot be harmonized: input/output error (code 74)" in told
    four = nib.Nifti1Image(np.ones((4, 4, 4, 3), np.int16), np.eye(4))
    nib.save(four, second)
    code, shown, told = call("--dry-run")
    labels = [path.name.removesuffix(".nii.gz") for path in (first, second)]
    assert code == 1 and "Cannot be used:" in shown
    assert (
        f"2 of 5 scans cannot be harmonized: bad data (code 65): {labels[1]}; "
        f"input/output error (code 74): {labels[0]}"
    ) in told
    assert told.rstrip().endswith("Exit code 1: errors of several kinds, or an unspecified one")
