"""Second stage: adaptation to a dataset's own sites from unpaired scans, with the paper's losses.

Source and target of a pair are different people (method: Zhu et al. 2026, eq. 3 and 4). Anatomy is
compared with the network's own input, so that the closed form's contrast change is not punished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bids_harmony.harmonizers.conditioned import Conditioned, condition_scan
from bids_harmony.imaging.slices import cut_stack
from bids_harmony.model.encoder import Encoder
from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.training.losses import (
    LossBalance,
    anatomical_consistency,
    artefact_consistency,
    balance_losses,
    channel_statistics,
    straight_through_clamp,
)
from bids_harmony.training.site_bank import SiteBank

__all__ = ["Pair", "PreparedScan", "UnpairedSampler", "balanced", "pair_losses"]

Array = np.ndarray
_Z_JITTER = 2
_SAME_SITE = 0.1
#: Conditioned scans kept in memory; one 1 mm brain takes about 40 MB.
_KEPT = 24


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A scan on the reference grid, as training holds it.

    Attributes
    ----------
    label, subject, modality, site : str
    data : (X, Y, Z) float32
        Scaled, 0 outside the mask.
    mask : (X, Y, Z) bool
    scale : float
    """

    label: str
    subject: str
    modality: str
    site: str
    data: Array
    mask: Array
    scale: float

    @cached_property
    def tall(self) -> Array:
        """Slices with at least 5 % of brain."""
        return np.flatnonzero(self.mask.mean(axis=(0, 1)) >= 0.05)


@dataclass(frozen=True)
class Pair:
    """Slices of a source scan and matched slices of another person at the target site."""

    stack: Tensor
    condition: Condition
    target: list[tuple[Tensor, Tensor]]


@dataclass(eq=False)
class UnpairedSampler:
    """Draws pairs; the same seed and step give the same pair.

    Attributes
    ----------
    scans : sequence of PreparedScan
    banks : mapping of (site, modality) to SiteBank
    network : IHFNetwork
        Its configuration decides what conditions hold.
    encoder : Encoder
    voxel_mm : float
    use_closed_form : bool
    slices : int
        Per pair.
    seed : int
    """

    scans: Sequence[PreparedScan]
    banks: Mapping[tuple[str, str], SiteBank]
    network: IHFNetwork
    encoder: Encoder
    voxel_mm: float
    use_closed_form: bool
    slices: int
    seed: int
    _conditioned: dict[tuple[str, str], Conditioned] = field(default_factory=dict)
    _statistics: dict[tuple[str, int], list[tuple[Tensor, Tensor]]] = field(default_factory=dict)

    @property
    def possible(self) -> bool:
        """Whether there are two sites, with different people, of one modality."""
        return bool(self._modalities)

    @cached_property
    def _modalities(self) -> list[str]:
        kinds = sorted({scan.modality for scan in self.scans})
        return [
            kind
            for kind in kinds
            if len({s.site for s in self.scans if s.modality == kind}) > 1
            and len({s.subject for s in self.scans if s.modality == kind}) > 1
        ]

    def draw(self, step: int) -> Pair:
        """Draw the pair of a step."""
        rng = np.random.default_rng([self.seed, 0xAD, step])
        while True:
            modality = str(rng.choice(self._modalities))
            own = [s for s in self.scans if s.modality == modality]
            sites = sorted({s.site for s in own})
            source_site = str(rng.choice(sites))
            others = [s for s in sites if s != source_site]
            target_site = source_site if rng.random() < _SAME_SITE else str(rng.choice(others))
            sources = [s for s in own if s.site == source_site]
            source = sources[int(rng.integers(len(sources)))]
            goals = [s for s in own if s.site == target_site and s.subject != source.subject]
            if goals:
                break
        goal = goals[int(rng.integers(len(goals)))]
        count = min(self.slices, len(source.tall))
        indices = np.sort(rng.choice(source.tall, count, replace=False))
        jitter = rng.integers(-_Z_JITTER, _Z_JITTER + 1, count)
        matched = np.clip(indices + jitter, goal.tall[0], goal.tall[-1])
        stack, condition = self._condition(source, target_site).slices(indices)
        return Pair(stack, condition, self._target_statistics(goal, matched))

    def _condition(self, source: PreparedScan, target_site: str) -> Conditioned:
        key = (source.label, target_site)
        if key not in self._conditioned:
            while len(self._conditioned) >= _KEPT:
                self._conditioned.pop(next(iter(self._conditioned)))
            self._conditioned[key] = condition_scan(
                source.data,
                source.mask,
                self.banks[source.site, source.modality],
                self.banks[target_site, source.modality],
                voxel_mm=self.voxel_mm,
                config=self.network.config,
                use_closed_form=self.use_closed_form,
            )
        return self._conditioned[key]

    @torch.no_grad()
    def _target_statistics(
        self, goal: PreparedScan, indices: Array
    ) -> list[tuple[Tensor, Tensor]]:
        missing = [int(k) for k in indices if (goal.label, int(k)) not in self._statistics]
        if missing:
            stack = torch.from_numpy(cut_stack(goal.data, missing)).clamp(0, 1)
            taps = [channel_statistics(tap) for tap in self.encoder.features(stack)]
            for row, k in enumerate(missing):
                self._statistics[goal.label, k] = [(m[row], s[row]) for m, s in taps]
        rows = [self._statistics[goal.label, int(k)] for k in indices]
        return [
            (torch.stack([row[t][0] for row in rows]), torch.stack([row[t][1] for row in rows]))
            for t in range(len(rows[0]))
        ]


def pair_losses(
    network: IHFNetwork,
    encoder: Encoder,
    pair: Pair,
    *,
    keep: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluate both losses of a pair.

    Parameters
    ----------
    network : IHFNetwork
    encoder : Encoder
    pair : Pair
    keep : float
        k of eq. 4.
    seed : int
        Draws the query positions of eq. 3.

    Returns
    -------
    anatomical, artefact : () tensors
        Unweighted.
    output : (B, 3, X, Y) tensor
    """
    output = straight_through_clamp(pair.stack + network.change(pair.stack, pair.condition))
    after = encoder.features(output)
    with torch.no_grad():
        before = encoder.features(pair.stack.clamp(0, 1))
    generator = torch.Generator().manual_seed(seed)
    anatomical = anatomical_consistency(before, after, generator=generator)
    return anatomical, artefact_consistency(after, pair.target, keep=keep), output


def balanced(
    network: IHFNetwork,
    encoder: Encoder,
    pair: Pair,
    *,
    lambda_ac: float,
    lambda_art: float,
    keep: float,
) -> LossBalance:
    """Judge the weights of both losses at the network's present output."""
    anatomical, artefact, output = pair_losses(network, encoder, pair, keep=keep, seed=0)
    return balance_losses(anatomical, artefact, output, lambda_ac=lambda_ac, lambda_art=lambda_art)
