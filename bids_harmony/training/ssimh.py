"""Training SSIMH: low frequencies of a reference scan of the target site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bids_harmony import __version__
from bids_harmony.exceptions import DataError
from bids_harmony.imaging.spectrum import CORNER, low_frequencies
from bids_harmony.model.method_files import write_method
from bids_harmony.sites.prepared_scans import PreparedScan, TrainingScan
from bids_harmony.training.profiled_scans import profile_scans

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["fit_ssimh", "train_ssimh"]


def train_ssimh(
    scans: Sequence[TrainingScan], settings: Settings, out_dir: Path
) -> dict[str, Any]:
    """Choose the reference scans as the settings say; see `fit.fit_method`."""
    profiled = profile_scans("ssimh", scans, settings, out_dir)
    return fit_ssimh(
        profiled.to_learn_from(),
        str(settings.target_site),
        out_dir,
        corner=settings.training.ssimh_corner,
        seed=settings.random_seed,
    )


def fit_ssimh(
    scans: Sequence[PreparedScan],
    target_site: str,
    out_dir: Path,
    *,
    corner: int = CORNER,
    seed: int = 0,
) -> dict[str, Any]:
    """Keep the low frequencies of one training scan of the target site (Guan et al. 2022).

    Parameters
    ----------
    scans : sequence of PreparedScan
        Scaled, on one reference grid; the reference is drawn from those of the target site.
    target_site : str
    out_dir : Path
    corner : int
        b: the b x b lowest frequencies of every slice are the target's.
    seed : int

    Returns
    -------
    dict
        The ``extra`` of ``model.json``.

    Raises
    ------
    DataError
        No scan of the target site.
    """
    groups: dict[str, list[PreparedScan]] = {}
    for scan in sorted(scans, key=lambda s: s.label):
        if scan.site == target_site:
            groups.setdefault(scan.modality, []).append(scan)
    if not groups:
        raise DataError(
            "There is no reference scan",
            expected=f"a training scan of the target site {target_site}",
            got="sites " + (", ".join(sorted({s.site for s in scans})) or "none"),
        )
    chosen = {
        kind: group[int(np.random.default_rng([seed, n]).integers(len(group)))]
        for n, (kind, group) in enumerate(sorted(groups.items()))
    }
    extra = {
        "version": __version__,
        "seed": seed,
        "target_site": target_site,
        "corner": corner,
        "references": {kind: scan.label for kind, scan in chosen.items()},
    }
    tensors = {
        kind: torch.from_numpy(low_frequencies(scan.data, corner)) for kind, scan in chosen.items()
    }
    return write_method(out_dir, "ssimh", tensors, extra)["extra"]
