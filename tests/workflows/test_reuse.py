"""A run that takes masks, transforms and tissue maps of another pipeline."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ExitCode
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_tissues
from bids_harmony.imaging.transforms import read_transform, write_transform
from bids_harmony.quality.summary import load_summary

ASYM = "MNI152NLin2009cAsym"
XFM = "sub-01/anat/sub-01_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm"


@pytest.fixture
def fmriprep(settings):
    """Its T1w space is 6 mm from the scanner's; the scan of sub-01 is the template's own brain."""
    folder = settings.bids_dir.parent / "fmriprep"
    anat = folder / "sub-01/anat"
    anat.mkdir(parents=True)
    shift = np.eye(4)
    shift[:3, 3] = (6, -2, 4)
    write_transform(shift, anat / "sub-01_from-orig_to-T1w_mode-image_xfm.txt")
    # Where the scan's voxels really are is known: the way on undoes the shift, and a bit more.
    write_transform(
        np.diag([1.01, 0.99, 1.0, 1.0]) @ np.linalg.inv(shift),
        anat / f"sub-01_from-T1w_to-{ASYM}_mode-image_xfm.txt",
    )
    grid = reference_grid(5.0)
    affine = shift @ grid.affine
    mask = reference_mask(grid).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, affine), anat / "sub-01_desc-brain_mask.nii.gz")
    for tissue, data in zip(("GM", "WM", "CSF"), reference_tissues(grid), strict=True):
        nib.save(nib.Nifti1Image(data, affine), anat / f"sub-01_label-{tissue}_probseg.nii.gz")
    return folder


def run(participant, settings, **changes):
    """From nothing: what the fixture left of a fit is taken away."""
    for path in settings.output_dir.glob("sub-*/anat/*"):
        path.unlink()
    return participant(**changes)


def test_what_is_there_is_taken(participant, settings, fmriprep, caplog):
    caplog.set_level("INFO", logger="bids_harmony")
    code, _ = run(participant, settings, derivatives={"fmriprep": fmriprep}, copy_derivatives=True)
    assert code == ExitCode.DONE
    assert "sub-01_T1w: reused: mask from fmriprep: sub-01/anat/" in caplog.text
    out = settings.output_dir
    world = read_transform(out / f"{XFM}.txt")
    np.testing.assert_allclose(world, np.diag([1.01, 0.99, 1.0, 1.0]), atol=1e-3)
    told = json.loads((out / f"{XFM}.json").read_text())
    assert told["TransformFrom"] == (
        f"fmriprep: sub-01/anat/sub-01_from-T1w_to-{ASYM}_mode-image_xfm.txt"
    )
    assert told["RegistrationSimilarity"] > 0.9
    mask = nib.load(out / "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    source = nib.load(settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz")
    np.testing.assert_array_equal(mask.affine, source.affine)
    # The given mask lies 6 mm away; on the scan it must lie on the brain.
    brain = source.get_fdata() > 0
    inside = mask.get_fdata() > 0
    assert 2 * (brain & inside).sum() / (brain.sum() + inside.sum()) > 0.95
    told = json.loads((out / "sub-01/anat/sub-01_desc-brain_mask.json").read_text())
    assert told["MaskFrom"] == "fmriprep: sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    for name in (f"from-T1w_to-{ASYM}_mode-image_xfm.txt", "label-GM_probseg.nii.gz"):
        copy = out / f"sub-01/anat/sub-01_{name}"
        assert copy.read_bytes() == (fmriprep / f"sub-01/anat/sub-01_{name}").read_bytes()
    # Nobody else has anything to reuse.
    other = json.loads((out / XFM.replace("sub-01", "sub-02")).with_suffix(".json").read_text())
    assert "TransformFrom" not in other


def test_tissue_maps_count_in_the_numbers(participant, settings, fmriprep):
    summary = settings.output_dir / "sub-01/summaries/sub-01_desc-harmonizedB_T1w.npz"
    anat = fmriprep / "sub-01/anat"
    run(participant, settings, derivatives={"fmriprep": fmriprep})
    first = load_summary(summary).quantiles
    # Grey and white matter exchanged: so must the numbers be.
    grey, white, spare = (anat / f"sub-01_label-{x}_probseg.nii.gz" for x in ("GM", "WM", "x"))
    grey.rename(spare)
    white.rename(grey)
    spare.rename(white)
    run(participant, settings, derivatives={"fmriprep": fmriprep})
    second = load_summary(summary).quantiles
    assert abs(first[0, 1, 50] - first[0, 2, 50]) > 0.05
    np.testing.assert_allclose(second[:, 1], first[:, 2], rtol=0.02)
    np.testing.assert_allclose(second[:, 2], first[:, 1], rtol=0.02)


def test_a_transform_that_cannot_be_right_is_not_believed(participant, settings, fmriprep, caplog):
    wrong = np.eye(4)
    wrong[:3, 3] = (60, 40, 0)
    xfm = fmriprep / f"sub-01/anat/sub-01_from-T1w_to-{ASYM}_mode-image_xfm.txt"
    write_transform(wrong, xfm)
    code, _ = run(participant, settings, derivatives={"fmriprep": fmriprep})
    assert code == ExitCode.DONE
    told = json.loads((settings.output_dir / f"{XFM}.json").read_text())
    assert "TransformFrom" not in told and told["RegistrationSimilarity"] > 0.9


def test_a_damaged_transform_fails_this_scan_alone(participant, settings, fmriprep):
    xfm = fmriprep / f"sub-01/anat/sub-01_from-T1w_to-{ASYM}_mode-image_xfm.txt"
    xfm.write_text("no transform")
    code, scans = run(participant, settings, derivatives={"fmriprep": fmriprep})
    assert scans["sub-01_T1w"]["state"] == "failed"
    assert xfm.name in scans["sub-01_T1w"]["message"]
    assert scans["sub-02_T1w"]["state"] == "done" and code == ExitCode.BAD_DATA


def test_images_on_a_template_go_through_the_given_transform(
    participant, settings, fmriprep, tmp_path
):
    home = tmp_path / "templates"
    home.mkdir()
    grid = reference_grid(5.0)
    affine = np.diag([1.01, 0.99, 1.0, 1.0]) @ grid.affine
    template = home / f"tpl-{ASYM}_res-01_T1w.nii.gz"
    brain = np.asarray(nib.load(settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz").dataobj)
    nib.save(nib.Nifti1Image(brain.astype(np.float32), affine), template)
    run(
        participant, settings, derivatives={"fmriprep": fmriprep}, output_spaces=(ASYM,),
        template_dir=home,
    )  # fmt: skip
    anat = settings.output_dir / "sub-01/anat"
    there = nib.load(anat / f"sub-01_space-{ASYM}_desc-harmonizedB_T1w.nii.gz").get_fdata()
    own = nib.load(anat / "sub-01_desc-harmonizedB_T1w.nii.gz").get_fdata()
    # The given way leads each voxel of the scan to the voxel of the same index.
    inside = own > 50
    assert np.abs(there - own)[inside].mean() < 0.02 * own[inside].mean()
    for kind in ("T1w", "T2w"):
        sidecar = anat / f"sub-01_space-{ASYM}_desc-harmonizedB_{kind}.json"
        assert json.loads(sidecar.read_text())["TransformFrom"].startswith("fmriprep: ")
