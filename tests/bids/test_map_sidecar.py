"""Maps of diffusion models in a derivative: their sidecars, and what the validator says."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.derivative import write_json
from bids_harmony.bids.map_sidecar import map_sidecar
from bids_harmony.bids.naming import map_path, sidecar_path
from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.diffusion.maps import MAPS

from .test_validator import errors

RECORD = {
    "Model": "noddi",
    "FitMethod": "AMICO",
    "Parameters": {"ParallelDiffusivity": 1.7e-3},
    "Statement": "2 non-zero shells",
    "VolumesUsed": [0, 1, 2],
}


@pytest.fixture
def series(raw) -> Scan:
    name = "sub-01/dwi/sub-01_dwi.nii.gz"
    path = raw.root / name
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4, 3), np.int16), np.eye(4)), path)
    entities = {"subject": "01", "datatype": "dwi"}
    return Scan(path, entities, "dwi", {}, SiteEvidence("GE", "--source-site"))


def sidecar(raw, series, parameter, target=None):
    out = raw.settings().output_dir
    return map_sidecar(series, raw.root, out, parameter, RECORD, target=target, resume_hash="abc")


def test_a_map_tells_its_unit_its_model_and_its_other_names(raw, series):
    record = sidecar(raw, series, "ndi")
    assert record["Units"] == "1" and "icvf" in record["Synonyms"]
    assert "NODDI" in record["Model"]["Description"]
    assert record["Model"]["Parameters"] == {
        "FitMethod": "AMICO",
        "VolumesUsed": [0, 1, 2],
        "ParallelDiffusivity": 1.7e-3,
    }
    assert "od" in sidecar(raw, series, "odi")["Synonyms"]
    assert "isovf" in sidecar(raw, series, "fwf")["Synonyms"]
    assert sidecar(raw, series, "ad")["Units"] == "mm^2/s"
    assert "FORCE" in sidecar(raw, series, "nd")["Model"]["Description"]
    spread = sidecar(raw, series, "ndiqr")
    assert "interquartile range" in spread["Description"] and spread["Units"] == "1"
    assert "OrientationEncoding" not in record


def test_the_frame_of_directions_is_told_in_words_and_by_name(raw, series):
    record = sidecar(raw, series, "v1")
    assert "voxel axes" in record["Description"] and "determinant" in record["Description"]
    assert record["OrientationEncoding"] == {
        "EncodingAxis": 3,
        "Reference": "bvec",
        "Type": "unit3vector",
        "AntipodalSymmetry": True,
        "FillValue": 0.0,
    }
    assert "voxel axes" not in sidecar(raw, series, "fa")["Description"]


def test_sources_are_the_series_that_was_fitted_and_its_mask(raw, series):
    own = sidecar(raw, series, "fa")
    assert own["Sources"][0] == "bids:raw:sub-01/dwi/sub-01_dwi.nii.gz"
    assert len(own["Sources"]) == 2 and own["Sources"][1].endswith("_mask.nii.gz")
    assert "HarmonizationTarget" not in own
    other = sidecar(raw, series, "fa", "COI")
    assert "bids::sub-01/dwi/sub-01_desc-harmonizedCOI_dwi.nii.gz" in other["Sources"]
    assert other["HarmonizationSource"]["Site"] == "GE"


def test_the_validator_accepts_maps(raw, series):
    settings = raw.settings()
    write_dataset_files(settings)
    for parameter in MAPS:
        for target in (None, "COI"):
            path = map_path(settings.output_dir, series, parameter, target=target)
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), path)
            write_json(sidecar_path(path), sidecar(raw, series, parameter, target))
    assert errors(settings.output_dir) == []
    (settings.output_dir / ".bidsignore").unlink()
    assert errors(settings.output_dir) != []  # names of a draft
