"""Cohorts as participants leave them, with site effects and effects of people that are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.quality.summary import ScanSummary, SeriesSummary, save_summary

if TYPE_CHECKING:
    from bids_harmony.phantom.anatomy import Anatomy

SITES = ("COI", "GE", "PHILIPS")
PROBABILITIES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Effects:
    """What a simulated scan looks like; all in fractions of the scale.

    Attributes
    ----------
    site : float
        Difference between neighbouring sites' grey matter before harmonization.
    left : float
        Share of it that harmonization leaves.
    age : float
        Change of grey matter a year.
    age_left : float
        Share of it that harmonization leaves.
    detail_after : float
        Change of fine detail (log10) that harmonization brings.
    """

    site: float = 0.05
    left: float = 0.05
    age: float = 0.0
    age_left: float = 1.0
    detail_after: float = 0.0


def tissue_quantiles(middle: float, width: float) -> np.ndarray:
    return middle + width * (PROBABILITIES - 0.5)


def scan_summary(rng: np.random.Generator, site: int, age: float, effects: Effects) -> ScanSummary:
    """White matter around 0.9, CSF around 0.3, grey matter where site, age and person put it."""
    person = rng.normal(0, 0.01)
    quantiles = np.empty((2, 4, 101), np.float32)
    shifts = []
    for stage, (site_share, age_share) in enumerate(
        ((1.0, 1.0), (effects.left, effects.age_left))
    ):
        shift = site_share * effects.site * site
        grey = 0.6 + shift + age_share * effects.age * (age - 50) + person
        shifts.append(shift)
        quantiles[stage] = [
            np.linspace(0.0, 1.0, 101),
            tissue_quantiles(grey, 0.1),
            tissue_quantiles(0.9 + rng.normal(0, 0.005), 0.05),
            tissue_quantiles(0.3 + rng.normal(0, 0.01), 0.2),
        ]
    noise = rng.normal(size=(4, 12)).astype(np.float32)
    features = noise * 0.5
    features[:2] += 20 * shifts[0]
    features[2] += 20 * shifts[1]
    features[3] += 20 * shifts[0]
    detail = np.array([-3.0, -3.0 + effects.detail_after]) + rng.normal(0, 0.01)
    return ScanSummary(
        quantiles=quantiles,
        target_quantiles=np.linspace(0, 1, 101, dtype=np.float32),
        features=features,
        head=rng.normal(size=6).astype(np.float16),
        detail=detail.astype(np.float32),
        change=np.full((12, 14, 12), shifts[1] - shifts[0], np.float16),
        voxel_mm=2.0,
    )


def series_summary(rng: np.random.Generator, site: int, person: np.ndarray) -> SeriesSummary:
    """FA and MD of 64 regions; sites differ by 5 % before and 0.5 % after."""
    regions = np.empty((2, 2, 64), np.float32)
    for stage, effect in enumerate((0.05, 0.005)):
        for index, level in enumerate((0.5, 0.0008)):
            gain = 1 + effect * site + rng.normal(0, 0.002, 64)
            regions[stage, index] = level * person * gain
    tissues = np.stack([regions.mean(axis=2) * 0.5, regions.mean(axis=2)], axis=-1)
    return SeriesSummary(("fa", "md"), regions, tissues.astype(np.float32))


@dataclass(frozen=True)
class Folders:
    bids: Path
    out: Path


def write(path: Path, record: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record if isinstance(record, str) else json.dumps(record))


def add_output(
    folders: Folders, subject: str, session: str, site: str, suffix: str = "T1w", run: str = ""
) -> Path:
    """Sidecar of a harmonized image; gives the image's path, which is empty."""
    unit = Path(f"sub-{subject}", *([f"ses-{session}"] if session else []))
    stem = "_".join([*unit.parts, *([f"run-{run}"] if run else [])])
    kind = "dwi" if suffix == "dwi" else "anat"
    image = folders.out / unit / kind / f"{stem}_desc-harmonizedCOI_{suffix}.nii.gz"
    record = {
        "Sources": [
            f"bids:raw:{unit}/{kind}/{stem}_{suffix}.nii.gz",
            f"bids::{unit}/{kind}/{stem}_desc-brain_mask.nii.gz",
            f"bids::{unit}/{kind}/{stem}_from-{suffix}_to-MNI_xfm.txt",
        ],
        "HarmonizationMethod": "ihf",
        "HarmonizationTarget": "COI",
        "HarmonizationSource": {"Site": site},
        "HarmonizationQuality": {"rmse_brain": 0.1, "same_site": site == "COI"},
    }
    write(image.with_name(f"{image.name.removesuffix('.nii.gz')}.json"), record)
    write(image, "")
    return image


