"""Who is scanned where in the travelling-subject benchmark, and what every method may see of it.

Three groups of people that never overlap: *training* (every one scanned at one site only),
*paired* (scanned at every site; for supervised methods only) and *test* (scanned at every site but
the target; what the target would have seen of them is for scoring only). Scans are
simulated on the reference grid: registration, masks and scaling are the same for every method and
free of error, so that a comparison compares methods only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import Anatomy
from bids_harmony.phantom.real_scanners import real_scanner
from bids_harmony.phantom.scanner import SITES, Scanner, acquire, without_fields
from bids_harmony.sites.prepared_scans import TrainingScan

__all__ = [
    "TARGET",
    "Case",
    "Group",
    "Plan",
    "cases",
    "groups",
    "scan_at",
    "scanners",
    "taught_needed",
    "twin_of",
    "write_training_scans",
]

Array = np.ndarray
TARGET = "COI"


@dataclass(frozen=True)
class Plan:
    """Size of one draw of the cohort.

    Attributes
    ----------
    sites : tuple of str
        Keys of `SITES` unless `calibrated` is given; the target is among them.
    modalities : tuple of str
    training_per_site : int
        People behind every site's profile.
    paired : int
        People scanned everywhere, for supervised methods.
    test : tuple of (kind, int)
        People scored, by where their anatomy comes from: ``phantom``, ``labels``, ``scans``.
    fields : bool
        False: no scanner has a receive field.
    voxel_mm : float
    seed : int
    scored : tuple of str
        Source sites at which test people are scored; all where empty.
    varied : bool
        People of profiles and tests differ in tissue, age, atrophy, iron and lesions as real
        people do (`phantom.biology`).
    calibrated : tuple of int
        Seeds of `real_scanner`, one for each of `sites`, which then are names alone; empty: the
        scanners are those of `SITES`.
    """

    sites: tuple[str, ...]
    modalities: tuple[str, ...] = ("T1w", "T2w")
    training_per_site: int = 5
    paired: int = 6
    test: tuple[tuple[str, int], ...] = (("phantom", 2),)
    fields: bool = True
    voxel_mm: float = 2.0
    seed: int = 0
    scored: tuple[str, ...] = ()
    varied: bool = False
    calibrated: tuple[int, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Sites that are harmonized."""
        return tuple(s for s in self.sites if s != TARGET)


