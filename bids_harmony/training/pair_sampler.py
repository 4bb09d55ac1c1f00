"""Unpaired slices for training: a source, and another person of the target site at that height.

All modalities and sites mix in one batch; a source and its target share the modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bids_harmony.methods.conditioned import Conditioned, condition_scan
from bids_harmony.model.network import Condition
from bids_harmony.model.presets import NetworkConfig
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.prepared_scans import PreparedScan
from bids_harmony.training.target_statistics import ChannelStatistics, TargetStatistics, together

__all__ = ["Pairing", "Pairs", "UnpairedSampler"]

Array = np.ndarray
_Z_JITTER = 2
#: Conditioned scans kept in memory; one 1 mm brain takes about 40 MB.
KEPT = 24


@dataclass(frozen=True)
class Pairing:
    """How sources and targets are put together.

    Attributes
    ----------
    batch : int
        Slices per step.
    slices_per_pair : int
        Slices of a step that share source scan and target site. Preparing a scan for a target
        costs as much as a step where the network has local maps; without them 1 mixes best.
    same_site_share : float
        Share of the sources whose target is their own site.
    art_target : {"slice", "prototype"}
        Statistics of the paired slice, or the mean of the target site's scans at that height.
    seed : int
    """

    batch: int = 8
    slices_per_pair: int = 8
    same_site_share: float = 0.1
    art_target: str = "slice"
    seed: int = 0


@dataclass(frozen=True)
class Pairs:
    """Slices of sources, and what they shall look like.

    Attributes
    ----------
    stack : (B, 3, X, Y) tensor
    condition : Condition
    target : list of pairs of (B, C) tensors
        Channel means and standard deviations per encoder tap.
    same_site : (B,) bool tensor
    step : int
        All parts of a step's batch draw the same positions for the anatomical loss.
    share : float
        Part of the step's batch.
    """

    stack: Tensor
    condition: Condition
    target: ChannelStatistics
    same_site: Tensor
    step: int
    share: float = 1.0

    def to(self, device: torch.device) -> Pairs:
        """The same on another device."""
        return Pairs(
            self.stack.to(device),
            self.condition.to(device),
            [(mean.to(device), std.to(device)) for mean, std in self.target],
            self.same_site.to(device),
            self.step,
            self.share,
        )


@dataclass(frozen=True, eq=False)
class _Row:
    """One slice of a batch."""

    source: PreparedScan
    height: int
    target_site: str
    goal: PreparedScan
    matched: int


@dataclass(eq=False)
class UnpairedSampler:
    """Walks over all slices of all sources, once per epoch, in an order of its own.

    The same seed and step give the same pairs. Sources are scans that somebody else's scan of the
    same modality at another site can be a target for.

    Attributes
    ----------
    scans : sequence of PreparedScan
    profiles : mapping of (site, modality) to ImageProfile
    statistics : TargetStatistics
    config : NetworkConfig
        Decides what conditions hold.
    voxel_mm : float
    use_closed_form : bool
    pairing : Pairing
    """

    scans: Sequence[PreparedScan]
    profiles: Mapping[tuple[str, str], ImageProfile]
    statistics: TargetStatistics
    config: NetworkConfig
    voxel_mm: float
    use_closed_form: bool
    pairing: Pairing
    conditioned: dict[tuple[str, str], Conditioned] = field(default_factory=dict)
    _walk: tuple[int, list[tuple[PreparedScan, Array]]] | None = None

    @property
    def possible(self) -> bool:
        """Whether there are two sites, with different people, of one modality."""
        return bool(self.sources)

    @cached_property
    def sources(self) -> list[PreparedScan]:
        """Scans with a target at another site."""
        return [s for s in self.scans if len(s.tall) and self._target_sites(s)]

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every source slice has been drawn once."""
        groups = sum(-(-len(s.tall) // self._group) for s in self.sources)
        return -(-groups // self._groups_per_step)

    @property
    def _group(self) -> int:
        return min(self.pairing.slices_per_pair, self.pairing.batch)

    @property
    def _groups_per_step(self) -> int:
        return max(1, self.pairing.batch // self._group)

    def part(self, step: int, part: int = 0, parts: int = 1) -> Pairs:
        """Draw one of the parts of a step's batch."""
        rows = self.rows(step)
        own = [rows[i] for i in np.array_split(np.arange(len(rows)), parts)[part]]
        share = len(own) / len(rows)
        # More parts than slices: a slice without weight keeps the graph in shape.
        own = own or rows[:1]
        stacks, conditions, statistics = [], [], []
        for group in _runs(own):
            first, heights = group[0], np.array([row.height for row in group])
            stack, condition = self._condition(first.source, first.target_site).slices(heights)
            stacks.append(stack)
            conditions.append(condition)
            if self.pairing.art_target == "prototype":
                goals = self._scans_of[first.source.modality, first.target_site]
                statistics.append(self.statistics.of_site(goals, [row.matched for row in group]))
            else:
                statistics.append(
                    self.statistics.of_slices(first.goal, [row.matched for row in group])
                )
        same = torch.tensor([row.source.site == row.target_site for row in own])
        joined = Condition.joined(conditions)
        return Pairs(torch.cat(stacks), joined, together(statistics), same, step, share)

    @cached_property
    def _scans_of(self) -> dict[tuple[str, str], list[PreparedScan]]:
        groups: dict[tuple[str, str], list[PreparedScan]] = {}
        for scan in self.scans:
            groups.setdefault((scan.modality, scan.site), []).append(scan)
        return groups

    def _goals(self, source: PreparedScan, site: str) -> list[PreparedScan]:
        own = self._scans_of.get((source.modality, site), [])
        return [s for s in own if s.subject != source.subject and len(s.tall)]

    def _target_sites(self, source: PreparedScan) -> list[str]:
        sites = sorted(site for kind, site in self._scans_of if kind == source.modality)
        return [s for s in sites if s != source.site and self._goals(source, s)]

    def rows(self, step: int) -> list[_Row]:
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._walk is None or self._walk[0] != epoch:
            self._walk = epoch, self._groups_of(epoch)
        first = place * self._groups_per_step
        groups = self._walk[1][first : first + self._groups_per_step]
        rng = np.random.default_rng([self.pairing.seed, 0xAE, step])
        rows = []
        for source, heights in groups:
            same = rng.random() < self.pairing.same_site_share
            own = self._goals(source, source.site)
            site = str(rng.choice(self._target_sites(source)))
            site, goals = (source.site, own) if same and own else (site, [])
            goals = goals or self._goals(source, site)
            goal = goals[int(rng.integers(len(goals)))]
            jitter = rng.integers(-_Z_JITTER, _Z_JITTER + 1, len(heights))
            matched = goal.nearest(heights + jitter)
            rows += [
                _Row(source, int(k), site, goal, int(m))
                for k, m in zip(heights, matched, strict=True)
            ]
        return rows

    def _groups_of(self, epoch: int) -> list[tuple[PreparedScan, Array]]:
        rng = np.random.default_rng([self.pairing.seed, 0xAD, epoch])
        groups = []
        for source in self.sources:
            heights = rng.permutation(source.tall)
            for start in range(0, len(heights), self._group):
                groups.append((source, np.sort(heights[start : start + self._group])))
        return [groups[i] for i in rng.permutation(len(groups))]

    def _condition(self, source: PreparedScan, target_site: str) -> Conditioned:
        key = (source.label, target_site)
        if key not in self.conditioned:
            while len(self.conditioned) >= KEPT:
                self.conditioned.pop(next(iter(self.conditioned)))
            self.conditioned[key] = condition_scan(
                source.data,
                source.mask,
                self.profiles[source.site, source.modality],
                self.profiles[target_site, source.modality],
                voxel_mm=self.voxel_mm,
                config=self.config,
                use_closed_form=self.use_closed_form,
            )
        return self.conditioned[key]


def _runs(rows: Sequence[_Row]) -> list[list[_Row]]:
    """Neighbours that share source, target site and goal."""
    runs: list[list[_Row]] = []
    for row in rows:
        last = runs[-1][-1] if runs else None
        if last and (last.source, last.target_site, last.goal) == (
            row.source, row.target_site, row.goal,
        ):  # fmt: skip
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs
