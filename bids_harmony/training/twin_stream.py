"""Endless, seeded streams of batches of twin slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from bids_harmony.imaging.slices import cut_stack
from bids_harmony.model.network import Condition
from bids_harmony.model.presets import NetworkConfig
from bids_harmony.training.twin_pool import TwinPool
from bids_harmony.training.twins import Batch, grey_or_white, pure_tissue, twin_pair

__all__ = ["TwinStream", "turns"]

Array = np.ndarray

#: A new pair at 2 mm costs as much as several steps. Its slices come back later, among those of
#: others: with eight slices a step, each is seen about once. A finer grid has more voxels a pair.
_STEPS_PER_PAIR = 8
#: Pairs that wait before the first step.
FIRST_PAIRS = 32
#: What kept pairs may take: some 390 brains at 2 mm, 49 at 1 mm.
KEPT_BYTES = 2 << 30
#: Least and most noise of a single scan, relative to its site's. What the network takes as noise
#: must follow the noise of the scan: a site's own goes with its contrast, field and sharpness.
_NOISE_FACTORS = (0.5, 4.0)


@dataclass(frozen=True, eq=False)
class Pair:
    """A conditioned scan and its twin, in half precision.

    Slices come first, (Z, X, Y), so that a stack lies together in memory.
    """

    image: Array
    twin: Array
    mask: Array
    tissue: Array
    gate: float
    maps: tuple[Array | None, Array | None]
    codes: tuple[Array, Array]
    tall: Array

    @property
    def n_bytes(self) -> int:
        return 2 * self.image.nbytes + self.mask.nbytes + self.tissue.nbytes


class TwinStream:
    """Batches of slices from many pairs; step i is the same whoever draws it.

    A step whose slices come from one pair teaches that pair; from many, it teaches the transfer.

    Parameters
    ----------
    pool : TwinPool
    config : NetworkConfig
    use_closed_form : bool
    slices : int
        Slices per step, each of a pair of its own.
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
        self.steps_per_pair = round(_STEPS_PER_PAIR * max(1.0, (2 / pool.grid.voxel_mm) ** 2))
        self.pairs: dict[int, Pair] = {}
        self.tissues: dict[int, Array] = {}

    def part(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """Draw one of the parts of a step's batch."""
        last = FIRST_PAIRS + step // self.steps_per_pair
        first = max(0, last - self._kept())
        for number in [n for n in self.pairs if not first <= n < last]:
            del self.pairs[number]
        rng = np.random.default_rng([self.seed, step, 1])
        drawn = rng.integers(first, last, self.slices)
        # The newest pair is made even where it was not drawn: every step costs the same.
        for number in {*drawn.tolist(), last - 1}:
            if number not in self.pairs:
                self.pairs[number] = self._make(number)
        cut: list[Batch] = [self.cut(self.pairs[number], rng) for number in drawn.tolist()]
        own = np.array_split(np.arange(len(cut)), parts)[part].tolist()
        brain = sum(int(piece.mask.sum()) for piece in cut)
        share = sum(int(cut[i].mask.sum()) for i in own) / brain
        tissue = [int(grey_or_white(piece.tissue).sum()) for piece in cut]
        tissue_share = sum(tissue[i] for i in own) / max(sum(tissue), 1)
        # More parts than slices: a slice without weight keeps the graph in shape.
        return _joined([cut[i] for i in own] or cut[:1], share, tissue_share)

    def _kept(self) -> int:
        """How many pairs fit; a whole brain of the grid as measure."""
        voxels = int(np.prod(self.pool.grid.shape))
        return max(FIRST_PAIRS, KEPT_BYTES // (6 * voxels))

    def _make(self, number: int) -> Pair:
        rng = np.random.default_rng([self.seed, number])
        source, target, modality = self.pool.draw(rng)
        index = int(rng.integers(len(self.pool.training)))
        person = self.pool.training[index]
        if index not in self.tissues:
            self.tissues[index] = _slices_first(pure_tissue(person))
        conditioned, _, twin = twin_pair(
            person,
            source.with_noise(_noise_factor(rng)),
            target,
            (
                self.pool.draw_profile(rng, source.site, modality),
                self.pool.draw_profile(rng, target.site, modality),
            ),
            int(rng.integers(1 << 40)),
            voxel_mm=self.pool.grid.voxel_mm,
            config=self.config,
            use_closed_form=self.use_closed_form,
        )
        return Pair(
            image=_slices_first(conditioned.image.astype(np.float16)),
            twin=_slices_first(twin.astype(np.float16)),
            mask=_slices_first(conditioned.mask),
            tissue=self.tissues[index],
            gate=conditioned.gate,
            maps=(conditioned.maps_source, conditioned.maps_target),
            codes=(conditioned.codes_source, conditioned.codes_target),
            tall=np.flatnonzero(conditioned.mask.mean(axis=(0, 1)) >= 0.05),
        )

    @staticmethod
    def cut(pair: Pair, rng: np.random.Generator) -> Batch:
        """One slice, left-right flipped every other time: nobody's scanner knows the side.

        Moved by a voxel or not along either axis: the network sees even and odd voxels in
        channels of their own, and anatomy on one grid would teach it that these differ.
        """
        k = int(rng.choice(pair.tall))
        flip = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
        moves = rng.integers(0, 2, 2)

        def stack(volume: Array, kind: type) -> torch.Tensor:
            three: Array = cut_stack(np.moveaxis(volume[:, flip], 0, -1), [k])
            return torch.from_numpy(np.roll(three, moves, axis=(-2, -1)).astype(kind))

        source, target = (
            None if maps is None else torch.from_numpy(maps[k : k + 1, :, flip].copy())
            for maps in pair.maps
        )
        code_source, code_target = (torch.from_numpy(codes[k : k + 1]) for codes in pair.codes)
        condition = Condition(
            code_target=code_target,
            code_source=code_source,
            maps_target=target,
            maps_source=source,
            gate=torch.full((1,), pair.gate),
        )
        return Batch(
            stack=stack(pair.image, np.float32),
            condition=condition,
            twin=stack(pair.twin, np.float32),
            mask=stack(pair.mask, np.bool_),
            tissue=stack(pair.tissue, np.uint8),
        )


def turns(first: TwinStream, second: TwinStream, every: int) -> Callable[[int, int, int], Batch]:
    """Draw every so many steps from a second stream, the others from a first; `TwinStream.part`.

    Parameters
    ----------
    first, second : TwinStream
    every : int
        At least 2.
    """

    def part(step: int, part: int = 0, parts: int = 1) -> Batch:
        before = step // every
        if step % every == every - 1:
            return second.part(before, part, parts)
        return first.part(step - before, part, parts)

    return part


def _noise_factor(rng: np.random.Generator) -> float:
    """Draw how noisy a scan is beside its site's others: every second one is as usual."""
    if rng.random() < 0.5:
        return 1.0
    return float(np.exp(rng.uniform(*np.log(_NOISE_FACTORS))))


def _slices_first(volume: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(volume, -1, 0))


def _joined(slices: list[Batch], share: float, tissue_share: float) -> Batch:
    return Batch(
        stack=torch.cat([s.stack for s in slices]),
        condition=Condition.joined([s.condition for s in slices]),
        twin=torch.cat([s.twin for s in slices]),
        mask=torch.cat([s.mask for s in slices]),
        tissue=torch.cat([s.tissue for s in slices]),
        share=share,
        tissue_share=tissue_share,
    )
