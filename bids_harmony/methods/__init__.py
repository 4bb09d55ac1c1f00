"""Methods of harmonization behind one protocol: load once, apply to prepared scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.exceptions import UsageError
from bids_harmony.methods.registry import REGISTRY, find_method

if TYPE_CHECKING:
    from bids_harmony.methods.base import Harmonizer as Harmonizer
    from bids_harmony.sites.profile_cache import ProfileSource

__all__ = ["check_method_for_series", "learns_sites", "load_harmonizer"]


def learns_sites(method: str) -> bool:
    """Whether a handful of scans is all that a method needs to know of a site."""
    return find_method(method).learns_sites


def check_method_for_series(method: str) -> None:
    """Refuse a method that does not go by profiles made on the fly, as diffusion series need it.

    Raises
    ------
    UsageError
    """
    if not learns_sites(method):
        raise UsageError(
            f"The method {method} does not harmonize diffusion series",
            where="--method",
            expected=", ".join(name for name in REGISTRY if learns_sites(name)),
            got=method,
            hint="It knows only what it was trained with; leave the series out with --modalities.",
        )


def load_harmonizer(
    method: str,
    model_dir: Path,
    cache: ProfileSource | None = None,
    *,
    device: str = "cpu",
    batch_size: int = 0,
    own_profiles: bool = True,
) -> Harmonizer:
    """Load a method from a model folder.

    Parameters
    ----------
    method : str
        Name in `registry.REGISTRY`. Methods that are not trained use the site profiles of any
        model folder.
    model_dir : Path
    cache : ProfileSource, optional
        Profiles of sites that the model does not know, for methods that need no more than that.
    device : str
    batch_size : int
        Slices per pass, 0 for what suits the device.
    own_profiles : bool
        False leaves a model's own profiles and their grid aside: only the cache counts, as for
        diffusion series.

    Raises
    ------
    UsageError
        There is no such method, or it does not go by profiles on a cache and its own are not to
        count.
    MissingInput, DataError
        The folder was not made by the level train, or for another method.
    """
    entry = find_method(method)
    if not own_profiles:
        check_method_for_series(method)
    harmonizer: Harmonizer = entry.harmonizer_class()(
        model_dir,
        cache if entry.learns_sites else None,
        device=device,
        batch_size=batch_size,
        own_profiles=own_profiles,
    )
    return harmonizer
