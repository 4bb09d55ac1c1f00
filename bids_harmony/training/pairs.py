"""Travelling subjects: scans of one person at a source site and at the target site, in pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bids_harmony.exceptions import DataError
from bids_harmony.model.slicewise import pad_slices
from bids_harmony.sites.prepared_scans import PreparedScan

__all__ = ["PairedScans", "PairedSlices", "pair_scans"]

Array = np.ndarray
_ORDER, _MIXING = 0, 1


@dataclass(frozen=True, eq=False)
class PairedScans:
    """One person at a source site and at the target site.

    Attributes
    ----------
    source, target : (X, Y, Z) float32
        Scaled scans on the reference grid, 0 outside the brain.
    mask : (X, Y, Z) bool
        Where both are known.
    subject : str
    site : str
        Of the source.
    modality : str
    """

    source: Array
    target: Array
    mask: Array
    subject: str
    site: str
    modality: str

    @property
    def digest(self) -> str:
        """Hash of what training sees."""
        content = hashlib.sha256(np.ascontiguousarray(self.source).tobytes())
        for array in (self.target, self.mask):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()


def pair_scans(scans: Sequence[PreparedScan], target_site: str) -> list[PairedScans]:
    """Pair every scan with the same person's scans of its modality at the target site.

    Parameters
    ----------
    scans : sequence of PreparedScan
        On one reference grid.
    target_site : str
        As the scans spell it.

    Returns
    -------
    list of PairedScans
        In the order of `scans`.

    Raises
    ------
    DataError
        Nobody was scanned at the target site and at another one.
    """
    at_target: dict[tuple[str, str], list[PreparedScan]] = {}
    for scan in scans:
        if scan.site == target_site:
            at_target.setdefault((scan.subject, scan.modality), []).append(scan)
    pairs = [
        PairedScans(
            scan.data, twin.data, scan.mask & twin.mask, scan.subject, scan.site, scan.modality
        )
        for scan in scans
        if scan.site != target_site
        for twin in at_target.get((scan.subject, scan.modality), ())
    ]
    if not pairs:
        sites = ", ".join(sorted({scan.site for scan in scans})) or "none"
        raise DataError(
            "There are no travelling subjects to learn from",
            expected=f"training scans of the same subject at {target_site} and at another site",
            got=f"sites {sites}; subjects at {target_site}: "
            + (", ".join(sorted({subject for subject, _ in at_target})) or "none"),
            hint="Use a method that needs none, such as ihf or histogram.",
        )
    return pairs


class PairedSlices:
    """Axial slices of pairs, all once per epoch, in an order that depends on the seed.

    Parameters
    ----------
    pairs : sequence of PairedScans
    multiple : int
        Slices are padded with zeros to multiples of this many pixels.
    signed : bool
        Give slices in [-1, 1] instead of [0, 1].
    seed : int
    mixing : float
        A of SiMix (Xu et al. 2024): the source becomes clip((1 - a) source + a target, 0, 1) with
        a drawn evenly from [-A, A]. 0 for none.

    Raises
    ------
    DataError
        No slice holds brain of a pair.
    """

    def __init__(
        self,
        pairs: Sequence[PairedScans],
        *,
        multiple: int,
        signed: bool,
        seed: int,
        mixing: float = 0.0,
    ) -> None:
        self.pairs, self.multiple, self.signed = list(pairs), multiple, signed
        self.seed, self.mixing = seed, mixing
        self.places = [
            (number, int(height))
            for number, pair in enumerate(self.pairs)
            for height in np.flatnonzero(pair.mask.any(axis=(0, 1)))
        ]
        if not self.places:
            raise DataError(
                "There are no slices to learn from",
                expected="pairs whose brains overlap",
                got=f"{len(self.pairs)} pairs",
            )
        self._order: tuple[int, Array] = (-1, np.empty(0, dtype=int))

    def __len__(self) -> int:
        return len(self.places)

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Source and target slice of a step, (1, 1, H, W) float32 each."""
        epoch, place = divmod(step, len(self))
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, _ORDER, epoch])
            self._order = (epoch, rng.permutation(len(self)))
        number, height = self.places[self._order[1][place]]
        pair = self.pairs[number]
        inside = pair.mask[:, :, height]
        source, target = (
            np.where(inside, np.clip(volume[:, :, height], 0, 1), 0).astype(np.float32)
            for volume in (pair.source, pair.target)
        )
        if self.mixing:
            rng = np.random.default_rng([self.seed, _MIXING, step])
            share = np.float32(rng.uniform(-self.mixing, self.mixing))
            source = np.clip((1 - share) * source + share * target, 0, 1)
        return self._tensor(source), self._tensor(target)

    def _tensor(self, slice_: Array) -> Tensor:
        x = pad_slices(torch.from_numpy(slice_)[None, None], self.multiple)
        return 2 * x - 1 if self.signed else x