def empty_folders(top: Path) -> Folders:
    folders = Folders(top / "bids", top / "out")
    write(folders.bids / "dataset_description.json", {"Name": "cohort", "BIDSVersion": "1.9.0"})
    folders.out.mkdir()
    return folders


@pytest.fixture
def folders(tmp_path) -> Folders:
    return empty_folders(tmp_path)


def write_summaries(
    folders: Folders,
    effects: Effects = Effects(),
    *,
    per_site: int = 12,
    older_by: float = 0.0,
    suffix: str = "T1w",
    travelling: bool = False,
    seed: int = 0,
) -> Folders:
    """Write a cohort: by default twelve people at each of three sites, one T1w each."""
    from bids_harmony.bids.naming import summary_path

    rng = np.random.default_rng(seed)
    table = ["participant_id\tage\tsex\tsite\tdiagnosis"]
    for k in range(per_site * (1 if travelling else len(SITES))):
        home = k // per_site
        label = f"{k + 1:03d}"
        age = rng.uniform(30, 70) + older_by * home
        person = 1 + 0.02 * rng.normal(size=64)
        table.append(f"sub-{label}\t{age:.1f}\t{'FM'[k % 2]}\t{SITES[home]}\tremark {k}")
        write(folders.bids / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz", "")
        for index in range(len(SITES)) if travelling else (home,):
            site = SITES[index]
            session = f"{site}" if travelling else ""
            image = add_output(folders, label, session, site, suffix)
            path = summary_path(image)
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == "dwi":
                summary = series_summary(rng, index, person)
            else:
                summary = scan_summary(rng, index, age, effects)
            save_summary(path, summary)
    write(folders.bids / "participants.tsv", "\n".join(table) + "\n")
    return folders


def write_traveller(
    folders: Folders,
) -> tuple[Anatomy, dict[tuple[str, str], np.ndarray], np.ndarray]:
    """One person at GE and twice at COI; the GE scan was harmonized to a mixture of both.

    Gives the person, the scans by site and run, and the first of them at COI.
    """
    from bids_harmony.bids.naming import summary_path
    from bids_harmony.imaging.reference import reference_grid
    from bids_harmony.imaging.transforms import write_transform
    from bids_harmony.phantom.anatomy import make_anatomy
    from bids_harmony.phantom.scanner import SITES as SCANNERS
    from bids_harmony.phantom.scanner import acquire

    grid = reference_grid(4.0)
    person = make_anatomy(grid, 3)
    scans = {
        ("GE", ""): acquire(person, SCANNERS["GE"], "T1w", scan_seed=1),
        ("COI", "1"): acquire(person, SCANNERS["COI"], "T1w", scan_seed=2),
        ("COI", "2"): acquire(person, SCANNERS["COI"], "T1w", scan_seed=3),
    }
    target = scans["COI", "1"]
    for (site, run), scan in scans.items():
        image = add_output(folders, "t1", site, site, run=run)
        mixed = scan if site == "COI" else 0.2 * scan + 0.8 * target * scan.mean() / target.mean()
        stem = image.name.partition("_desc-")[0]
        source = folders.bids / image.relative_to(folders.out).with_name(f"{stem}_T1w.nii.gz")
        source.parent.mkdir(parents=True, exist_ok=True)
        for path, data in ((source, scan), (image, mixed)):
            nib.save(nib.Nifti1Image(data.astype(np.float32), grid.affine), path)
        mask = image.with_name(f"{stem}_desc-brain_mask.nii.gz")
        nib.save(nib.Nifti1Image(person.mask.astype(np.uint8), grid.affine), mask)
        write_transform(np.eye(4), image.with_name(f"{stem}_from-T1w_to-MNI_xfm.txt"))
        path = summary_path(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        summary = scan_summary(np.random.default_rng(0), 0, 50, Effects())
        save_summary(path, replace(summary, voxel_mm=4.0))
    return person, scans, target


@pytest.fixture
def make_cohort(folders) -> Callable[..., Folders]:
    """`write_summaries` into the folders of the test."""
    return partial(write_summaries, folders)
