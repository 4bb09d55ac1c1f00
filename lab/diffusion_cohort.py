"""Diffusion series of a travelling-subject cohort, with true maps and twins kept apart.

People, poses and the dataset's own files are those of `cohort`: both writers may fill one folder,
in either order, and a person's T1w scan then lies as their diffusion series does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.cohort import (
    ORIENTATIONS,
    CohortPlan,
    draw_participants,
    place,
    write_dataset_files,
    write_json,
    write_scan,
)
from lab.diffusion import acquire_series, truth_fa
from lab.diffusion_scanner import (
    DIFFUSION_SITES,
    DiffusionScanner,
    GradientScheme,
    gradient_scheme,
)
from lab.microstructure import Microstructure, make_microstructure, placed

__all__ = ["fsl_directions", "write_diffusion_cohort"]

Array = np.ndarray

#: Fewer directions than these do not determine a tensor safely.
FEWEST_DIRECTIONS = 10


def fsl_directions(directions: Array, affine: Array) -> Array:
    """Turn directions in the world into those of a bvec file.

    Parameters
    ----------
    directions : (N, 3) float
        Unit vectors in scanner world, RAS+.
    affine : (4, 4) float
        Voxels of the stored image to scanner world.

    Returns
    -------
    (N, 3) float
        Along the voxel axes of the stored image; the first is reversed if the affine's
        determinant is positive, as FSL has it.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    turned = directions @ axes
    if np.linalg.det(axes) > 0:
        turned[:, 0] *= -1
    # Minus nought would be written as such.
    return turned + 0.0


def write_diffusion_cohort(
    folder: Path,
    plan: CohortPlan,
    *,
    direction_share: float = 1.0,
) -> None:
    """Write series to ``folder/bids`` and the truth to ``folder/twins``.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    plan : CohortPlan
        Its modalities are not used; its voxel scale multiplies those of `DIFFUSION_SITES`.
    direction_share : float
        Multiplies the sites' numbers of directions, for demos and tests; ten are kept at least.

    Raises
    ------
    ValueError
        A site of the plan is not in `DIFFUSION_SITES`.

    Notes
    -----
    ``twins`` holds, on the grid of each scan: true maps of everyone (``model-noddi``,
    ``desc-truth``; the fibres' directions are in scanner world, RAS+), and of travelling subjects
    the series that the target would have taken with the scan's own gradients (``desc-twin``
    without noise, ``desc-ceiling`` with the target's noise, drift and receive-field draw) and the
    tensor maps of the noise-free one.
    """
    unknown = sorted({*plan.sites, plan.target} - set(DIFFUSION_SITES))
    if unknown:
        raise ValueError(f"sites must be among {', '.join(DIFFUSION_SITES)}; got {unknown}")
    grid = reference_grid(plan.voxel_scale)
    bids, twins = folder / "bids", folder / "twins"
    participants = draw_participants(plan)
    for participant in tqdm(participants, desc="diffusion", unit="person", disable=None):
        anatomy = make_anatomy(grid, participant.seed)
        truth = make_microstructure(anatomy, age=participant.age)
        for index, (site, pose) in enumerate(participant.poses.items()):
            scanner = _thinned(DIFFUSION_SITES[site], direction_share)
            gradients = gradient_scheme(scanner)
            person, affine = place(anatomy, [plan.voxel_scale * v for v in scanner.voxel_mm], pose)
            own_truth = placed(truth, person)
            place_of = participant.folder(site, "dwi") / participant.stem(site)
            seed = participant.seed * 100 + index * 10 + 9
            series = acquire_series(person, own_truth, scanner, gradients, seed)
            _write_series(series, affine, site, gradients, Path(f"{bids / place_of}_dwi"))
            write_json(_sidecar(scanner), Path(f"{bids / place_of}_dwi.json"))
            for name, data in _truth_maps(own_truth, person).items():
                path = Path(f"{twins / place_of}_model-noddi_param-{name}_desc-truth")
                _write_map(data, affine, site, path)
            if not participant.travelling:
                continue
            goal = DIFFUSION_SITES[plan.target]
            for desc, own in (("twin", False), ("ceiling", True)):
                twin = acquire_series(
                    person, own_truth, goal, gradients, seed + 7, own, scan_field=own
                )
                path = Path(f"{twins / place_of}_desc-{desc}_dwi")
                _write_series(twin, affine, site, gradients, path)
            tensor = truth_fa(person, own_truth, gradients, goal)
            for name, data in zip(("fa", "md", "v1"), tensor, strict=True):
                path = Path(f"{twins / place_of}_model-tensor_param-{name}_desc-twin")
                _write_map(data, affine, site, path)
    write_dataset_files(bids, participants)


def _thinned(scanner: DiffusionScanner, share: float) -> DiffusionScanner:
    shells = tuple(
        (b, min(count, max(FEWEST_DIRECTIONS, round(share * count))))
        for b, count in scanner.shells
    )
    return replace(scanner, shells=shells)


def _truth_maps(truth: Microstructure, person: Anatomy) -> dict[str, Array]:
    """Maps by the name of their parameter, zero outside the brain; vectors last."""
    inside = person.mask
    maps = {"ndi": truth.ndi, "odi": truth.odi, "fwf": truth.fwf, "crossing": truth.second_share}
    vectors = {"direction": truth.fibres[0], "direction2": truth.fibres[1]}
    return {name: data * inside for name, data in maps.items()} | {
        name: np.moveaxis(data * inside, 0, -1) for name, data in vectors.items()
    }


def _sidecar(scanner: DiffusionScanner) -> dict[str, object]:
    return {
        "InstitutionName": scanner.site,
        "Manufacturer": scanner.vendor,
        "ManufacturersModelName": scanner.model,
        "MagneticFieldStrength": scanner.field_tesla,
        "DeviceSerialNumber": scanner.serial,
        "RepetitionTime": scanner.repetition_ms / 1000,
        "EchoTime": scanner.echo_ms / 1000,
        "FlipAngle": 90.0,
    }


def _write_series(
    series: Array, affine: Array, site: str, gradients: GradientScheme, stem: Path
) -> None:
    stored = write_scan(series, affine, ORIENTATIONS[site], Path(f"{stem}.nii.gz"))
    np.savetxt(f"{stem}.bval", gradients.b_values[None], fmt="%d")
    np.savetxt(f"{stem}.bvec", fsl_directions(gradients.directions, stored).T, fmt="%.6f")


def _write_map(data: Array, affine: Array, site: str, stem: Path) -> None:
    path = Path(f"{stem}_dwimap.nii.gz")
    write_scan(data.astype(np.float32), affine, ORIENTATIONS[site], path, whole=False)
