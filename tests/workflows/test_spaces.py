"""Harmonized scans in other spaces than their own."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ExitCode, MissingInput
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_t1w
from bids_harmony.workflows.spaces import templates_of

NAME = "MNI152NLin6Asym"
OUT = "sub-01/anat/sub-01"


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """The reference in the place of a template, moved by 4 mm to the front."""
    folder = tmp_path_factory.mktemp("templates") / f"tpl-{NAME}"
    folder.mkdir()
    grid = reference_grid(4.0)
    affine = np.array(grid.affine)
    affine[1, 3] += 4
    for ending, data in (("T1w", reference_t1w(grid)), ("desc-brain_mask", reference_mask(grid))):
        image = nib.Nifti1Image((100 * data).astype(np.float32), affine)
        nib.save(image, folder / f"tpl-{NAME}_res-02_{ending}.nii.gz")
    return folder.parent


def test_template_and_t1w(participant, settings, templates):
    spaces = ("native", "T1w", f"{NAME}:res-2")
    code, scans = participant(output_spaces=spaces, template_dir=templates)
    assert code == ExitCode.DONE and {s["state"] for s in scans.values()} == {"done"}
    out = settings.output_dir
    there = nib.load(out / f"{OUT}_space-{NAME}_res-2_desc-harmonizedB_T1w.nii.gz")
    like = nib.load(templates / f"tpl-{NAME}/tpl-{NAME}_res-02_T1w.nii.gz")
    np.testing.assert_array_equal(there.affine, like.affine)
    assert there.shape == like.shape and there.get_data_dtype() == np.float32
    # The scan is the template's own brain: it must lie where the template has it.
    brain = like.get_fdata() > 20
    assert np.corrcoef(there.get_fdata()[brain], like.get_fdata()[brain])[0, 1] > 0.9
    told = json.loads((out / f"{OUT}_space-{NAME}_res-2_desc-harmonizedB_T1w.json").read_text())
    assert told["SpatialReference"] == NAME and "res-2" in told["Resolution"]
    assert told["HarmonizationTarget"] == "B"

    t1w = nib.load(settings.bids_dir / f"{OUT}_T1w.nii.gz")
    t2w = nib.load(out / f"{OUT}_space-T1w_desc-harmonizedB_T2w.nii.gz")
    np.testing.assert_array_equal(t2w.affine, t1w.affine)
    inside = t1w.get_fdata() > 100
    assert np.corrcoef(t2w.get_fdata()[inside], t1w.get_fdata()[inside])[0, 1] < -0.5
    told = json.loads((out / f"{OUT}_space-T1w_desc-harmonizedB_T2w.json").read_text())
    assert told["SpatialReference"] == "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"
    # A T1w is in that space as it is.
    assert not (out / f"{OUT}_space-T1w_desc-harmonizedB_T1w.nii.gz").exists()


def test_images_of_their_own_are_as_without_spaces(participant, settings, templates, finished):
    participant(output_spaces=("native", NAME + ":res-2"), template_dir=templates)
    for name in (
        "sub-01/anat/sub-01_desc-harmonizedB_T1w",
        "sub-01/anat/sub-01_desc-harmonizedB_T2w",
    ):
        ours, theirs = (
            nib.load(folder / f"{name}.nii.gz").get_fdata()
            for folder in (settings.output_dir, finished[0].output_dir)
        )
        np.testing.assert_array_equal(ours, theirs)


def test_without_a_t1w_it_is_said(participant, settings, caplog):
    (settings.bids_dir / f"{OUT}_T1w.nii.gz").unlink()
    code, _ = participant(output_spaces=("native", "T1w"))
    assert code == ExitCode.DONE
    assert "sub-01_T2w: not written in the space of the T1w" in caplog.text


def test_a_template_that_is_not_there_is_said_before(settings, tmp_path):
    from dataclasses import replace

    asked = replace(settings, output_spaces=(NAME,), template_dir=tmp_path)
    with pytest.raises(MissingInput, match="TEMPLATEFLOW_HOME"):
        templates_of(asked)
