"""A tiny raw BIDS dataset, one file at a time."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.settings import Settings


class RawDataset:
    """Writes a raw dataset of 8 x 8 x 8 images."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.json("dataset_description.json", Name="Tiny", BIDSVersion="1.9.0", DatasetType="raw")
        (root / "README").write_text("A tiny dataset for tests, made of noise.\n")

    def json(self, name: str, **fields) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(fields))
        return path

    def image(self, name: str, **sidecar) -> Path:
        """An image and, if any field is given, its sidecar; named as sub-01/anat/sub-01_T1w."""
        path = self.root / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = np.random.default_rng(0).integers(0, 1000, (8, 8, 8)).astype(np.int16)
        image = nib.Nifti1Image(data, np.diag([20.0, 20.0, 20.0, 1.0]))
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, path)
        if sidecar:
            self.json(f"{name}.json", **sidecar)
        return path

    def table(self, name: str, *rows: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join("\t".join(row.split()) + "\n" for row in rows))
        return path

    def settings(self, **options) -> Settings:
        options = {"target_site": "COI", "analysis_level": "participant"} | options
        return Settings(
            bids_dir=self.root, output_dir=self.root.parent / "out", nprocs=1, **options
        )


@pytest.fixture
def raw(tmp_path) -> RawDataset:
    return RawDataset(tmp_path / "bids")


@pytest.fixture
def cohort(raw) -> RawDataset:
    """Three people: two at COI, one travelling between GE and COI."""
    raw.image("sub-01/anat/sub-01_T1w", InstitutionName="COI", MagneticFieldStrength=3)
    raw.image("sub-02/anat/sub-02_T1w", InstitutionName="COI")
    raw.image("sub-02/anat/sub-02_T2w", InstitutionName="COI")
    for session in ("GE", "COI"):
        stem = f"sub-03/ses-{session}/anat/sub-03_ses-{session}"
        raw.image(f"{stem}_acq-mp_T1w", Manufacturer="GE MEDICAL SYSTEMS")
    raw.table(
        "participants.tsv", "participant_id group", "sub-01 a", "sub-02 a", "sub-03 travelling"
    )
    return raw
