"""Checks of what a harmonizer is told: method, target, profiles that go together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from bids_harmony.api.arguments import is_image
from bids_harmony.api.profile import SiteProfile
from bids_harmony.exceptions import DataError, SiteError, UsageError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.io.pointers import is_named
from bids_harmony.methods import learns_sites
from bids_harmony.methods.profile_encoder import encoder_and_cells
from bids_harmony.methods.registry import REGISTRY

__all__ = ["check_fits", "check_method", "check_on_ood", "check_target"]

_ON_OOD = ("auto", "warn", "leave", "error")


def check_method(method: str) -> None:
    """Refuse a method that needs more than scans of the sites.

    Raises
    ------
    UsageError
    """
    if method not in REGISTRY or not learns_sites(method):
        trained = method in REGISTRY
        raise UsageError(
            f"The method {method} needs a training of its own" if trained else "Unknown method",
            where="method",
            expected=", ".join(name for name in REGISTRY if learns_sites(name)),
            got=repr(method),
            hint="Train and apply it with the command line." if trained else "",
        )


def check_on_ood(on_ood: str) -> None:
    """Refuse an unknown way with unusual scans.

    Raises
    ------
    UsageError
    """
    if on_ood not in _ON_OOD:
        raise UsageError(
            "Unknown way with unusual scans",
            where="on_ood",
            expected=", ".join(_ON_OOD),
            got=repr(on_ood),
        )


def check_target(target: Any, names: Sequence[str]) -> None:
    """Refuse a target that is no profile, no image and not one of the sites' names.

    Raises
    ------
    UsageError, SiteError
    """
    if isinstance(target, str | os.PathLike) and str(target).endswith(".safetensors"):
        raise UsageError(
            "The target is the file of a profile",
            where="target",
            expected="the profile itself",
            got=str(target),
            hint="Read it with SiteProfile.load.",
        )
    if isinstance(target, str):
        if target not in names and not is_named(target):
            raise SiteError(
                "The target is neither a site of these images nor a file",
                where="target",
                expected=", ".join(sorted(set(names))) or "a SiteProfile, a path, a nibabel image",
                got=repr(target),
            )
    elif not isinstance(target, SiteProfile) and not is_image(target):
        raise UsageError(
            "The target is neither an image nor a profile",
            where="target",
            expected="a SiteProfile, a path, a nibabel image"
            + (", or the name of one of the sites" if names else ""),
            got=type(target).__name__,
            hint="Several scans: make a profile of them with SiteProfile.from_images."
            if isinstance(target, list | tuple)
            else "",
        )


def check_fits(profile: SiteProfile, modality: str, voxel_mm: float, where: str) -> None:
    """Refuse a profile of another modality, grid or encoder.

    Raises
    ------
    UsageError, DataError
    """
    if (profile.modality, profile.voxel_mm) != (modality, voxel_mm):
        raise UsageError(
            "Profiles of different modalities or grids cannot be compared",
            where=where,
            expected=f"{modality} at {voxel_mm:g} mm",
            got=f"{profile.modality} at {profile.voxel_mm:g} mm",
        )
    encoder, cells = encoder_and_cells()
    image, shape = profile.image_profile, reference_grid(voxel_mm).shape
    wanted = shape, (shape[2], 2, cells, cells), encoder.code_length
    found = image.mean_image.shape, image.texture.shape, image.codes.shape[-1]
    if found != wanted:
        raise DataError(
            "A profile that was made for another model",
            where=where,
            expected=str(wanted),
            got=str(found),
            hint="Make it again with SiteProfile.from_images.",
        )
