"""Real scans at full size on the grid of a real template and of the person's T1w."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.cli.main import main

pytestmark = pytest.mark.e2e

NAME = "MNI152NLin6Asym"
PERSON = "sub-philips04/anat/sub-philips04"


@pytest.fixture(scope="module")
def written(shared_data, tmp_path_factory):
    """The source's folder, the template, and the output."""
    folder = tmp_path_factory.mktemp("spaces")
    bids, home = folder / "bids", folder / "templates" / f"tpl-{NAME}"
    shutil.copytree(shared_data / "multivendor/sub-philips04", bids / "sub-philips04")
    (bids / "dataset_description.json").write_text('{"Name": "n", "BIDSVersion": "1.10.0"}')
    home.mkdir(parents=True)
    template = home / f"tpl-{NAME}_res-02_T1w.nii.gz"
    shutil.copy(shared_data / "templates/tpl-MNI152FSL_res-2_T1w.nii.gz", template)
    targets = []
    for kind in ("T1w", "T2w"):
        targets.append(str(folder / f"target_{kind}.nii.gz"))
        source = f"ms_3t_mni/sub-cs07/anat/sub-cs07_space-MNI152_desc-brain_{kind}.nii.gz"
        shutil.copy(shared_data / source, targets[-1])
    code = main(
        [
            str(bids), str(folder / "out"), "participant", "--target-image", *targets,
            "--source-site", "P", "--modalities", "T1w", "T2w",
            "--output-spaces", "native", "T1w", f"{NAME}:res-2",
            "--template-dir", str(folder / "templates"),
            "-w", str(folder / "work"), "--voxel-mm", "2", "--nprocs", "1", "--device", "cpu",
        ]
    )  # fmt: skip
    assert code == 0
    return bids, template, folder / "out"


def test_scans_lie_on_the_template(written):
    _, path, out = written
    template = nib.load(path)
    data = template.get_fdata()
    brains = {}
    for kind in ("T1w", "T2w"):
        stem = out / f"{PERSON}_space-{NAME}_res-2_desc-harmonizedreference_{kind}"
        image = nib.load(f"{stem}.nii.gz")
        assert image.shape == template.shape
        np.testing.assert_array_equal(image.affine, template.affine)
        assert json.loads(stem.with_name(f"{stem.name}.json").read_text())["SkullStripped"]
        brains[kind] = image.get_fdata()
    inside = brains["T1w"] > 0.1 * np.percentile(brains["T1w"], 99)
    assert 1.2e6 < 8 * inside.sum() < 2.4e6  # mm3: a brain at the size of the template
    assert np.corrcoef(brains["T1w"][inside], data[inside])[0, 1] > 0.6
    assert np.corrcoef(brains["T2w"][inside], data[inside])[0, 1] < 0


def test_the_t2w_lies_on_the_t1w(written):
    bids, _, out = written
    t1w = nib.load(bids / f"{PERSON}_T1w.nii.gz")
    t2w = nib.load(out / f"{PERSON}_space-T1w_desc-harmonizedreference_T2w.nii.gz")
    assert t2w.shape == t1w.shape
    np.testing.assert_array_equal(t2w.affine, t1w.affine)
    first, second = t1w.get_fdata(), t2w.get_fdata()
    both = (first > 0) & (second > 0)
    assert both.sum() > 0.9 * (first > 0).sum()
    native = nib.load(out / f"{PERSON}_desc-harmonizedreference_T2w.nii.gz")
    assert native.shape == nib.load(bids / f"{PERSON}_T2w.nii.gz").shape
