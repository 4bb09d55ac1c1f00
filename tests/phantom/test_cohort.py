"""The phantom cohort: a valid BIDS dataset whose twins lie on their scans' grids."""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.phantom.cohort import ORIENTATIONS, CohortPlan, write_cohort
from bids_harmony.phantom.scanner import SITES

PLAN = CohortPlan(
    sites=("COI", "GE", "SIEMENS"), training_per_site=1, travelling=1, voxel_scale=5.0, seed=3
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(folder, PLAN)
    return folder


def test_every_person_is_where_the_plan_puts_them(cohort):
    scans = sorted(p.name for p in (cohort / "bids").rglob("*_T1w.nii.gz"))
    assert scans == [
        "sub-COI01_T1w.nii.gz",
        "sub-GE01_T1w.nii.gz",
        "sub-SIEMENS01_T1w.nii.gz",
        "sub-T01_ses-GE_T1w.nii.gz",
        "sub-T01_ses-SIEMENS_T1w.nii.gz",
    ]


def test_the_target_never_scans_a_travelling_subject_in_the_dataset(cohort):
    for sidecar in (cohort / "bids" / "sub-T01").rglob("*.json"):
        assert json.loads(sidecar.read_text())["InstitutionName"] != PLAN.target


def test_twins_share_grid_and_orientation_with_their_scan(cohort):
    for modality in PLAN.modalities:
        stem = "sub-T01/ses-SIEMENS/anat/sub-T01_ses-SIEMENS"
        scan = nib.load(cohort / "bids" / f"{stem}_{modality}.nii.gz")
        twin = nib.load(cohort / "twins" / f"{stem}_desc-twin_{modality}.nii.gz")
        assert scan.shape == twin.shape
        assert np.array_equal(scan.affine, twin.affine)
        assert nib.aff2axcodes(scan.affine) == ("P", "S", "R")


def test_twin_and_scan_show_the_same_anatomy(cohort):
    stem = "sub-T01/ses-SIEMENS/anat/sub-T01_ses-SIEMENS"
    scan = nib.load(cohort / "bids" / f"{stem}_T2w.nii.gz").get_fdata()
    twin = nib.load(cohort / "twins" / f"{stem}_desc-twin_T2w.nii.gz").get_fdata()
    both = (scan > 0) & (twin > 0)
    assert np.corrcoef(scan[both], twin[both])[0, 1] > 0.7
    assert np.mean((scan > 0) == (twin > 0)) > 0.99


def test_the_same_seed_gives_the_same_bytes(cohort, tmp_path):
    write_cohort(tmp_path, PLAN)
    name = "bids/sub-GE01/anat/sub-GE01_T2w.nii.gz"
    assert (tmp_path / name).read_bytes() == (cohort / name).read_bytes()


def test_sites_store_different_voxel_sizes_and_units(cohort):
    shapes, maxima = set(), set()
    for site in PLAN.sites:
        image = nib.load(cohort / "bids" / f"sub-{site}01/anat/sub-{site}01_T1w.nii.gz")
        shapes.add(tuple(np.round(sorted(image.header.get_zooms()), 3).tolist()))
        maxima.add(int(image.get_fdata().max()))
    assert len(shapes) == 3 and len(maxima) == 3


def test_every_site_has_a_voxel_order_and_the_default_cohort_keeps_four():
    assert set(ORIENTATIONS) == set(SITES)
    assert CohortPlan().sites == ("COI", "GE", "PHILIPS", "SIEMENS")
