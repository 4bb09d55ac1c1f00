"""Synthetic twins: one person on two random scanners, for supervised pre-training.

The network learns what a transfer between scanners is: given a scan at A and the banks of A and B,
which were made from other people, it must give the noise-free scan at B. No real pair is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from bids_harmony.harmonizers.conditioned import Conditioned, condition_scan
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.reference import ReferenceGrid, reference_grid
from bids_harmony.model.encoder import Encoder
from bids_harmony.model.network import Condition
from bids_harmony.model.presets import NetworkConfig
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.pathology import with_lesions
from bids_harmony.phantom.people import SourceMaps, draw_person
from bids_harmony.phantom.scanner import Scanner, acquire, random_scanner
from bids_harmony.training.site_bank import SiteBank, build_bank

__all__ = ["Batch", "TwinPlan", "TwinPool", "make_pool", "twin_pair"]

Array = np.ndarray

#: Seeds of people and scanners for training start here, so that no cohort shares one.
_PEOPLE, _SCANNERS = 7_000_000, 7_000_000


@dataclass(frozen=True)
class TwinPlan:
    """How many people and scanners make the twins.

    Attributes
    ----------
    training_people, bank_people, validation_people : int
        Three groups that never overlap. Half of the training people have lesions.
    scans_per_bank : int
        Every simulated site draws so many of the bank people for itself: real sites have not
        scanned the same people, and their mean images differ in anatomy, too.
    people_per_source : int
        Training people drawn from every source of tissue maps besides the template; a third as
        many more are for banks.
    training_scanners, validation_scanners : int
        Two groups that never overlap.
    modalities : tuple of str
        Pairs are drawn evenly; a modality that is named twice counts twice.
    voxel_mm : float
        Spacing of the reference grid.
    coded : int
        Scans per bank that are encoded.
    seed : int
    """

    training_people: int = 20
    bank_people: int = 16
    scans_per_bank: int = 6
    validation_people: int = 4
    people_per_source: int = 6
    training_scanners: int = 32
    validation_scanners: int = 6
    modalities: tuple[str, ...] = ("T1w", "T2w")
    voxel_mm: float = 2.0
    coded: int = 2
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TwinPool:
    """People, scanners and their banks."""

    plan: TwinPlan
    grid: ReferenceGrid
    training: tuple[Anatomy, ...]
    validation: tuple[Anatomy, ...]
    scanners: tuple[Scanner, ...]
    banks: dict[tuple[str, str], SiteBank]

    @property
    def training_scanners(self) -> tuple[Scanner, ...]:
        """Scanners that training may draw."""
        return self.scanners[: self.plan.training_scanners]

    @property
    def validation_scanners(self) -> tuple[Scanner, ...]:
        """Scanners that only validation sees."""
        return self.scanners[self.plan.training_scanners :]


@dataclass(frozen=True)
class Batch:
    """Slices of twin pairs: stacks, conditions, what they should become, and the brain.

    `share` is the part of the step's brain voxels that these slices hold.
    """

    stack: torch.Tensor
    condition: Condition
    twin: torch.Tensor
    mask: torch.Tensor
    share: float = 1.0

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(
            self.stack.to(device),
            self.condition.to(device),
            self.twin.to(device),
            self.mask.to(device),
            self.share,
        )


def make_pool(
    plan: TwinPlan,
    encoder: Encoder,
    *,
    cells: int,
    threads: int = 1,
    sources: Sequence[SourceMaps] = (),
) -> TwinPool:
    """Draw people and scanners and build every scanner's banks.

    Parameters
    ----------
    plan : TwinPlan
    encoder : Encoder
    cells : int
        g of the network's grid.
    threads : int
        Banks built side by side; does not change them.
    sources : sequence of SourceMaps
        Tissue of other brains than the template's, on the reference grid of the plan; their people
        train and fill banks, validation stays with people of the template.
    """
    grid = reference_grid(plan.voxel_mm)
    total = plan.training_people + plan.bank_people + plan.validation_people
    first = _PEOPLE + plan.seed * 10_000
    people = [
        make_anatomy(grid, first + i)
        for i in tqdm(range(total), desc="people", unit="person", disable=None)
    ]
    bankers = people[plan.training_people : plan.training_people + plan.bank_people]
    training = people[: plan.training_people]
    for number, maps in enumerate(sources):
        seed = first + 5_000 + number * 100
        more = [draw_person(maps, seed + i) for i in range(plan.people_per_source * 4 // 3)]
        training += more[: plan.people_per_source]
        bankers += more[plan.people_per_source :]
    # Every second one is ill: what is abnormal in a person must survive.
    training = [with_lesions(p, p.seed) if i % 2 else p for i, p in enumerate(training)]
    scanners = [
        random_scanner(_SCANNERS + plan.seed * 10_000 + i)
        for i in range(plan.training_scanners + plan.validation_scanners)
    ]

    def bank(scanner: Scanner, modality: str) -> SiteBank:
        scans = []
        drawn = np.random.default_rng([plan.seed, scanner.bias_seed, 0xBA])
        count = min(plan.scans_per_bank, len(bankers))
        for index in sorted(drawn.choice(len(bankers), count, replace=False)):
            person = bankers[index]
            data = acquire(person, scanner, modality, scan_seed=person.seed * 3 + 1)
            scale = robust_scale(data, person.mask)
            scans.append((f"person-{person.seed}", data / scale, person.mask, scale))
        return build_bank(
            scanner.site,
            modality,
            scans,
            encoder,
            cells=cells,
            voxel_mm=plan.voxel_mm,
            coded=plan.coded,
        )

    kinds = sorted(set(plan.modalities))
    wanted = [(scanner, modality) for scanner in scanners for modality in kinds]
    # Filters and convolutions let go of the interpreter's lock: threads use the processors.
    with ThreadPoolExecutor(max_workers=threads) as workers:
        made = workers.map(lambda pair: bank(*pair), wanted)
        built = list(tqdm(made, "simulated sites", len(wanted), unit="bank", disable=None))
    banks = {(b.site, b.modality): b for b in built}
    return TwinPool(
        plan=plan,
        grid=grid,
        training=tuple(training),
        validation=tuple(people[plan.training_people + plan.bank_people :]),
        scanners=tuple(scanners),
        banks=banks,
    )


def twin_pair(
    pool: TwinPool,
    person: Anatomy,
    source: Scanner,
    target: Scanner,
    modality: str,
    scan_seed: int,
    *,
    config: NetworkConfig,
    use_closed_form: bool,
) -> tuple[Conditioned, Array, Array]:
    """Scan a person at both scanners.

    Returns
    -------
    conditioned : Conditioned
        The noisy scan at the source, ready for the network.
    scan : (X, Y, Z) float32
        The same, scaled, before the closed form.
    twin : (X, Y, Z) float32
        Noise-free, with the target site's mean field, at the level of the conditioned image (least
        squares): gain is arbitrary in MRI, and the output keeps the scan's own.
    """
    data = acquire(person, source, modality, scan_seed=scan_seed)
    data = data / robust_scale(data, person.mask)
    twin = acquire(person, target, modality, scan_seed=scan_seed, noise=False, scan_field=False)
    conditioned = condition_scan(
        data,
        person.mask,
        pool.banks[source.site, modality],
        pool.banks[target.site, modality],
        voxel_mm=pool.grid.voxel_mm,
        config=config,
        use_closed_form=use_closed_form,
    )
    inside = person.mask
    level = np.vdot(twin[inside], conditioned.image[inside]) / np.vdot(twin[inside], twin[inside])
    return conditioned, data, twin * np.float32(level)