@dataclass(frozen=True)
class Group:
    """People of one role, and where the anatomy of each comes from."""

    people: tuple[Anatomy, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """One scan to harmonize and all that is true about it.

    Attributes
    ----------
    prepared : Prepared
        What a method gets.
    subject, kind, site, modality : str
    twin : (X, Y, Z) float32
        The person at the target without noise, scaled to its own robust maximum.
    target_scan : (X, Y, Z) float32
        A real scan of the person at the target: noise and receive field of its own.
    rescan : (X, Y, Z) float32
        The same with another draw of noise and field: the scan-rescan floor.
    source_field, target_field : (X, Y, Z) float32
        Receive field of this scan, and mean field of the target site.
    person : Anatomy
    """

    prepared: Prepared
    subject: str
    kind: str
    site: str
    modality: str
    twin: Array
    target_scan: Array
    rescan: Array
    source_field: Array
    target_field: Array
    person: Anatomy

    @property
    def fractions(self) -> Array:
        """Grey matter, white matter, CSF, (3, X, Y, Z) float32."""
        return self.person.fractions


def scanners(plan: Plan) -> dict[str, Scanner]:
    """The sites' scanners, without receive fields where the plan wants none."""
    own = {site: SITES[site] for site in plan.sites if not plan.calibrated}
    if plan.calibrated:
        drawn = zip(plan.sites, plan.calibrated, strict=True)
        own = {site: real_scanner(seed) for site, seed in drawn}
    return {s: scanner if plan.fields else without_fields(scanner) for s, scanner in own.items()}


def groups(
    plan: Plan, taught: Sequence[Anatomy], test: Mapping[str, Sequence[Anatomy]]
) -> dict[str, Group]:
    """Split people into roles.

    Parameters
    ----------
    plan : Plan
    taught : sequence of Anatomy
        `taught_needed` people whom methods may see.
    test : mapping of kind to sequence of Anatomy
        People that are scored, of other sources than those.
    """
    profiles = plan.training_per_site * len(plan.sites)
    scored = [(p, kind) for kind in sorted(test) for p in test[kind]]
    roles = {
        "training": [(p, "taught") for p in taught[:profiles]],
        "paired": [(p, "taught") for p in taught[profiles : profiles + plan.paired]],
        "test": scored,
    }
    return {
        role: Group(tuple(p for p, _ in found), tuple(k for _, k in found))
        for role, found in roles.items()
    }


def taught_needed(plan: Plan) -> int:
    """How many people methods may see."""
    return plan.training_per_site * len(plan.sites) + plan.paired


def write_training_scans(
    plan: Plan, people: Mapping[str, Group], folder: Path, *, paired: bool
) -> list[TrainingScan]:
    """Scan the training people, one site each; with `paired` also the paired people everywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    machines = scanners(plan)
    written = []
    training = people["training"].people
    shots = [
        (person, site)
        for index, site in enumerate(plan.sites)
        for person in training[index * plan.training_per_site :][: plan.training_per_site]
    ]
    if paired:
        shots += [(person, site) for person in people["paired"].people for site in plan.sites]
    for person, site in shots:
        for modality in plan.modalities:
            prepared = _scan(person, machines[site], modality, _seed(plan, person, site, modality))
            label = f"sub-{person.seed}_ses-{site}_{modality}"
            path = folder / f"{label}.npz"
            np.savez(path, data=prepared.data, mask=prepared.mask, scale=prepared.scale)
            written.append(TrainingScan(label, str(person.seed), modality, site, path))
    return written


def cases(plan: Plan, group: Group, *, sites: Sequence[str], modality: str) -> Iterator[Case]:
    """Scan every person of a group at the given sites, with all that is true about the scans."""
    machines = scanners(plan)
    goal = machines[TARGET]
    for person, kind in zip(group.people, group.kinds, strict=True):
        seed = _seed(plan, person, TARGET, modality)
        twin = twin_of(plan, person, modality)
        scans = [_scan(person, goal, modality, seed + draw).data for draw in (1, 2)]
        target_field = _field(person, goal, modality, seed, scan_field=False)
        for site in sites:
            own = _seed(plan, person, site, modality)
            yield Case(
                prepared=scan_at(plan, person, site, modality),
                subject=str(person.seed),
                kind=kind,
                site=site,
                modality=modality,
                twin=twin,
                target_scan=scans[0],
                rescan=scans[1],
                source_field=_field(person, machines[site], modality, own, scan_field=True),
                target_field=target_field,
                person=person,
            )


def scan_at(plan: Plan, person: Anatomy, site: str, modality: str) -> Prepared:
    """A person's scan at a site; at the target, a real one with noise and field of its own."""
    seed = _seed(plan, person, site, modality) + (site == TARGET)
    return _scan(person, scanners(plan)[site], modality, seed)


def twin_of(plan: Plan, person: Anatomy, modality: str) -> Array:
    """The person at the target without noise, scaled to its own robust maximum."""
    seed = _seed(plan, person, TARGET, modality)
    goal = scanners(plan)[TARGET]
    return _scaled(
        acquire(person, goal, modality, scan_seed=seed, noise=False, scan_field=False), person
    )


def _seed(plan: Plan, person: Anatomy, site: str, modality: str) -> int:
    place = (plan.sites if plan.calibrated else sorted(SITES)).index(site)
    words = [plan.seed, person.seed, place, len(modality), modality == "T1w"]
    return int(np.random.default_rng(words).integers(1 << 40))


def _scaled(data: Array, person: Anatomy) -> Array:
    return (data / robust_scale(data, person.mask)).astype(np.float32)


def _scan(person: Anatomy, scanner: Scanner, modality: str, seed: int) -> Prepared:
    data = acquire(person, scanner, modality, scan_seed=seed)
    scale = robust_scale(data, person.mask)
    grid: ReferenceGrid = reference_grid(person.grid.voxel_mm)
    return Prepared((data / scale).astype(np.float32), person.mask, float(scale), np.eye(4), grid)


def _field(
    person: Anatomy, scanner: Scanner, modality: str, seed: int, *, scan_field: bool
) -> Array:
    """The receive field alone: the noise-free scan over what it would be without any field."""
    with_field, without = (
        acquire(person, each, modality, scan_seed=seed, noise=False, scan_field=scan_field)
        for each in (scanner, replace(scanner, bias_log_sd=0.0))
    )
    # What a file holds as 0 shows no field.
    known = (without > 0) & (with_field > 0)
    ratio = np.where(known, with_field / np.maximum(without, 1e-6), 1)
    return np.asarray(ratio, dtype=np.float32)
