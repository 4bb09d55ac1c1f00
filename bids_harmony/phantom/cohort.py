"""A travelling-subject cohort as a BIDS dataset, with the twins at the target kept apart.

Every person of the `training` group is scanned at one site. Travelling subjects are scanned at
every site *but* the target; what the target would have seen of them is written to a second
folder, which only scoring may read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.volume import write_image
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.scanner import SITES, Scanner, acquire

__all__ = [
    "ORIENTATIONS",
    "CohortPlan",
    "Participant",
    "draw_participants",
    "draw_pose",
    "place",
    "scan_image",
    "write_cohort",
    "write_dataset_files",
    "write_json",
    "write_scan",
]

#: Stored voxel order of the sites' images, as vendors' converters leave them.
ORIENTATIONS = {
    "COI": "LAS",
    "GE": "RAS",
    "PHILIPS": "LPS",
    "SIEMENS": "PSR",
    "PRISMA": "PSR",
    "SKYRA": "LAS",
    "MR750": "RAS",
    "OPTIMA": "LPI",
    "INGENIA": "LPS",
    "INTERA": "LIP",
    "VANTAGE": "RPS",
    "UMR": "LAS",
}


@dataclass(frozen=True)
class CohortPlan:
    """Size and appearance of a cohort.

    Attributes
    ----------
    sites : tuple of str
        Keys of `SITES`.
    target : str
        The site whose scans of the travelling subjects are kept apart as twins.
    training_per_site : int
        People scanned at one site only.
    travelling : int
        People scanned at all sites.
    modalities : tuple of str
    voxel_scale : float
        Multiplies the sites' voxel sizes: 2 makes 1 mm sites 2 mm ones, for demos and tests.
    seed : int
        The same seed gives the same bytes.
    """

    sites: tuple[str, ...] = ("COI", "GE", "PHILIPS", "SIEMENS")
    target: str = "COI"
    training_per_site: int = 5
    travelling: int = 3
    modalities: tuple[str, ...] = ("T1w", "T2w")
    voxel_scale: float = 1.0
    seed: int = 2026


@dataclass(frozen=True, eq=False)
class Participant:
    """A person of a cohort.

    Attributes
    ----------
    label : str
        Without ``sub-``.
    seed : int
        Of the anatomy.
    age : int
        Years.
    sex : {"F", "M"}
    travelling : bool
    poses : dict of site to (4, 4) float
        Where the person is scanned and how they lie there, as `place` takes it.
    """

    label: str
    seed: int
    age: int
    sex: str
    travelling: bool
    poses: dict[str, np.ndarray]

    def stem(self, site: str) -> str:
        """File names at a site begin with this."""
        return f"sub-{self.label}_ses-{site}" if self.travelling else f"sub-{self.label}"

    def folder(self, site: str, datatype: str) -> Path:
        """Folder of a site's scans, relative to the dataset."""
        session = (f"ses-{site}",) if self.travelling else ()
        return Path(f"sub-{self.label}", *session, datatype)


def draw_participants(plan: CohortPlan) -> list[Participant]:
    """Draw who belongs to a cohort; the same for all modalities.

    Parameters
    ----------
    plan : CohortPlan

    Returns
    -------
    list of Participant
        Those of one site first, then the travelling subjects.
    """
    rng = np.random.default_rng([plan.seed, 0xC0])
    people: list[tuple[str, tuple[str, ...], bool]] = []
    for site in plan.sites:
        people += [(f"{site}{i + 1:02d}", (site,), False) for i in range(plan.training_per_site)]
    elsewhere = tuple(s for s in plan.sites if s != plan.target)
    people += [(f"T{i + 1:02d}", elsewhere, True) for i in range(plan.travelling)]
    drawn = []
    for number, (label, sites, travelling) in enumerate(people):
        age, sex = int(rng.integers(20, 75)), str(rng.choice(["F", "M"]))
        poses = {site: draw_pose(rng) for site in sites}
        drawn.append(Participant(label, plan.seed * 1000 + number, age, sex, travelling, poses))
    return drawn


