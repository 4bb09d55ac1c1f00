"""Synthetic twins: one person on two random scanners, for supervised pre-training.

The network learns what a transfer between scanners is: given a scan at A and the profiles of A and
B, which were made from other people, it must give the noise-free scan at B. No real pair is
needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.methods.conditioned import Conditioned, condition_scan
from bids_harmony.model.network import Condition
from bids_harmony.model.presets import NetworkConfig
from bids_harmony.phantom.anatomy import Anatomy
from bids_harmony.phantom.scanner import Scanner, acquire
from bids_harmony.sites.image_profile import ImageProfile

__all__ = ["Batch", "grey_or_white", "pure_tissue", "twin_pair"]

Array = np.ndarray

#: A tissue's mean is taken over voxels that hold so much of it.
_PURE = 0.8


@dataclass(frozen=True)
class Batch:
    """Slices of twin pairs: stacks, conditions, what they should become, and the brain.

    `tissue` is 1 in grey matter, 2 in white, 3 in CSF, 0 where they mix and outside. `share` is
    the part of the step's brain voxels that these slices hold, `tissue_share` that of its voxels
    of grey or white matter.
    """

    stack: torch.Tensor
    condition: Condition
    twin: torch.Tensor
    mask: torch.Tensor
    tissue: torch.Tensor
    share: float = 1.0
    tissue_share: float = 1.0

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(
            self.stack.to(device),
            self.condition.to(device),
            self.twin.to(device),
            self.mask.to(device),
            self.tissue.to(device),
            self.share,
            self.tissue_share,
        )


def grey_or_white(tissue: torch.Tensor) -> torch.Tensor:
    """Where a tissue of `Batch` is grey or white matter, bool."""
    return (tissue == 1) | (tissue == 2)


def pure_tissue(person: Anatomy) -> Array:
    """Tissue of voxels that hold little else: 1 grey matter, 2 white matter, 3 CSF, else 0.

    Returns
    -------
    (X, Y, Z) uint8
    """
    most = person.fractions.max(axis=0) > _PURE
    return np.where(most, person.fractions.argmax(axis=0) + 1, 0).astype(np.uint8)


def twin_pair(
    person: Anatomy,
    source: Scanner,
    target: Scanner,
    profiles: tuple[ImageProfile, ImageProfile],
    scan_seed: int,
    *,
    voxel_mm: float,
    config: NetworkConfig,
    use_closed_form: bool,
) -> tuple[Conditioned, Array, Array]:
    """Scan a person at both scanners, of which the profiles of source and target are known.

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
    modality = profiles[0].modality
    data = acquire(person, source, modality, scan_seed=scan_seed)
    data = data / robust_scale(data, person.mask)
    twin = acquire(person, target, modality, scan_seed=scan_seed, noise=False, scan_field=False)
    conditioned = condition_scan(
        data,
        person.mask,
        *profiles,
        voxel_mm=voxel_mm,
        config=config,
        use_closed_form=use_closed_form,
    )
    inside = person.mask
    level = np.vdot(twin[inside], conditioned.image[inside]) / np.vdot(twin[inside], twin[inside])
    return conditioned, data, twin * np.float32(level)
