"""What a scan takes of the work folder: the budget of docs/clusters.md."""

from __future__ import annotations

from math import prod
from pathlib import Path

import nibabel as nib
import pytest

from bids_harmony.imaging.reference import reference_grid
from tests.e2e.program import copy_fits, run

pytestmark = pytest.mark.e2e

#: Files and folders of a structural scan while it is worked on.
MOST_INODES = 60
#: Bytes for each voxel of the scan and of the reference grid.
BYTES_PER_VOXEL = 6
#: What does not grow with images: figures, and Nipype's records of each step.
FIXED_BYTES = 450_000
VOXEL_MM = 6.0


def inodes(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*")]


@pytest.fixture
def work_after(bids, trained, model, tmp_path):
    """Harmonize one person from the raw scans; gives the exit code and what is left behind."""

    def harmonize(keep: str, *words: str) -> tuple[int, Path]:
        work = tmp_path / "work"
        finished = run(
            bids, tmp_path / "out", "--participant-label", "SIEMENS01", "--keep-workdir", keep,
            *model, *words, work=work,
        )  # fmt: skip
        return finished.code, work

    return harmonize


def test_budget_of_a_scan(work_after, bids):
    code, work = work_after("always")
    scans = sorted((bids / "sub-SIEMENS01").rglob("*.nii.gz"))
    assert code == 0 and len(scans) == 2
    for scan in scans:
        own = work / "participant_wf" / (scan.name.split(".")[0].replace("-", "_") + "_wf")
        found = inodes(own)
        assert 20 < len(found) <= MOST_INODES, len(found)
        voxels = prod(nib.load(scan).shape) + prod(reference_grid(VOXEL_MM).shape)
        used = sum(path.stat().st_size for path in found if path.is_file())
        assert used <= FIXED_BYTES + BYTES_PER_VOXEL * voxels, (used, voxels)


@pytest.mark.parametrize("keep", ["on-failure", "never"])
def test_nothing_but_a_folder_stays_of_a_good_run(work_after, keep):
    code, work = work_after(keep)
    assert code == 0
    assert [path.relative_to(work).as_posix() for path in inodes(work)] == ["participant_wf"]


@pytest.mark.parametrize(("keep", "stays"), [("on-failure", True), ("never", False)])
def test_of_a_failed_run_what_was_asked_for(work_after, tmp_path, keep, stays):
    # Nothing can be written where a file stands in the place of the folder.
    (tmp_path / "out" / "sub-SIEMENS01").mkdir(parents=True)
    (tmp_path / "out" / "sub-SIEMENS01" / "anat").write_text("in the way")
    code, work = work_after(keep, "--modalities", "T1w")
    assert code != 0
    assert any(path.is_file() for path in inodes(work)) == stays


def test_profiles_of_sites_leave_nothing_either(bids, trained, tmp_path):
    """The scans that show a site are prepared in the work folder, and then not needed."""
    out = tmp_path / "out"
    copy_fits(trained, out, "SIEMENS01")
    finished = run(
        bids, out, "--participant-label", "SIEMENS01", "--modalities", "T1w", "--voxel-mm",
        str(VOXEL_MM), "--method", "histogram", "--bank-scans", "1", work=tmp_path / "work",
    )  # fmt: skip
    assert finished.code == 0, finished.told
    left = [p.relative_to(tmp_path / "work").as_posix() for p in inodes(tmp_path / "work")]
    assert sorted(left) == ["participant_wf", "profiles_wf"]
