"""Harmonize one scan in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bids_harmony.api.learnt import learn, settle
from bids_harmony.api.profile import SiteProfile, profile_of
from bids_harmony.exceptions import UsageError

__all__ = ["harmonize"]

#: Site of a scan that stands for its own site.
_OWN = "(its own site)"


def harmonize(
    image: Any,
    target: Any,
    mask: Any = None,
    *,
    source: SiteProfile | None = None,
    method: str = "ihf",
    modality: str | None = None,
    affine: Any = None,
    heights: Sequence[int] | None = None,
    voxel_mm: float | None = None,
    on_ood: str = "auto",
    skull_strip: bool = False,
    device: str = "cpu",
    random_state: int = 0,
    sloppy: bool = False,
) -> Any:
    """Make one scan look as if the site of another had made it.

    Without `source` the scan itself stands for its site, and where `target` is one image, one
    person stands for the other: how far a difference is the scanners' and not the people's is not
    known then, and deliberately little is changed. Profiles of several people say more, and so
    does one person who was at both: that both images are of one head is told from its gyri.

    Parameters
    ----------
    image : path-like, nibabel image or array
        In native space, any grid, orientation and unit. An array needs `affine`; without it, it
        is slices (X, Y, n) on the reference grid.
    target : SiteProfile, path-like, nibabel image or array
    mask : path-like, nibabel image or array, optional
        Brain of `image`, on its own grid; found by itself otherwise.
    source : SiteProfile, optional
        Of the site that made `image`. Slices of a part of the brain need it.
    method, modality, voxel_mm, on_ood, skull_strip, device, random_state, sloppy
        As for `Harmonizer`.
    affine : (4, 4) array-like, optional
        Of an array: voxel indices to RAS+ mm.
    heights : sequence of int, optional
        Of slices: where they lie along the reference grid's last axis.

    Returns
    -------
    nibabel image or ndarray
        On the grid of `image` and in its units. A path or nibabel image gives a nibabel image with
        the scan's header and data type, an array gives float32. The input is left as it is.

    Raises
    ------
    UsageError
        An argument that makes no sense, such as a target that is neither image nor profile.
    MissingInput, InputOutputError, ImageError, OutOfRange
        An image or mask that cannot be read, used or harmonized.

    Examples
    --------
    >>> from bids_harmony import SiteProfile, harmonize, simulate
    >>> scans = [simulate(p, "COI", voxel_scale=6) for p in (2, 3)]
    >>> target = SiteProfile.from_images(scans, name="COI", voxel_mm=6, sloppy=True)
    >>> image = simulate(1, "GE", voxel_scale=6)
    >>> result = harmonize(image, target, sloppy=True)
    >>> result.shape == image.shape, result.get_data_dtype().name
    (True, 'int16')
    """
    recipe = settle(
        target,
        method=method,
        modality=modality,
        voxel_mm=voxel_mm,
        on_ood=on_ood,
        device=device,
        random_state=random_state,
        sloppy=sloppy,
    )
    if source is not None and not isinstance(source, SiteProfile):
        raise UsageError(
            "The source is not a profile",
            where="source",
            expected="a SiteProfile",
            got=type(source).__name__,
            hint="Make one of its scans with SiteProfile.from_images.",
        )
    given = recipe.given(image, "image", affine=affine, heights=heights)
    ready = recipe.ready(given, mask)
    own = source or profile_of("", [ready], recipe)
    name = own.name or _OWN
    learnt = learn(target, method, {name: own}, recipe)
    return learnt.harmonize(ready, name, on_ood=on_ood, skull_strip=skull_strip)
