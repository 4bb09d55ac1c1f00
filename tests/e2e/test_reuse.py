"""A real scan at full size with what another pipeline left of it: nothing is registered again."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.cli.main import main
from bids_harmony.imaging.reference import reference_points
from bids_harmony.imaging.transforms import read_transform, to_itk, write_transform
from tests.composite_transforms import write_composite

h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.e2e

STEM = "sub-philips04/anat/sub-philips04"
XFM = f"{STEM}_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm"
IMAGE = f"{STEM}_desc-harmonizedreference_T1w.nii.gz"


def write_antsregistration(path, world):
    """The affine with a smooth field of 2 mm on 4 mm voxels before it, as antsRegistration's."""
    matrix = to_itk(world)
    shape = (50, 60, 50)
    x, y, z = np.meshgrid(*(np.linspace(0, 2 * np.pi, n) for n in shape), indexing="ij")
    moves = 2 * np.stack([np.sin(y + z), np.sin(x - z), np.cos(x + y)], axis=-1)
    # LPS: the first voxel is right, front (x, y < 0) and low.
    grid = [*shape, -98, -100, -80, 4, 4, 4, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    parts = [
        ("AffineTransform_float_3_3", [*matrix[:3, :3].ravel(), *matrix[:3, 3]], [0, 0, 0]),
        ("DisplacementFieldTransform_float_3_3", moves.transpose(2, 1, 0, 3).ravel(), grid),
    ]
    write_composite(path, parts)


def run(folder, out, *words) -> str:
    code = main(
        [
            str(folder / "bids"), str(out), "participant", "--source-site", "P",
            "--target-image", str(folder / "target_T1w.nii.gz"), "-w", str(out) + "_work",
            "--modalities", "T1w", "--voxel-mm", "2", "--nprocs", "1", "--device", "cpu", *words,
        ]
    )  # fmt: skip
    assert code == 0
    return "".join(path.read_text() for path in out.glob("logs/*/bids_harmony.log"))


@pytest.fixture(scope="module")
def runs(shared_data, tmp_path_factory):
    """The folder, the output without anything given, that with it, and its log."""
    folder = tmp_path_factory.mktemp("reuse")
    shutil.copytree(shared_data / "multivendor/sub-philips04", folder / "bids/sub-philips04")
    description = '{"Name": "n", "BIDSVersion": "1.10.0"}'
    (folder / "bids/dataset_description.json").write_text(description)
    target = "ms_3t_mni/sub-cs07/anat/sub-cs07_space-MNI152_desc-brain_T1w.nii.gz"
    shutil.copy(shared_data / target, folder / "target_T1w.nii.gz")
    first = folder / "first"
    run(folder, first)
    # fMRIPrep's T1w lies 5 mm from the scanner's space; its mask and transform lie there.
    anat = folder / "fmriprep/sub-philips04/anat"
    anat.mkdir(parents=True)
    shift = np.eye(4)
    shift[:3, 3] = (3, -4, 0)
    write_transform(shift, anat / "sub-philips04_from-orig_to-T1w_mode-image_xfm.txt")
    world = read_transform(first / f"{XFM}.txt") @ np.linalg.inv(shift)
    write_antsregistration(
        anat / "sub-philips04_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5", world
    )
    mask = nib.load(first / f"{STEM}_desc-brain_mask.nii.gz")
    moved = nib.Nifti1Image(np.asarray(mask.dataobj), shift @ mask.affine)
    nib.save(moved, anat / "sub-philips04_desc-brain_mask.nii.gz")
    log = run(folder, folder / "second", "-d", f"fmriprep={folder / 'fmriprep'}")
    return folder, first, folder / "second", log


def test_nothing_is_masked_or_registered_again(runs):
    _, _, second, log = runs
    assert "reused: mask from fmriprep: " in log and "; transform from fmriprep: " in log
    told = json.loads((second / f"{XFM}.json").read_text())
    assert told["TransformFrom"].endswith("_to-MNI152NLin2009cAsym_mode-image_xfm.h5")
    assert told["RegistrationSimilarity"] > 0.9
    told = json.loads((second / f"{STEM}_desc-brain_mask.json").read_text())
    assert told["MaskFrom"] == f"fmriprep: {STEM}_desc-brain_mask.nii.gz"


def test_it_lies_where_the_other_pipeline_puts_it(runs):
    _, first, second, _ = runs
    ours, theirs = (read_transform(out / f"{XFM}.txt") for out in (first, second))
    points = np.c_[reference_points(), np.ones(len(reference_points()))]
    apart = (points @ np.linalg.inv(ours).T - points @ np.linalg.inv(theirs).T)[:, :3]
    # The field of 2 mm averages out in part; the nearest affine has what does not.
    assert np.linalg.norm(apart, axis=1).mean() < 2


def test_mask_and_image_are_those_of_the_run_before(runs):
    _, first, second, _ = runs
    masks = [
        nib.load(out / f"{STEM}_desc-brain_mask.nii.gz").get_fdata() > 0 for out in (first, second)
    ]
    assert 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum()) > 0.98
    images = [nib.load(out / IMAGE).get_fdata()[masks[0]] for out in (first, second)]
    assert np.corrcoef(*images)[0, 1] > 0.995
