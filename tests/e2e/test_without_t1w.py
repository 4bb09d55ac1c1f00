"""FLAIR heads of people without a T1w, from real scans: whose brain they are given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.program import assert_whole, run, snapshot, validator_errors

pytestmark = pytest.mark.e2e

PEOPLE = ("ms01", "ms12")


@pytest.fixture(scope="module")
def raw(shared_data, tmp_path_factory) -> Path:
    """A person of each of two sites, with one FLAIR and no T1w."""
    folder = tmp_path_factory.mktemp("flair") / "bids"
    for person in PEOPLE:
        name = f"sub-{person}_ses-1_FLAIR"
        anat = folder / f"sub-{person}" / "anat"
        anat.mkdir(parents=True)
        source = shared_data / f"ms_longitudinal/sub-{person}/ses-1/anat"
        for ending in (".nii.gz", ".json"):
            shutil.copy(source / f"{name}{ending}", anat / f"sub-{person}_FLAIR{ending}")
    about = {"Name": "FLAIR", "BIDSVersion": "1.10.0"}
    (folder / "dataset_description.json").write_text(json.dumps(about))
    rows = ["participant_id\tsite", *(f"sub-{p}\t{p}" for p in PEOPLE)]
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize(
    ("words", "kind", "far"),
    [((), "deepbet", 0.03), (("--mask-without-t1w", "template"), "template", 0.2)],
)
def test_flair_without_t1w(raw, tmp_path, words, kind, far):
    before = snapshot(raw)
    out = tmp_path / "out"
    finished = run(
        raw, out, "--target-site", "ms12", "--voxel-mm", "3", *words, work=tmp_path / "work"
    )
    assert finished.code == 0, finished.told
    assert snapshot(raw) == before
    # By deepbet of the T1w that each of them has elsewhere.
    for person, millilitres in zip(PEOPLE, (1356, 1503), strict=True):
        path = out / f"sub-{person}/anat/sub-{person}_desc-brainFLAIR_mask.nii.gz"
        record = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert record["MaskKind"] == kind
        mask = nib.load(path)
        volume = np.count_nonzero(mask.dataobj) * np.prod(mask.header.get_zooms()) / 1e3
        assert volume == pytest.approx(millilitres, rel=far)
    cited = (out / "logs/CITATION.md").read_text()
    assert ("deepbet" in cited) is (kind == "deepbet")
    assert_whole(out)
    assert validator_errors(out) == []
