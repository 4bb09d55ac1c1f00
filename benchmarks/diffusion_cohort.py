"""Travelling subjects with diffusion series: simulated once, kept as voxels of the brain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import Series
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.cohort import CohortPlan, Participant, draw_participants, place
from lab.diffusion import acquire_series
from lab.diffusion_scanner import (
    DIFFUSION_SITES,
    DiffusionScanner,
    GradientScheme,
    gradient_scheme,
)
from lab.microstructure import Microstructure, make_microstructure, placed
from lab.real_sized_sites import NEURITE_T2_RATIO, REAL_SIZED_SITES

__all__ = [
    "COHORTS",
    "SIMULATED",
    "TARGET",
    "TRAVELLING",
    "Cohort",
    "Scan",
    "ages",
    "bank_scans",
    "keep_series",
    "load_series",
    "simulate",
    "travelling_scans",
]

Array = np.ndarray

PEOPLE_PER_SITE, TRAVELLING, SEED = 5, 3, 77
#: The noise-free twin is stored with four times the gain: whole numbers would round too coarsely.
TWIN_GAIN = 4


@dataclass(frozen=True, eq=False)
class Cohort:
    """Scanners that travelling people visit.

    Attributes
    ----------
    name : str
    sites : dict of str to DiffusionScanner
    target : str
    t2_ratio : float
        Of the people's neurites, as in `Microstructure`.
    """

    name: str
    sites: dict[str, DiffusionScanner]
    target: str
    t2_ratio: float = 1.0

    @property
    def others(self) -> tuple[str, ...]:
        """All sites but the target."""
        return tuple(site for site in self.sites if site != self.target)

    @property
    def file_name(self) -> str:
        """Stem of its folder and of its results."""
        return (
            "diffusion" if self.name == "simulated" else f"diffusion_{self.name}".replace("-", "_")
        )

    @property
    def plan(self) -> CohortPlan:
        """Who is scanned where."""
        return CohortPlan(tuple(self.sites), self.target, PEOPLE_PER_SITE, TRAVELLING, seed=SEED)


SIMULATED = Cohort("simulated", DIFFUSION_SITES, "COI")
REAL_SIZED = Cohort("real-sized", REAL_SIZED_SITES, next(iter(REAL_SIZED_SITES)), NEURITE_T2_RATIO)
COHORTS = {cohort.name: cohort for cohort in (SIMULATED, REAL_SIZED)}
TARGET = SIMULATED.target


@dataclass(frozen=True, eq=False)
class Scan:
    """One series.

    Attributes
    ----------
    label, site : str
    series : Series
    gradients : Gradients
        Directions along the axes of the grid.
    mask : (X, Y, Z) bool
    world : (4, 4) float
        Scanner RAS+ mm to reference RAS+ mm: the pose in which the person was put there.
    truth : dict of str to (V,) float32
        True maps in the brain's voxels, of travelling subjects.
    """

    label: str
    site: str
    series: Series
    gradients: Gradients
    mask: Array
    world: Array
    truth: dict[str, Array]

    @property
    def brain(self) -> BrainMask:
        """The mask as the application has it."""
        return BrainMask(self.mask, "given")

    def voxels(self) -> Array:
        """Signal in the brain, (V, N) float32."""
        return self.series.signal(self.mask)


def simulate(folder: Path, cohort: Cohort = SIMULATED) -> None:
    """Draw a cohort, or what of it is missing, into a folder of ``.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = reference_grid(2.0)
    for person in tqdm(draw_participants(cohort.plan), "people", disable=None):
        names = [_name("c" if person.travelling else "b", site, person) for site in person.poses]
        if all((folder / f"{name}.npz").is_file() for name in names):
            continue
        anatomy = make_anatomy(grid, person.seed)
        truth = make_microstructure(anatomy, age=person.age)
        truth = replace(truth, t2_ratio=cohort.t2_ratio)
        for index in range(len(person.poses)):
            _simulate_visit(folder, cohort, person, index, anatomy, truth)


