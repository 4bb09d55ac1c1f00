"""Scans of one person in one template space with one brain mask, as with ``--longitudinal``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bids_harmony.api.inputs import Given, given_mask
from bids_harmony.api.ready import Location, Recipe
from bids_harmony.imaging.alike import share_alike
from bids_harmony.imaging.mask import BrainMask, brain_mask, person_mask
from bids_harmony.imaging.transforms import from_itk, to_itk
from bids_harmony.imaging.volume import Volume

__all__ = ["locate_sessions"]


def locate_sessions(
    recipe: Recipe, scans: Sequence[Given], masks: Sequence[Any]
) -> dict[str, Location]:
    """Find where the brain is in scans of one person, in all of them together.

    Parameters
    ----------
    recipe : Recipe
    scans : sequence of Given
        Of one person and contrast.
    masks : sequence of path-like, nibabel image, array or None
        Of each scan.

    Returns
    -------
    dict of str to Location
        By `Given.digest`. Slices have none, nor has a scan that is unlike the others, of which a
        warning tells: they are located by themselves.

    Raises
    ------
    ImageError
        A scan shows no brain, or their mean cannot be registered.
    """
    heads: dict[str, tuple[Volume, BrainMask]] = {}
    digests: dict[str, str] = {}
    for given, mask in zip(scans, masks, strict=True):
        digest = given.digest()
        if given.volume is None or digest in digests.values():
            continue
        brain = None if mask is None else given_mask(mask, given)
        # Two images in memory may come from one file.
        name = given.where if given.where not in heads else f"{given.where} ({digest[:8]})"
        heads[name] = given.volume, brain or brain_mask(given.volume, device=recipe.device)
        digests[name] = digest
    shared, together = share_alike(
        heads, modality=recipe.modality, seed=recipe.seed, sloppy=recipe.sloppy
    )
    found = {}
    for name, world in zip(together, shared.worlds if shared else (), strict=True):
        volume, brain = heads[name]
        # As the command line's file of it gives it back, to the last bit.
        world = from_itk(to_itk(world))
        # What has no skull has a mask already, beyond which there is nothing.
        if shared is not None and shared.mask is not None and brain.kind != "skull-stripped":
            brain = person_mask(shared.mask, volume, world)
        found[digests[name]] = Location.of(brain, world)
    return found
