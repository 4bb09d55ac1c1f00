"""Templates: where they are looked for, what is said where they are not, how scans get there."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import MissingInput, NotFetched
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_t1w
from bids_harmony.imaging.templates import (
    Template,
    find_template,
    onto,
    template_home,
    world_to_template,
)
from bids_harmony.imaging.volume import from_image

NAME = "MNI152NLin2009cAsym"


@pytest.fixture
def home(tmp_path) -> Path:
    """TemplateFlow's layout with files of no use."""
    folder = tmp_path / "templates" / f"tpl-{NAME}"
    folder.mkdir(parents=True)
    for ending in ("res-01_T1w", "res-02_T1w", "res-01_desc-brain_mask"):
        (folder / f"tpl-{NAME}_{ending}.nii.gz").write_bytes(b"x" * 2000)
    return folder.parent


def test_files_of_a_template(home):
    folder = home / f"tpl-{NAME}"
    found = find_template(NAME, 1, home)
    assert found.t1w == folder / f"tpl-{NAME}_res-01_T1w.nii.gz"
    assert found.mask == folder / f"tpl-{NAME}_res-01_desc-brain_mask.nii.gz"
    assert find_template(NAME, 2, folder).mask is None  # the template's own folder will do


def test_a_template_that_is_not_there(home):
    with pytest.raises(MissingInput, match=r"TEMPLATEFLOW_HOME.*templateflow\.api") as caught:
        find_template("MNI152NLin6Asym", 1, home)
    assert caught.value.exit_code == 66


def test_templates_without_content(home):
    """TemplateFlow leaves empty files, DataLad links to nowhere."""
    path = home / f"tpl-{NAME}/tpl-{NAME}_res-02_T1w.nii.gz"
    path.write_bytes(b"")
    with pytest.raises(NotFetched, match="empty file"):
        find_template(NAME, 2, home)
    path.unlink()
    path.symlink_to("../.git/annex/objects/gone")
    with pytest.raises(NotFetched, match="link"):
        find_template(NAME, 2, home)


def test_where_templates_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "t"))
    assert template_home() == tmp_path / "t"
    assert template_home(tmp_path / "mine") == tmp_path / "mine"
    monkeypatch.delenv("TEMPLATEFLOW_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert template_home() == tmp_path / ".cache/templateflow"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    with pytest.raises(MissingInput):
        find_template(NAME, 1, template_home())


@pytest.mark.parametrize("masked", [True, False])
def test_the_affine_to_a_template_is_found(tmp_path, masked):
    """The reference, larger by 4 % and moved by 3 mm, is a template whose affine is known."""
    grid = reference_grid(2.0)
    truth = np.diag([1.04, 1.04, 1.04, 1.0])
    truth[:3, 3] = (0, -3, 2)
    affine = truth @ grid.affine
    nib.save(nib.Nifti1Image(1000 * reference_t1w(grid), affine), tmp_path / "t1w.nii.gz")
    mask = reference_mask(grid).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "mask.nii.gz")
    template = Template(
        NAME, tmp_path / "t1w.nii.gz", tmp_path / "mask.nii.gz" if masked else None
    )
    world = world_to_template(template)
    corners = np.array([[-60, -90, -40, 1], [60, 70, 60, 1], [0, 0, 0, 1]]).T
    assert np.abs(((world - truth) @ corners)[:3]).max() < 0.5
    world[:] = 0  # what is kept in the process stays as it is
    assert world_to_template(template).any()


def test_a_scan_on_the_grid_of_another():
    rng = np.random.default_rng(0)
    data = np.zeros((20, 22, 24), np.float32)
    data[5:15, 5:15, 5:15] = rng.uniform(50, 100, (10, 10, 10))
    volume = from_image(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])))
    there = np.eye(4)
    there[:3, 3] = (4, 0, -2)  # mm: two voxels and one
    like = from_image(nib.Nifti1Image(rng.uniform(1, 2, (30, 30, 30)), np.diag([2.0, 2, 2, 1])))
    moved = onto(volume, there, like)
    assert moved.shape == (30, 30, 30)
    np.testing.assert_allclose(moved[7:17, 5:15, 4:14], data[5:15, 5:15, 5:15], atol=1e-3)
    half = onto(volume, np.eye(4) + 0.25 * np.eye(4, k=3), like)
    assert half.min() >= 0 and half.max() <= data.max()  # splines alone swing below 0