def _simulate_visit(
    folder: Path,
    cohort: Cohort,
    person: Participant,
    index: int,
    anatomy: Anatomy,
    truth: Microstructure,
) -> None:
    site, pose = list(person.poses.items())[index]
    scanner = cohort.sites[site]
    scheme = gradient_scheme(scanner)
    lying, affine = place(anatomy, scanner.voxel_mm, pose)
    own = placed(truth, lying)
    seed = person.seed * 100 + index * 10 + 9

    def keep(kind: str, series: Array, **more: Array) -> None:
        path = folder / f"{_name(kind, site, person)}.npz"
        keep_series(path, series, lying.mask, affine, pose, scheme, **more)

    series = acquire_series(lying, own, scanner, scheme, seed)
    if not person.travelling:
        keep("b", series)
        return
    maps = {"fr": lying.fractions[:, lying.mask], "ndi": own.ndi[lying.mask]}
    maps |= {"odi": own.odi[lying.mask], "fwf": own.fwf[lying.mask]}
    keep("t", series, **{k: v.astype(np.float16) for k, v in maps.items()})
    goal = cohort.sites[cohort.target]
    twin = acquire_series(lying, own, goal, scheme, seed + 7, False, scan_field=False)
    keep("w", TWIN_GAIN * twin)
    keep("c", acquire_series(lying, own, goal, scheme, seed + 7, True, scan_field=True))


def keep_series(
    path: Path,
    series: Array,
    mask: Array,
    affine: Array,
    pose: Array,
    scheme: GradientScheme,
    **more: Array,
) -> None:
    """Write a series as voxels of the brain, whole numbers as scanners store them."""
    voxels = np.clip(np.rint(series[mask]), 0, np.iinfo(np.int16).max).astype(np.int16)
    np.savez(
        path, vox=voxels, mask=np.packbits(mask), shape=mask.shape, affine=affine, pose=pose,
        b=scheme.b_values, d=scheme.directions, **more,
    )  # fmt: skip


def ages() -> dict[str, int]:
    """Years of everyone whom one site has scanned, by the label of the scan."""
    drawn = draw_participants(SIMULATED.plan)
    return {f"b-{p.label}": p.age for p in drawn if not p.travelling}


def _name(kind: str, site: str, person: Participant) -> str:
    return f"{kind}_{site}_{person.label}"


def bank_scans(folder: Path, site: str) -> Iterator[Scan]:
    """The people whom only this site has scanned."""
    for path in sorted(folder.glob(f"b_{site}_*.npz")):
        yield load_series(path)


def travelling_scans(folder: Path, person: str, site: str) -> dict[str, Scan]:
    """A travelling subject at a site.

    Returns
    -------
    dict
        ``scan``; ``twin``, what the target would have taken without noise; ``rescan``, the same
        with the target's noise and field. All on one grid, with the same gradients.
    """
    kinds = {"scan": "t", "twin": "w", "rescan": "c"}
    return {
        name: load_series(folder / f"{kind}_{site}_{person}.npz") for name, kind in kinds.items()
    }


def load_series(path: Path) -> Scan:
    """Read what `keep_series` wrote; the file's name is kind, site and label."""
    with np.load(path, allow_pickle=False) as file:
        shape = tuple(int(n) for n in file["shape"])
        mask = np.unpackbits(file["mask"])[: np.prod(shape)].reshape(shape).astype(bool)
        raw = np.zeros((*shape, file["vox"].shape[1]), dtype=np.int16)
        raw[mask] = file["vox"]
        truth = {k: file[k].astype(np.float32) for k in ("fr", "ndi", "odi", "fwf") if k in file}
        image = nib.Nifti1Image(raw, file["affine"])
        series = Series(raw, 1.0, 0.0, image, path)
        gradients = Gradients(file["b"], file["d"])
        kind, site, label = path.stem.split("_")
        world = np.linalg.inv(file["pose"])
    return Scan(f"{kind}-{label}", site, series, gradients, mask, world, truth)
