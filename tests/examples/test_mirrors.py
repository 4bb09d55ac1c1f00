"""The trickiest layouts of the BIDS examples, made small, and the plan that is right for each."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.examples.program import plan

RAW = {"Name": "mirror", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
DERIVED = RAW | {"DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}
PRISMA = {
    "Manufacturer": "Siemens",
    "ManufacturersModelName": "Prisma",
    "MagneticFieldStrength": 3,
}
AT = {"InstitutionName": "Here"}
SIX = ["0 1000 1000 1000 1000 1000 1000", "0 1 0 0 .6 .8 0", "0 0 1 0 .8 0 .6", "0 0 0 1 0 .6 .8"]

#: By name: description, files (text, a record, or the shape of an image), and what is right: exit
#: code, site of each scan, refused scans, files passed over.
MIRRORS = {
    # ds000117: sessions by device, echoes and runs of FLASH, one T1w.
    "sessions by device": (
        RAW,
        {
            "sub-01/ses-mri/anat/sub-01_ses-mri_acq-mprage_T1w": AT,
            "sub-01/ses-mri/anat/sub-01_ses-mri_run-1_echo-1_FLASH": AT,
            "sub-01/ses-meg/meg/sub-01_ses-meg_scans.tsv": "filename\n",
        },
        (0, {"sub-01_ses-mri_acq-mprage_T1w": "Here"}, (), 0),
    ),
    # 7t_trt: two sessions of one person, runs.
    "sessions and runs": (
        RAW,
        {
            "sub-01/ses-1/anat/sub-01_ses-1_run-1_T1w": AT,
            "sub-01/ses-1/anat/sub-01_ses-1_run-2_T1w": AT,
            "sub-01/ses-2/anat/sub-01_ses-2_T1w": AT,
            "sub-01/sub-01_sessions.tsv": "session_id\tage\nses-1\t30\nses-2\t31\n",
        },
        (
            0,
            {
                "sub-01_ses-1_run-1_T1w": "Here",
                "sub-01_ses-1_run-2_T1w": "Here",
                "sub-01_ses-2_T1w": "Here",
            },
            (),
            0,
        ),
    ),
    # ds210, ds001: the only sidecar is at the root.
    "inherited from the root": (
        RAW,
        {"T1w.json": AT, "sub-01/anat/sub-01_T1w": None, "sub-02/anat/sub-02_inplaneT2": None},
        (0, {"sub-01_T1w": "Here"}, (), 0),
    ),
    # qmri_mp2rage: no T1w, only its parts.
    "parts of MP2RAGE": (
        RAW,
        {
            "sub-1/anat/sub-1_inv-1_part-mag_MP2RAGE": AT,
            "sub-1/anat/sub-1_UNIT1": AT,
            "sub-1/anat/sub-1_part-phase_T1w": AT,
        },
        (18, {}, (), 0),
    ),
    # eeg_matchingpennies and many others: nothing to harmonize.
    "no images": (
        RAW,
        {"sub-01/eeg/sub-01_task-x_eeg.json": {"EEGReference": "Cz"}},
        (18, {}, (), 0),
    ),
    # dwi_deriv: series in the person's space, institution redacted.
    "redacted derivative": (
        DERIVED,
        {
            "sub-01/dwi/sub-01_dir-AP_space-ACPC_desc-preproc_dwi": (8, 8, 8, 7),
            "sub-01/dwi/sub-01_dir-AP_space-ACPC_desc-preproc_dwi.json": PRISMA
            | {"InstitutionName": "REDACTED"},
            "sub-01/dwi/sub-01_dir-AP_space-ACPC_desc-preproc_dwi.bval": SIX[0],
            "sub-01/dwi/sub-01_dir-AP_space-ACPC_desc-preproc_dwi.bvec": "\n".join(SIX[1:]),
            "sub-01/dwi/sub-01_dir-AP_space-ACPC_dwiref": None,
        },
        (0, {"sub-01_dir-AP_space-ACPC_desc-preproc_dwi": "Siemens-Prisma-3T"}, (), 0),
    ),
    # ds000001-fmriprep: the same scan in the person's space and in templates.
    "templates": (
        DERIVED,
        {
            "sub-01/anat/sub-01_desc-preproc_T1w": AT,
            "sub-01/anat/sub-01_space-MNI152NLin2009cAsym_res-2_desc-preproc_T1w": AT,
            "sub-01/anat/sub-01_space-MNIPediatricAsym_cohort-2_desc-preproc_T1w": AT,
            "sub-01/anat/sub-01_desc-brain_mask": None,
            "sub-01/anat/sub-01_space-OASIS30ANTs_label-GM_probseg": None,
        },
        (0, {"sub-01_desc-preproc_T1w": "Here"}, (), 0),
    ),
    # eeg_cbm, ieeg_visual: derivatives and source data beside the subjects.
    "datasets within": (
        RAW,
        {
            "sub-01/anat/sub-01_T1w": AT,
            "derivatives/x/sub-01/anat/sub-01_T1w": AT,
            "sourcedata/sub-09/anat/sub-09_T1w": AT,
            "code/sub-08/anat/sub-08_T1w": AT,
        },
        (0, {"sub-01_T1w": "Here"}, (), 0),
    ),
    # hcp_example_bids: reversed series beside the main one; here of b=0 alone.
    "reversed series": (
        RAW,
        {
            "sub-01/dwi/sub-01_dir-LR_dwi": (8, 8, 8, 7),
            "sub-01/dwi/sub-01_dir-LR_dwi.json": AT,
            "sub-01/dwi/sub-01_dir-LR_dwi.bval": SIX[0],
            "sub-01/dwi/sub-01_dir-LR_dwi.bvec": "\n".join(SIX[1:]),
            "sub-01/dwi/sub-01_dir-RL_dwi": (8, 8, 8, 2),
            "sub-01/dwi/sub-01_dir-RL_dwi.json": AT,
            "sub-01/dwi/sub-01_dir-RL_dwi.bval": "0 0\n",
            "sub-01/dwi/sub-01_dir-RL_dwi.bvec": "0 0\n0 0\n0 0\n",
        },
        (0, {"sub-01_dir-LR_dwi": "Here"}, (), 1),
    ),
    # ds114, ds003: images without any content, no sidecar.
    "empty images": (
        RAW,
        {"sub-01/anat/sub-01_T1w": b"", "sub-01/anat/sub-01_T1w.json": AT},
        (74, {}, ("sub-01_T1w",), 0),
    ),
    # ds102: nothing tells a site.
    "no sidecars": (RAW, {"sub-01/anat/sub-01_T1w": None}, (66, {}, ("sub-01_T1w",), 0)),
    # Sites in a table: the person of another site, a person without images.
    "sites in a table": (
        RAW,
        {
            "participants.tsv": "participant_id\tsite\nsub-01\tOne\nsub-02\tTwo\nsub-03\tTwo\n",
            "sub-01/anat/sub-01_T1w": None,
            "sub-02/anat/sub-02_T1w": None,
            "sub-03/func/sub-03_task-rest_bold": (8, 8, 8, 5),
        },
        (0, {"sub-01_T1w": "One", "sub-02_T1w": "Two"}, (), 0),
    ),
    # pet001, asl001, fnirs: other data beside a T1w.
    "other data": (
        RAW,
        {
            "sub-01/ses-base/anat/sub-01_ses-base_T1w": AT,
            "sub-01/ses-base/pet/sub-01_ses-base_pet": (8, 8, 8, 3),
            "sub-01/ses-base/perf/sub-01_ses-base_asl": (8, 8, 8, 3),
            "sub-01/ses-base/fmap/sub-01_ses-base_acq-x_T1w": AT,
        },
        (0, {"sub-01_ses-base_T1w": "Here"}, (), 0),
    ),
}


def make(root: Path, description: dict, files: dict) -> None:
    root.mkdir()
    (root / "dataset_description.json").write_text(json.dumps(description))
    for name, what in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            path.write_text(what)
        elif path.suffix == ".json":
            path.write_text(json.dumps(what))
        elif isinstance(what, bytes):
            path.with_name(f"{path.name}.nii.gz").write_bytes(what)
        else:
            image(path, what if isinstance(what, tuple) else (8, 8, 8))
            if isinstance(what, dict):
                path.with_name(f"{path.name}.json").write_text(json.dumps(what))


def image(path: Path, shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).integers(0, 900, shape).astype(np.int16)
    made = nib.Nifti1Image(data, np.diag([20.0, 20, 20, 1]))
    nib.save(made, path.with_name(f"{path.name}.nii.gz"))


@pytest.fixture(scope="session")
def looks(tmp_path_factory) -> list[str]:
    """Words that name images of the target: a T1w and a series."""
    folder = tmp_path_factory.mktemp("looks")
    image(folder / "look_T1w", (8, 8, 8))
    image(folder / "look_dwi", (8, 8, 8, 7))
    (folder / "look_dwi.bval").write_text(SIX[0])
    (folder / "look_dwi.bvec").write_text("\n".join(SIX[1:]))
    return ["--target-image", *(str(folder / f"look_{kind}.nii.gz") for kind in ("T1w", "dwi"))]


@pytest.mark.parametrize("name", MIRRORS)
def test_the_plan_is_right(tmp_path, looks, name):
    description, files, right = MIRRORS[name]
    make(tmp_path / "bids", description, files)
    made = plan(tmp_path / "bids", tmp_path, *looks)
    found = (made.code, made.scans, made.refused, made.n_passed_over)
    assert found == right, made.text
    assert "Traceback" not in made.text
