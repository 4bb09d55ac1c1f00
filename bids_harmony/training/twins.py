"""Synthetic twins: one person on two random scanners, for supervised pre-training.

The network learns what a transfer between scanners is: given a scan at A and the banks of A and B,
which were made from other people, it must give the noise-free scan at B. No real pair is needed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from bids_harmony.harmonizers.conditioned import Conditioned, condition_scan
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.reference import ReferenceGrid, reference_grid
from bids_harmony.imaging.slices import cut_stack
from bids_harmony.model.encoder import Encoder
from bids_harmony.model.network import Condition
from bids_harmony.model.presets import NetworkConfig
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.scanner import Scanner, acquire, random_scanner
from bids_harmony.training.site_bank import SiteBank, build_bank

__all__ = ["Batch", "TwinPlan", "TwinPool", "TwinStream", "cut_batch", "make_pool", "twin_pair"]

Array = np.ndarray

#: Seeds of people and scanners for training start here, so that no cohort shares one.
_PEOPLE, _SCANNERS = 7_000_000, 7_000_000
#: Simulating a pair costs as much as a step; its slices are enough for some.
_STEPS_PER_PAIR = 3


@dataclass(frozen=True)
class TwinPlan:
    """How many people and scanners make the twins.

    Attributes
    ----------
    training_people, bank_people, validation_people : int
        Three groups that never overlap.
    training_scanners, validation_scanners : int
        Two groups that never overlap.
    modalities : tuple of str
    voxel_mm : float
        Spacing of the reference grid.
    coded : int
        Scans per bank that are encoded.
    seed : int
    """

    training_people: int = 20
    bank_people: int = 5
    validation_people: int = 4
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
    """Slices of one twin pair: stacks, conditions, what they should become, and the brain.

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


def make_pool(plan: TwinPlan, encoder: Encoder, *, cells: int, threads: int = 1) -> TwinPool:
    """Draw people and scanners and build every scanner's banks.

    Parameters
    ----------
    plan : TwinPlan
    encoder : Encoder
    cells : int
        g of the network's grid.
    threads : int
        Banks built side by side; does not change them.
    """
    grid = reference_grid(plan.voxel_mm)
    total = plan.training_people + plan.bank_people + plan.validation_people
    first = _PEOPLE + plan.seed * 10_000
    people = [
        make_anatomy(grid, first + i)
        for i in tqdm(range(total), desc="people", unit="person", disable=None)
    ]
    bankers = people[plan.training_people : plan.training_people + plan.bank_people]
    scanners = [
        random_scanner(_SCANNERS + plan.seed * 10_000 + i)
        for i in range(plan.training_scanners + plan.validation_scanners)
    ]

    def bank(scanner: Scanner, modality: str) -> SiteBank:
        scans = []
        for person in bankers:
            data = acquire(person, scanner, modality, scan_seed=person.seed * 3 + 1)
            scale = robust_scale(data, person.mask)
            scans.append((f"person-{person.seed}", data / scale, person.mask, scale))
        return build_bank(scanner.site, modality, scans, encoder, cells=cells, coded=plan.coded)

    wanted = [(scanner, modality) for scanner in scanners for modality in plan.modalities]
    # Filters and convolutions let go of the interpreter's lock: threads use the processors.
    with ThreadPoolExecutor(max_workers=threads) as workers:
        made = workers.map(lambda pair: bank(*pair), wanted)
        built = list(tqdm(made, "simulated sites", len(wanted), unit="bank", disable=None))
    banks = {(b.site, b.modality): b for b in built}
    return TwinPool(
        plan=plan,
        grid=grid,
        training=tuple(people[: plan.training_people]),
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
        Noise-free, with the target site's mean field, scaled by the site's median scale.
    """
    data = acquire(person, source, modality, scan_seed=scan_seed)
    data = data / robust_scale(data, person.mask)
    twin = acquire(person, target, modality, scan_seed=scan_seed, noise=False, scan_field=False)
    # By the site's scale, not the person's own: how much CSF somebody has must not decide what the
    # network is told to reach.
    twin = twin / pool.banks[target.site, modality].scale
    conditioned = condition_scan(
        data,
        person.mask,
        pool.banks[source.site, modality],
        pool.banks[target.site, modality],
        voxel_mm=pool.grid.voxel_mm,
        config=config,
        use_closed_form=use_closed_form,
    )
    return conditioned, data, twin


def cut_batch(
    conditioned: Conditioned, twin: Array, indices: Array, part: int = 0, parts: int = 1
) -> Batch:
    """Cut slices of a pair, or one of the parts of them."""
    own = np.array_split(indices, parts)[part]
    # More parts than slices: a slice without weight keeps the graph in shape.
    share = cut_stack(conditioned.mask, own).sum() if len(own) else 0.0
    own = own if len(own) else indices[:1]
    stack, condition = conditioned.slices(own)
    return Batch(
        stack=stack,
        condition=condition,
        twin=torch.from_numpy(cut_stack(twin, own)),
        mask=torch.from_numpy(cut_stack(conditioned.mask, own)),
        share=float(share / cut_stack(conditioned.mask, indices).sum()),
    )


class TwinStream:
    """An endless, seeded stream of batches; step i is the same whoever draws it.

    Parameters
    ----------
    pool : TwinPool
    config : NetworkConfig
    use_closed_form : bool
    slices : int
        Slices per step, all of one pair.
    seed : int
    """

    def __init__(
        self,
        pool: TwinPool,
        config: NetworkConfig,
        *,
        use_closed_form: bool,
        slices: int,
        seed: int,
    ) -> None:
        self.pool, self.config, self.use_closed_form = pool, config, use_closed_form
        self.slices, self.seed = slices, seed
        self._last: tuple[int, Conditioned, Array] | None = None

    def part(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """Draw one of the parts of a step's batch.

        The batch is some slices of a pair that serves `_STEPS_PER_PAIR` steps.
        """
        number, turn = divmod(step, _STEPS_PER_PAIR)
        conditioned, twin = self._pair(number)
        wanted = np.flatnonzero(conditioned.mask.mean(axis=(0, 1)) >= 0.05)
        order = np.random.default_rng([self.seed, number, 1]).permutation(wanted)
        count = min(self.slices, len(wanted))
        chosen = np.sort(np.roll(order, -turn * count)[:count])
        return cut_batch(conditioned, twin, chosen, part, parts)

    def _pair(self, number: int) -> tuple[Conditioned, Array]:
        if self._last is None or self._last[0] != number:
            rng = np.random.default_rng([self.seed, number])
            scanners = self.pool.training_scanners
            first, second = rng.choice(len(scanners), 2, replace=False)
            conditioned, _, twin = twin_pair(
                self.pool,
                self.pool.training[int(rng.integers(len(self.pool.training)))],
                scanners[first],
                scanners[second],
                str(rng.choice(self.pool.plan.modalities)),
                int(rng.integers(1 << 40)),
                config=self.config,
                use_closed_form=self.use_closed_form,
            )
            self._last = number, conditioned, twin
        return self._last[1:]
