"""The one door of the level train: any method, fitted to the same prepared scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony import __version__
from bids_harmony.methods.registry import check_training_target, find_method
from bids_harmony.model.method_files import write_method
from bids_harmony.sites.prepared_scans import TrainingScan
from bids_harmony.training.profiled_scans import profile_scans

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["fit_method"]


def fit_method(
    method: str, scans: Sequence[TrainingScan], settings: Settings, out_dir: Path
) -> dict[str, Any]:
    """Fit a method and write its model folder.

    Parameters
    ----------
    method : str
        Name in `registry.REGISTRY`; `settings.method` is not looked at.
    scans : sequence of TrainingScan
        Never of somebody who will be scored. Supervised methods learn from those whose subject is
        also there at the target site.
    settings : Settings
        With a `target_site`, as the scans spell it, for a method that is fitted for one.
    out_dir : Path
        Gets ``model.json``, ``banks.safetensors`` (the sites, for every method) and, where the
        method has numbers of its own, ``model.safetensors``.

    Returns
    -------
    dict
        The ``extra`` of ``model.json``.

    Raises
    ------
    UsageError
        No such method, or no target site where one is needed.
    DataError
        Fewer than two sites in every modality; no scan of the target site; for supervised methods,
        no travelling subjects.
    """
    entry = find_method(method)
    check_training_target(method, settings.target_site)
    if entry.trained:
        extra: dict[str, Any] = entry.training()(scans, settings, out_dir)
        return extra
    profile_scans(method, scans, settings, out_dir)
    return write_method(out_dir, method, {}, {"version": __version__})["extra"]
