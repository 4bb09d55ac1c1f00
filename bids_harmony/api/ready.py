"""Scans on the reference grid: mask and registration as the command line finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bids_harmony.api.apply import prepare_scan
from bids_harmony.api.inputs import (
    Given,
    brain_of_slices,
    check_place,
    given_image,
    given_mask,
)
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.mask import BrainMask, brain_mask
from bids_harmony.imaging.nothing import check_not_negative
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import register_to_reference
from bids_harmony.imaging.tissues import LATTICE_MM
from bids_harmony.imaging.transforms import from_itk, to_itk

__all__ = ["Location", "Ready", "Recipe"]

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Location:
    """Where a scan's brain is.

    Attributes
    ----------
    brain : (N,) uint8
        The mask's voxels, eight in a byte: it is kept for every scan of a cohort.
    shape : tuple of int
    kind : str
        How the mask was made (`imaging.mask.BrainMask.kind`).
    world : (4, 4) float64
        RAS+ mm of the scan to RAS+ mm of the reference.
    """

    brain: Array
    shape: tuple[int, ...]
    kind: Any
    world: Array

    @classmethod
    def of(cls, mask: BrainMask, world: Array) -> Location:
        """Keep a mask and a transform."""
        return cls(np.packbits(mask.data), mask.data.shape, mask.kind, world)

    @property
    def mask(self) -> BrainMask:
        """The brain mask, on the scan's RAS+ grid."""
        count = int(np.prod(self.shape))
        bits = np.unpackbits(self.brain, count=count)
        return BrainMask(bits.reshape(self.shape).astype(bool), self.kind)


@dataclass(frozen=True, eq=False)
class Ready:
    """A scan on the reference grid.

    Attributes
    ----------
    given : Given
    mask : BrainMask
        On the scan's RAS+ grid, or of its slices.
    prepared : Prepared
    """

    given: Given
    mask: BrainMask
    prepared: Prepared

    @property
    def whole(self) -> bool:
        """Whether it is a scan of a whole brain, and not some slices."""
        heights = self.given.heights
        return heights is None or len(heights) == self.prepared.data.shape[2]

    @property
    def location(self) -> Location:
        """Mask and registration, for when the scan comes again."""
        return Location.of(self.mask, self.prepared.world)


@dataclass(frozen=True)
class Recipe:
    """How scans get to the reference grid.

    Attributes
    ----------
    modality : {"T1w", "T2w", "FLAIR"}
    voxel_mm : float
        Spacing of the reference grid.
    device : str
        Of the brain extractor.
    seed : int
        Of the registration's samples.
    sloppy : bool
        Register fast and coarsely.
    """

    modality: str
    voxel_mm: float
    device: str = "cpu"
    seed: int = 0
    sloppy: bool = False

    def given(
        self, image: Any, label: str, *, affine: Any = None, heights: Sequence[int] | None = None
    ) -> Given:
        """Read or take a scan; see `inputs.given_image`."""
        return given_image(
            image, self.modality, self.voxel_mm, label=label, affine=affine, heights=heights
        )

    def ready(self, given: Given, mask: Any = None, known: Location | None = None) -> Ready:
        """Mask, register and resample a scan.

        Parameters
        ----------
        given : Given
        mask : path-like, nibabel image or array, optional
            Its brain; found by itself otherwise.
        known : Location, optional
            Mask and registration of an earlier time.

        Raises
        ------
        ImageError
            No brain, or one that cannot be registered.
        """
        if given.volume is None:
            return self._slices_ready(given, mask)
        if known is not None:
            brain, world = known.mask, known.world
        else:
            brain, world = self._locate(given, mask)
        _, prepared = prepare_scan(given.volume, brain, world, self.voxel_mm)
        return Ready(given, brain, prepared)

    def _locate(self, given: Given, mask: Any) -> tuple[BrainMask, Array]:
        volume = given.volume
        assert volume is not None
        brain = None if mask is None else given_mask(mask, given)
        if brain is None:
            brain = brain_mask(volume, device=self.device)
        found = register_to_reference(
            volume, brain, modality=self.modality, seed=self.seed, sloppy=self.sloppy
        )
        # As the command line's file of it gives it back, to the last bit.
        return brain, from_itk(to_itk(found.world))

    def _slices_ready(self, given: Given, mask: Any) -> Ready:
        grid = reference_grid(self.voxel_mm)
        slices, heights = given.slices, given.heights
        assert slices is not None and heights is not None
        if mask is None:
            brain = brain_of_slices(given, self.voxel_mm)
        else:
            brain = given_mask(mask, given)
            check_place(brain, given, self.voxel_mm)
        check_not_negative(slices[brain.data], given.where)
        scale = robust_scale(slices, brain.data)
        scaled = np.where(brain.data, np.maximum(slices, 0) / np.float32(scale), np.float32(0))
        data = np.zeros(grid.shape, np.float32)
        inside = np.zeros(grid.shape, bool)
        # Tissues are measured on a lattice: a slice between counts for the nearest of these.
        reach = round(LATTICE_MM / self.voxel_mm) // 2
        for height in range(grid.shape[2]):
            away = np.abs(heights - height)
            if away.min() <= reach:
                nearest = int(away.argmin())
                data[..., height] = scaled[..., nearest]
                inside[..., height] = brain.data[..., nearest]
        return Ready(given, brain, Prepared(data, inside, scale, np.eye(4), grid))
