"""What struck runs need and nothing changes, and how each of them is started."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.faults.injection import Fault, Folders
from tests.faults.warm import Warm

__all__ = ["LEVELS", "World", "small_disk"]

#: Levels of analysis; the second is the first on a diffusion series.
LEVELS = ("participant", "participant-dwi", "train", "group")
SITES = ("COI", "SIEMENS")
#: Of the series: both have two shells, which NODDI needs.
SERIES_SITES = ("COI", "GE")

_PLAIN = ("--sloppy", "--device", "cpu", "--nprocs", "1", "--omp-nthreads", "1")
_WORDS = {
    "participant": (
        "--participant-label", f"{SITES[1]}01", "--modalities", "T1w", "--target-site", SITES[0],
    ),
    "participant-dwi": (
        "--participant-label", f"{SERIES_SITES[1]}01", "--modalities", "dwi",
        "--target-site", SERIES_SITES[0], "--bank-scans", "1",
    ),
    "train": (
        "--participant-label", "COI01", "SIEMENS01", "--modalities", "T1w",
        "--voxel-mm", "6", "--no-start", "--twin-steps", "0", "--adapt-steps", "3",
    ),
    "group": (),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """Raw scans and series, a model, summaries of a cohort."""

    folder: Path
    warm: Warm

    @classmethod
    def make(cls, folder: Path, warm: Warm) -> World:
        """Make all of it that is not there yet, undisturbed."""
        from bids_harmony.phantom.cohort import CohortPlan, write_cohort
        from lab.diffusion_cohort import write_diffusion_cohort

        world = cls(folder, warm)
        alone = {"target": SITES[0], "training_per_site": 1, "travelling": 0}
        if not world.bids("participant").exists():
            write_cohort(folder / "images", CohortPlan(sites=SITES, voxel_scale=6.0, **alone))
        if not world.bids("participant-dwi").exists():
            plan = CohortPlan(sites=SERIES_SITES, voxel_scale=4.0, **alone)
            # As few directions as there can be.
            write_diffusion_cohort(folder / "series", plan, direction_share=0.0)
        if not (folder / "group").exists():
            _write_group(folder / "group")
        if not world.models.exists():
            trained = Folders(folder / "trained" / "out", folder / "trained" / "work")
            trained.out.parent.mkdir()
            code, told, _ = world.run("train", trained)
            assert code == 0, told
        return world

    @property
    def models(self) -> Path:
        return self.folder / "trained" / "out" / "models"

    def bids(self, level: str) -> Path:
        """The dataset that a level works on."""
        folders = {"participant-dwi": "series", "group": "group"}
        return self.folder / folders.get(level, "images") / "bids"

    def start(self, level: str, folders: Folders) -> None:
        """Bring the folders of a run to where the level begins."""
        for folder in (folders.out, folders.work):
            shutil.rmtree(folder, ignore_errors=True)
        if level == "group":
            shutil.copytree(self.folder / "group" / "out", folders.out)

    def run(
        self, level: str, folders: Folders, fault: Fault | None = None
    ) -> tuple[int, str, list[str]]:
        """Run a level; see `Warm.run`."""
        words = [str(self.bids(level)), str(folders.out), level.partition("-")[0]]
        words += ["-w", str(folders.work), *_PLAIN, *_WORDS[level]]
        if level == "participant":
            words += ["--model", str(self.models)]
        return self.warm.run(words, folders, fault)


def _write_group(folder: Path) -> None:
    import nibabel as nib
    import numpy as np

    from tests.group.conftest import empty_folders, write_summaries

    folder.mkdir()
    cohort = write_summaries(empty_folders(folder), per_site=4)
    for image in cohort.out.rglob("*.nii.gz"):  # nobody reads them but `not_whole`
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), image)


def small_disk(folder: Path, size: str = "64m") -> bool:
    """Mount a small file system; False where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
