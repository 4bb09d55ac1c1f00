"""Sessions of one person in one space: what is shared, and what one session costs the others."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ExitCode
from bids_harmony.imaging.transforms import read_transform
from bids_harmony.imaging.volume import read_volume
from tests.small_volumes import rigid

SHARED = "sub-03/anat/sub-03_space-MNI152NLin2009aSym_desc-brain_mask"
MOVES = {"pre": rigid((4, -3, 2), (5, -4, 6)), "post": rigid((-3, 2, 0), (-4, 3, -2))}
SITES = {"pre": "A", "post": "B"}


def add_scan(bids, brain, session, modality, *, masks=None):
    data, affine = brain
    anat = bids / f"sub-03/ses-{session}/anat"
    anat.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(session + modality))
    contrast = data if modality == "T1w" else np.where(data > 0, 500 - data, 0)
    voxels = np.where(data > 0, contrast + rng.normal(0, 5, data.shape), 0).clip(0)
    moved = np.linalg.inv(MOVES[session]) @ affine
    stem = f"sub-03_ses-{session}"
    nib.save(nib.Nifti1Image(voxels.astype(np.int16), moved), anat / f"{stem}_{modality}.nii.gz")
    sidecar = {"InstitutionName": SITES[session], "Manufacturer": "Siemens"}
    (anat / f"{stem}_{modality}.json").write_text(json.dumps(sidecar))
    if masks is not None:
        given = masks / f"sub-03/ses-{session}/anat/{stem}_desc-brain_mask.nii.gz"
        given.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image((data > 0).astype(np.uint8), moved), given)


@pytest.fixture
def study(settings, brain):
    """A person scanned before and after an upgrade; the masks are given, those of a pipeline."""
    masks = settings.bids_dir.parent / "masks"
    for session in MOVES:
        add_scan(settings.bids_dir, brain, session, "T1w", masks=masks)
    add_scan(settings.bids_dir, brain, "post", "FLAIR")
    return replace(settings, longitudinal=True, derivatives={"masks": masks})


@pytest.fixture
def run(study, participant):
    def harmonize(**changes):
        words = {"longitudinal": True, "derivatives": study.derivatives}
        return participant(**words | {"participant_labels": ("03",)} | changes)

    return harmonize


def world(out, session, modality="T1w"):
    stem = f"sub-03_ses-{session}_from-{modality}_to-MNI152NLin2009aSym_mode-image_xfm.txt"
    return read_transform(out / f"sub-03/ses-{session}/anat/{stem}")


def mask(out, session, kind="brain"):
    return read_volume(
        out / f"sub-03/ses-{session}/anat/sub-03_ses-{session}_desc-{kind}_mask.nii.gz"
    )


def test_sessions_share_space_and_mask_and_each_has_its_site(run, study):
    code, scans = run()
    out = study.output_dir
    assert code == ExitCode.DONE and {s["state"] for s in scans.values()} == {"done"}
    step = np.linalg.inv(world(out, "post")) @ world(out, "pre")
    np.testing.assert_allclose(step[:3, :3] @ step[:3, :3].T, np.eye(3), atol=1e-6)
    true = np.linalg.inv(MOVES["post"]) @ MOVES["pre"]
    np.testing.assert_allclose(step, true, atol=1.0)
    told = json.loads((out / f"{SHARED}.json").read_text())
    assert told["Sources"] == [
        f"bids:raw:sub-03/ses-{s}/anat/sub-03_ses-{s}_T1w.nii.gz" for s in ("post", "pre")
    ]
    shared = read_volume(out / f"{SHARED}.nii.gz")
    for session in MOVES:
        own = mask(out, session)
        # Every voxel of a session's mask is that of the one mask, where it lies.
        centres = np.argwhere(own.data > 0) @ own.affine[:3, :3].T + own.affine[:3, 3]
        place = world(out, session)
        there = (
            np.linalg.inv(shared.affine)
            @ np.c_[centres @ place[:3, :3].T + place[:3, 3], np.ones(len(centres))].T
        )
        inside = shared.data[tuple(np.rint(there[:3]).astype(int))] > 0
        assert inside.mean() > 0.97
        stem = f"sub-03/ses-{session}/anat/sub-03_ses-{session}"
        assert json.loads((out / f"{stem}_desc-brain_mask.json").read_text())["MaskKind"] == (
            "person"
        )
        sidecar = json.loads((out / f"{stem}_desc-harmonizedB_T1w.json").read_text())
        assert sidecar["HarmonizationSource"]["Site"] == SITES[session]
        xfm = f"{stem}_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.json"
        [other] = json.loads((out / xfm).read_text())["SharesSpaceWith"]
        assert other in told["Sources"] and f"ses-{session}" not in other
    # The other contrast goes through its session's T1w.
    np.testing.assert_allclose(world(out, "post", "FLAIR"), world(out, "post"), atol=1.0)


def test_a_session_alone_gives_the_same_bits_as_all_at_once(run, study, digests, tmp_path):
    run()
    first = digests(study.output_dir)
    other = tmp_path / "other"
    for session in ("post", "pre"):
        code, _ = run(output_dir=other, session_labels=(session,), work_dir=tmp_path / session)
        assert code == ExitCode.DONE
    again = digests(other)
    assert again.keys() == {name for name in first if name.startswith("sub-03")}
    assert all(first[name] == digest for name, digest in again.items())
    # And all is there already.
    _, scans = run()
    assert {s["state"] for s in scans.values()} == {"skipped"}


def test_a_person_of_one_session_is_as_without(run, study, digests, tmp_path):
    words = {"participant_labels": ("01", "02")}
    run(**words, output_dir=tmp_path / "with", work_dir=tmp_path / "w1")
    run(**words, output_dir=tmp_path / "without", work_dir=tmp_path / "w2", longitudinal=False)
    assert digests(tmp_path / "with") == digests(tmp_path / "without")
    assert not list((tmp_path / "with").glob("sub-*/anat/*_space-*mask*"))


def test_a_session_that_cannot_be_read_costs_no_other(run, study):
    bad = study.bids_dir / "sub-03/ses-pre/anat/sub-03_ses-pre_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:3000])
    code, scans = run()
    assert code == ExitCode.INPUT_OUTPUT
    assert scans["sub-03_ses-pre_T1w"]["state"] == "failed"
    assert "sub-03_ses-pre_T1w" in scans["sub-03_ses-pre_T1w"]["message"]
    assert scans["sub-03_ses-post_T1w"]["state"] == scans["sub-03_ses-post_FLAIR"]["state"]
    assert scans["sub-03_ses-post_T1w"]["state"] == "done"
    # Whoever is left alone has a mask of its own.
    assert not (study.output_dir / f"{SHARED}.nii.gz").exists()
    told = study.output_dir / "sub-03/ses-post/anat/sub-03_ses-post_desc-brain_mask.json"
    assert json.loads(told.read_text())["MaskKind"] == "given"


def test_a_person_whose_mean_cannot_be_registered_stops_nobody_else(run, study):
    for path in study.derivatives["masks"].rglob("*_mask.nii.gz"):
        given = nib.load(path)
        data = np.zeros(given.shape, np.uint8)
        data[15:18, 15:18, 5:30] = 1
        nib.save(nib.Nifti1Image(data, given.affine), path)
    code, scans = run(participant_labels=("01", "03"), modalities=("T1w",))
    assert code == ExitCode.BAD_DATA and scans["sub-01_T1w"]["state"] == "done"
    for session in MOVES:
        failed = scans[f"sub-03_ses-{session}_T1w"]
        assert failed["state"] == "failed" and failed["exit_code"] == ExitCode.BAD_DATA
        assert "brain" in failed["message"]
    assert not list(study.output_dir.glob("sub-03/**/*.nii.gz"))


def test_a_further_session_is_a_new_space(run, study, brain):
    run()
    before = world(study.output_dir, "post")
    MOVES["late"], SITES["late"] = rigid((0, 0, 9), (0, 8, 0)), "B"
    try:
        add_scan(study.bids_dir, brain, "late", "T1w", masks=study.derivatives["masks"])
    finally:
        del MOVES["late"], SITES["late"]
    _, scans = run()
    assert {s["state"] for s in scans.values()} == {"done"}
    assert not np.array_equal(world(study.output_dir, "post"), before)


def test_flair_sessions_alone_share_a_space(run, study, brain):
    for session in MOVES:
        shutil.rmtree(study.bids_dir / f"sub-03/ses-{session}")
        add_scan(study.bids_dir, brain, session, "FLAIR")
    code, scans = run(derivatives={})
    assert code == ExitCode.DONE and len(scans) == 2
    step = np.linalg.inv(world(study.output_dir, "post", "FLAIR")) @ world(
        study.output_dir, "pre", "FLAIR"
    )
    np.testing.assert_allclose(step[:3, :3] @ step[:3, :3].T, np.eye(3), atol=1e-6)


def test_transforms_of_others_are_not_used_and_this_is_said(run, study, caplog):
    caplog.set_level("INFO", logger="bids_harmony")
    from bids_harmony.imaging.transforms import write_transform

    for session in MOVES:
        anat = study.derivatives["masks"] / f"sub-03/ses-{session}/anat"
        name = f"sub-03_ses-{session}_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.txt"
        write_transform(MOVES[session], anat / name)
    run(copy_derivatives=True)
    assert not list(study.output_dir.rglob("*2009cAsym*"))
    assert "the transform of masks is not used: with --longitudinal" in caplog.text
    stem = "sub-03/ses-pre/anat/sub-03_ses-pre_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm"
    assert "TransformFrom" not in json.loads((study.output_dir / f"{stem}.json").read_text())
