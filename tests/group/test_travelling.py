"""Travelling subjects against their own scan at the target, computed once more from the files."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.naming import summary_path
from bids_harmony.group.outputs import find_outputs
from bids_harmony.group.travelling import travelling_rows
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.transforms import write_transform
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.quality.summary import save_summary
from tests.group.conftest import Effects, add_output, scan_summary

GRID = reference_grid(4.0)


@pytest.fixture
def traveller(folders):
    """One person at GE and twice at COI; the GE scan was harmonized to a mixture of both."""
    person = make_anatomy(GRID, 3)
    scans = {
        ("GE", ""): acquire(person, SITES["GE"], "T1w", scan_seed=1),
        ("COI", "1"): acquire(person, SITES["COI"], "T1w", scan_seed=2),
        ("COI", "2"): acquire(person, SITES["COI"], "T1w", scan_seed=3),
    }
    target = scans["COI", "1"]
    for (site, run), scan in scans.items():
        image = add_output(folders, "t1", site, site, run=run)
        mixed = scan if site == "COI" else 0.2 * scan + 0.8 * target * scan.mean() / target.mean()
        stem = image.name.partition("_desc-")[0]
        source = folders.bids / image.relative_to(folders.out).with_name(f"{stem}_T1w.nii.gz")
        source.parent.mkdir(parents=True, exist_ok=True)
        for path, data in ((source, scan), (image, mixed)):
            nib.save(nib.Nifti1Image(data.astype(np.float32), GRID.affine), path)
        mask = image.with_name(f"{stem}_desc-brain_mask.nii.gz")
        nib.save(nib.Nifti1Image(person.mask.astype(np.uint8), GRID.affine), mask)
        write_transform(np.eye(4), image.with_name(f"{stem}_from-T1w_to-MNI_xfm.txt"))
        path = summary_path(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        summary = scan_summary(np.random.default_rng(0), 0, 50, Effects())
        save_summary(path, type(summary)(**{**vars(summary), "voxel_mm": 4.0}))
    return folders, person, scans, target


def test_errors_are_those_of_the_files(traveller):
    folders, person, scans, target = traveller
    rows = travelling_rows(find_outputs(folders.out, folders.bids)[0])
    found = {(row.site, row.state): row for row in rows}
    assert set(found) == {("GE", "source"), ("GE", "harmonized"), ("COI", "rescan")}

    def error(image: np.ndarray) -> float:
        inside = [image[person.mask], target[person.mask]]
        first, second = (values / np.percentile(values, 99.5) for values in inside)
        return float(np.sqrt(np.mean((first - second) ** 2)))

    assert found["GE", "source"].rmse == pytest.approx(error(scans["GE", ""]), rel=0.01)
    assert found["COI", "rescan"].rmse == pytest.approx(error(scans["COI", "2"]), rel=0.01)
    assert found["GE", "harmonized"].rmse < 0.5 * found["GE", "source"].rmse
    assert found["GE", "harmonized"].psnr_db > found["GE", "source"].psnr_db + 5


def test_nobody_travelled(folders):
    add_output(folders, "01", "", "GE")
    assert travelling_rows(find_outputs(folders.out, folders.bids)[0]) == []


def test_unreadable_scan_leaves_the_others(traveller, caplog):
    folders, *_ = traveller
    next(folders.bids.glob("sub-t1/ses-GE/anat/*_T1w.nii.gz")).write_bytes(b"")
    assert travelling_rows(find_outputs(folders.out, folders.bids)[0]) == []
    assert "sub-t1 is left out" in caplog.text
