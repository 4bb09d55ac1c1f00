"""A dataset of small skull-stripped scans at two sites, and settings to work on it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

PRETEND = Path(__file__).with_name("pretend.py")


@pytest.fixture(scope="session")
def brain():
    """T1w-like template at 5 mm: data in native units, affine."""
    from bids_harmony.imaging.reference import reference_grid, reference_t1w

    grid = reference_grid(5.0)
    return 400 * reference_t1w(grid), grid.affine


@pytest.fixture(scope="session")
def pretend():
    spec = importlib.util.spec_from_file_location("pretend", PRETEND)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def cohort(tmp_path_factory, brain):
    """Two subjects: 01 at site A (T1w, T2w), 02 at site B (T1w)."""
    data, affine = brain
    root = tmp_path_factory.mktemp("cohort") / "bids"
    rng = np.random.default_rng(0)
    for subject, modality, site in (("01", "T1w", "A"), ("01", "T2w", "A"), ("02", "T1w", "B")):
        folder = root / f"sub-{subject}" / "anat"
        folder.mkdir(parents=True, exist_ok=True)
        contrast = data if modality == "T1w" else np.where(data > 0, 500 - data, 0)
        noisy = np.where(data > 0, contrast + rng.normal(0, 5, data.shape), 0).clip(0)
        image = nib.Nifti1Image(noisy.astype(np.int16), affine)
        nib.save(image, folder / f"sub-{subject}_{modality}.nii.gz")
        sidecar = {"InstitutionName": site, "Manufacturer": "Siemens", "MagneticFieldStrength": 3}
        (folder / f"sub-{subject}_{modality}.json").write_text(json.dumps(sidecar))
    description = {"Name": "small", "BIDSVersion": "1.10.0"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    return root


def _settings(dataset, folder):
    from bids_harmony.settings import Settings

    model = folder / "model"
    model.mkdir()
    (model / "model.json").write_text("{}")
    return Settings(
        dataset,
        folder / "out",
        "participant",
        target_site="B",
        model_dir=model,
        work_dir=folder / "work",
        nprocs=1,
        omp_nthreads=1,
        memory_mb=4000,
        device="cpu",
        sloppy=True,
        keep_workdir="always",
        voxel_mm=8.0,
    )


def _run_participant(settings, pretend):
    """Exit code and what became of each scan."""
    import bids_harmony.methods as room
    from bids_harmony.bids.dataset import find_scans
    from bids_harmony.bids.dataset_files import write_dataset_files
    from bids_harmony.workflows.base import run_participant

    log_dir = settings.output_dir / "logs" / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "load_harmonizer", pretend.load_harmonizer, raising=False)
        write_dataset_files(settings)
        code = run_participant(settings, find_scans(settings).scans, log_dir=log_dir)
    return code, json.loads((log_dir / "status.json").read_text())["scans"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory, cohort, pretend):
    """A run from nothing: settings, exit code, what became of each scan."""
    settings = _settings(cohort, tmp_path_factory.mktemp("finished"))
    return settings, *_run_participant(settings, pretend)


@pytest.fixture
def settings(tmp_path, cohort):
    """Settings for a copy of the dataset that the test may spoil."""
    shutil.copytree(cohort, tmp_path / "bids")
    return _settings(tmp_path / "bids", tmp_path)


@pytest.fixture
def participant(settings, finished, pretend):
    """Run the participant level; masks and transforms are there already, as after a killed run."""
    shutil.copytree(
        finished[0].output_dir,
        settings.output_dir,
        ignore=shutil.ignore_patterns("*harmonized*", "logs", "*.tsv"),
    )

    def run(**changes):
        return _run_participant(replace(settings, **changes), pretend)

    return run


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    """Gives the sha256 of every image and transform below a folder."""

    def of(folder: Path) -> dict[str, str]:
        return {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("sub-*"))
            if p.name.endswith((".nii.gz", "_xfm.txt"))
        }

    return of
