"""The array interface for slices of sites that are known from slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from real_slices import Scan

from bids_harmony.api.learnt import learn
from bids_harmony.api.profile import SiteProfile
from bids_harmony.api.ready import Ready, Recipe
from bids_harmony.methods.profile_encoder import encoder_and_cells
from bids_harmony.sites.image_profile import MOST_CODED, build_profile

__all__ = ["Door", "unchanged"]

Array = np.ndarray


class Door:
    """The array interface, with sites that are known from slices at the same heights.

    `SiteProfile.from_images` wants whole scans; here its profile is made of slices by the same
    function. What a profile says of other heights is not used.
    """

    def __init__(self, modality: str, voxel_mm: float) -> None:
        self.recipe = Recipe(modality, voxel_mm)

    def ready(self, scan: Scan) -> Ready:
        """Take slices, as `harmonize` does."""
        given = self.recipe.given(scan.data, scan.person, heights=[int(k) for k in scan.heights])
        return self.recipe.ready(given, scan.mask)

    def site(self, name: str, scans: Sequence[Ready]) -> SiteProfile:
        """What is known of a site."""
        encoder, cells = encoder_and_cells()
        profile = build_profile(
            name, self.recipe.modality,
            [(s.given.label, s.prepared.data, s.prepared.mask, s.prepared.scale) for s in scans],
            encoder, cells=cells, voxel_mm=self.recipe.voxel_mm, coded=MOST_CODED,
        )  # fmt: skip
        return SiteProfile(profile, self.recipe.voxel_mm)

    def harmonize(
        self, method: str, ready: Ready, source: SiteProfile, target: SiteProfile
    ) -> Array:
        """Harmonize slices, (X, Y, n) in stored units; 0 outside the mask."""
        learnt = learn(target, method, {source.name: source}, self.recipe)
        return learnt.harmonize(ready, source.name, on_ood="auto", skull_strip=True)


def unchanged(made: Array, scan: Scan) -> bool:
    """Whether a scan came back as it was, as one does that would lose contrast."""
    return bool(np.allclose(made[scan.mask], scan.data[scan.mask], rtol=1e-4))
