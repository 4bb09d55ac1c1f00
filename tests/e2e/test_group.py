"""The level group on harmonized scans: its numbers, computed once more from the NIfTI files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import ants
import nibabel as nib
import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.imaging.tissues import segment_tissues
from tests.e2e.program import TARGET, Finished, run, validator_errors

pytestmark = pytest.mark.e2e

VOXEL_MM = 6.0


@pytest.fixture(scope="module")
def grouped(bids, harmonized, tmp_path_factory) -> Finished:
    folder = tmp_path_factory.mktemp("grouped")
    shutil.copytree(harmonized.out, folder / "out")
    return run(bids, folder / "out", work=folder / "work", level="group")


@pytest.fixture(scope="module")
def rows(grouped) -> dict[str, dict[str, str]]:
    with open(grouped.out / "group_T1w.tsv", newline="") as stream:
        return {row["scan"]: row for row in csv.DictReader(stream, delimiter="\t")}


def files_of(out: Path, bids: Path, scan: str) -> tuple[Path, Path, Path, Path]:
    """Source, harmonized, mask and transform of a T1w."""
    entities = scan.removesuffix("_T1w")
    folder = Path(*entities.split("_"), "anat")
    return (
        bids / folder / f"{scan}.nii.gz",
        out / folder / f"{entities}_desc-harmonized{TARGET}_T1w.nii.gz",
        out / folder / f"{entities}_desc-brain_mask.nii.gz",
        out / folder / f"{entities}_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.txt",
    )


def on_reference(image: Path, transform: Path, interpolator: str) -> np.ndarray:
    """By ANTs, which knows nothing of our resampling."""
    grid = reference_grid(VOXEL_MM)
    fixed = nib.Nifti1Image(np.zeros(grid.shape, np.float32), grid.affine)
    moved = ants.apply_transforms(
        ants.from_nibabel_nifti(fixed), ants.image_read(str(image)), [str(transform)],
        interpolator=interpolator,
    )  # fmt: skip
    return ants.to_nibabel_nifti(moved).get_fdata(dtype=np.float32)


def test_page_is_there_and_the_dataset_still_valid(grouped):
    assert grouped.code == 0, grouped.told
    assert (grouped.out / "group.html").stat().st_size > 20_000
    assert validator_errors(grouped.out) == []
    chapters = json.loads((grouped.out / "group.json").read_text())["chapters"]
    assert [(c["suffix"], c["target"], c["scans"]) for c in chapters] == [
        ("T1w", TARGET, 3), ("T2w", TARGET, 3),
    ]  # fmt: skip


def test_people_who_were_not_harmonized_are_named(grouped):
    missing = json.loads((grouped.out / "group.json").read_text())["missing"]
    assert {row["label"] for row in missing} == {
        "sub-COI02", "sub-COI03", "sub-SIEMENS02", "sub-SIEMENS03",
    }  # fmt: skip


def test_tissue_intensities_are_those_of_the_files(grouped, rows, bids):
    template = reference_tissues(reference_grid(VOXEL_MM))
    for scan, row in rows.items():
        source, harmonized, mask, transform = files_of(grouped.out, bids, scan)
        brain = on_reference(mask, transform, "linear") >= 0.5
        images = [on_reference(path, transform, "bSpline") for path in (source, harmonized)]
        scale = np.percentile(images[0][brain], 99.5)
        labels = segment_tissues(np.where(brain, images[0] / scale, 0), brain, template).labels
        for state, image in zip(("source", "harmonized"), images, strict=True):
            top = np.percentile(image[brain], 99)
            for tissue, label in (("csf", 3), ("gm", 1), ("wm", 2)):
                expected = np.median(image[labels == label]) / top
                assert float(row[f"{tissue}_{state}"]) == pytest.approx(expected, abs=0.04)


def test_change_is_that_of_the_files(grouped, rows, bids):
    for scan, row in rows.items():
        source, harmonized, mask, _ = files_of(grouped.out, bids, scan)
        before, after, brain = (nib.load(path).get_fdata() for path in (source, harmonized, mask))
        change = (after - before)[brain > 0]
        expected = np.sqrt(np.mean(change**2)) / float(row["data_range_native"])
        assert float(row["rmse_brain"]) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_site_and_target_are_those_of_the_sidecars(rows):
    sites = {scan: row["site"] for scan, row in rows.items()}
    assert sites["sub-COI01_T1w"] == TARGET and sites["sub-SIEMENS01_T1w"] == "SIEMENS"
    assert {row["target_site"] for row in rows.values()} == {TARGET}