def place(
    anatomy: Anatomy, voxel_mm: Sequence[float], pose: np.ndarray
) -> tuple[Anatomy, np.ndarray]:
    """Put a person into a scanner.

    Parameters
    ----------
    anatomy : Anatomy
        On the reference grid.
    voxel_mm : (3,) float
        Voxel size of the scan.
    pose : (4, 4) float
        Rigid map from reference world to scanner world, RAS+ mm.

    Returns
    -------
    Anatomy
        On the scan's grid, RAS voxel order. Its `grid.affine` maps voxels to *reference* world.
    affine : (4, 4) float
        Voxels to scanner world, RAS+ mm.
    """
    grid = anatomy.grid
    extent = np.array(grid.shape) * grid.voxel_mm
    size = np.ceil(extent / np.asarray(voxel_mm)).astype(int)
    shape = (int(size[0]), int(size[1]), int(size[2]))
    scan = np.diag([*voxel_mm, 1.0])
    centre = grid.affine[:3, 3] + (np.array(grid.shape) - 1) / 2 * grid.voxel_mm
    scan[:3, 3] = centre - (np.array(shape) - 1) / 2 * np.asarray(voxel_mm)
    # Scan voxel -> scanner world -> reference world -> anatomy voxel.
    to_reference = np.linalg.inv(pose) @ scan
    to_voxel = np.linalg.inv(grid.affine) @ to_reference

    def move(data: np.ndarray, outside: float) -> np.ndarray:
        return affine_transform(
            data, to_voxel[:3, :3], to_voxel[:3, 3], shape, np.float32, order=1, cval=outside
        )

    fractions = np.stack([move(f, 0.0) for f in anatomy.fractions])
    total = fractions.sum(0)
    mask = total > 0.5
    placed = replace(
        anatomy,
        fractions=fractions / np.maximum(total, 1e-6) * mask,
        t1_factor=move(anatomy.t1_factor, 1.0),
        t2_factor=move(anatomy.t2_factor, 1.0),
        density_factor=move(anatomy.density_factor, 1.0),
        mask=mask,
        grid=ReferenceGrid("scan", shape, to_reference, float(np.mean(voxel_mm))),
    )
    return placed, scan


def draw_pose(rng: np.random.Generator) -> np.ndarray:
    """Draw how a person lies in a scanner: reference world to scanner world, RAS+ mm, (4, 4)."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", rng.normal(0, 3, 3), degrees=True).as_matrix()
    pose[:3, 3] = rng.normal(0, 4, 3)
    return pose


def _sidecar(scanner: Scanner, modality: str) -> dict[str, object]:
    sequence = scanner.sequences[modality]
    sidecar: dict[str, object] = {
        "InstitutionName": scanner.site,
        "Manufacturer": scanner.vendor,
        "ManufacturersModelName": scanner.model,
        "MagneticFieldStrength": scanner.field_tesla,
        "DeviceSerialNumber": scanner.serial,
        "RepetitionTime": sequence.repetition_ms / 1000,
        "EchoTime": sequence.echo_ms / 1000,
        "FlipAngle": sequence.flip_deg,
    }
    if sequence.inversion_ms:
        sidecar["InversionTime"] = sequence.inversion_ms / 1000
    return sidecar


def write_scan(
    data: np.ndarray, affine: np.ndarray, orientation: str, path: Path, *, whole: bool = True
) -> np.ndarray:
    """Write an image in the voxel order of a site (`scan_image`); folders are made.

    Returns
    -------
    (4, 4) float
        Affine of the written image.
    """
    image = scan_image(data, affine, orientation, whole=whole)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(image, path)
    return image.affine


def scan_image(
    data: np.ndarray, affine: np.ndarray, orientation: str, *, whole: bool = True
) -> nib.Nifti1Image:
    """An image in the voxel order of a site.

    Parameters
    ----------
    data : (X, Y, Z) or (X, Y, Z, N) float32
        RAS voxel order.
    affine : (4, 4) float
        Voxels of `data` to scanner world, RAS+ mm.
    orientation : str
        Voxel order on disk, as ``LAS``.
    whole : bool
        Store whole numbers from 0 (int16), as scanners do; else float32.
    """
    if whole:
        data = np.clip(np.rint(data), 0, np.iinfo(np.int16).max).astype(np.int16)
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(orientation))
    image = image.as_reoriented(turn)
    image.header.set_xyzt_units("mm", "sec")
    return image


def write_json(content: object, path: Path) -> None:
    """Write a sidecar or description; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_cohort(folder: Path, plan: CohortPlan) -> None:
    """Write the cohort to ``folder/bids`` and the twins to ``folder/twins``.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    plan : CohortPlan

    Notes
    -----
    ``twins/.../sub-T01_ses-GE_desc-twin_T1w.nii.gz`` is the noise-free image of the person at the
    target, on the grid of the scan it is a twin of; ``desc-ceiling`` is the same with the target's
    own noise and receive-field draw.
    """
    grid = reference_grid(plan.voxel_scale)
    bids, twins = folder / "bids", folder / "twins"
    participants = draw_participants(plan)
    for person in tqdm(participants, desc="cohort", unit="person", disable=None):
        anatomy = make_anatomy(grid, person.seed)
        for index, (site, pose) in enumerate(person.poses.items()):
            scanner = SITES[site]
            voxel_mm = [plan.voxel_scale * v for v in scanner.voxel_mm]
            placed, affine = place(anatomy, voxel_mm, pose)
            stem, where = person.stem(site), person.folder(site, "anat")
            for m, modality in enumerate(plan.modalities):
                scan_seed = person.seed * 100 + index * 10 + m
                image = acquire(placed, scanner, modality, scan_seed=scan_seed)
                target = bids / where / f"{stem}_{modality}.nii.gz"
                write_scan(image, affine, ORIENTATIONS[site], target)
                write_json(_sidecar(scanner, modality), bids / where / f"{stem}_{modality}.json")
                if person.travelling:
                    goal = SITES[plan.target]
                    for desc, own in (("twin", False), ("ceiling", True)):
                        twin = acquire(
                            placed, goal, modality,
                            scan_seed=scan_seed + 7, noise=own, scan_field=own,
                        )  # fmt: skip
                        path = twins / where / f"{stem}_desc-{desc}_{modality}.nii.gz"
                        write_scan(twin, affine, ORIENTATIONS[site], path)
    write_dataset_files(bids, participants)


def write_dataset_files(bids: Path, participants: Sequence[Participant]) -> None:
    """Write what a BIDS dataset has at its root.

    Parameters
    ----------
    bids : Path
        The dataset.
    participants : sequence of Participant
    """
    rows = ["participant_id\tage\tsex\tgroup"]
    for person in participants:
        group = "travelling" if person.travelling else "training"
        rows.append(f"sub-{person.label}\t{person.age}\t{person.sex}\t{group}")
    description = {
        "Name": "Simulated travelling subjects",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["bids_harmony phantom"],
        "GeneratedBy": [{"Name": "bids_harmony.phantom"}],
    }
    write_json(description, bids / "dataset_description.json")
    (bids / "README").write_text(
        "Simulated brains: every image was computed, nobody was scanned.\n"
        "Tissue maps: ICBM152 2009a symmetric (Fonov et al. 2011), deformed at random.\n",
        encoding="utf-8",
    )
    (bids / "participants.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    write_json(
        {
            "age": {"Description": "Simulated age", "Units": "year"},
            "sex": {"Description": "Simulated sex", "Levels": {"F": "female", "M": "male"}},
            "group": {
                "Description": "Role in the cohort",
                "Levels": {"training": "one site", "travelling": "every site but the target"},
            },
        },
        bids / "participants.json",
    )
