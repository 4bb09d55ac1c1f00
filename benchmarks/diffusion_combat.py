"""ComBat on region means of FA and MD: the location of each site, from people of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diffusion_cohort import bank_scans
from diffusion_maps import ScanMaps, cubes_of, region_means

from bids_harmony.diffusion.tensor import fit_tensor

__all__ = ["add_combat"]

Array = np.ndarray


def add_combat(
    regions: list[dict[str, Any]], scans: Path, target: str, sites: Sequence[str]
) -> None:
    """Append region means of the raw maps less what people of a site differ by from the target's.

    The linear model of ComBat (Johnson et al. 2007) for one region at a time: location of each
    site, estimated from its five people and shrunk towards the mean over regions by empirical
    Bayes.

    Parameters
    ----------
    regions : list of dict
        Rows of the way ``none`` are read, those of ``combat`` appended.
    scans : Path
        Folder of everyone's scans.
    target : str
    sites : sequence of str
        All others.
    """
    trained: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for site in (target, *sites):
        for scan in bank_scans(scans, site):
            # White matter of people of the profiles is not known: where the tensor says so.
            tensor = fit_tensor(
                scan.series.signal(...), scan.mask & _thin(scan.mask), scan.gradients
            )
            white = (tensor.fa > 0.35) & (tensor.md > 0) & (tensor.md < 1.1e-3)
            chosen = np.flatnonzero(white)
            maps = {"fa": tensor.fa[white], "md": tensor.md[white] * 1e3}
            fitted = ScanMaps(maps, tensor.v1[white])
            for mean in region_means(fitted, cubes_of(scan, chosen), {}):
                for key in ("fa", "md"):
                    trained.setdefault((site, key), []).append(mean | {"value": mean[key]})
    for site in sites:
        for key in ("fa", "md"):
            shift = _shifts(trained[site, key], trained[target, key])
            for row in [r for r in regions if (r["way"], r["site"]) == ("none", site)]:
                own = next(
                    (
                        r
                        for r in regions
                        if r["way"] == "combat"
                        and all(r[k] == row[k] for k in ("person", "site", "cube"))
                    ),
                    None,
                )
                if own is None:
                    own = {k: row[k] for k in ("person", "site", "cube")} | {"way": "combat"}
                    regions.append(own)
                own[key] = row[key] - shift.get(row["cube"], shift[-1])


def _thin(mask: Array) -> Array:
    """One voxel in eight."""
    kept = np.zeros_like(mask)
    kept[::2, ::2, ::2] = True
    return kept


def _shifts(own: list[dict[str, Any]], goal: list[dict[str, Any]]) -> dict[int, float]:
    """What a site's people exceed the target's by, per cube; -1 is the mean over cubes."""
    raw: dict[int, tuple[float, float]] = {}
    for cube in {r["cube"] for r in own} & {r["cube"] for r in goal}:
        a, b = ([r["value"] for r in rows if r["cube"] == cube] for rows in (own, goal))
        if len(a) > 1 and len(b) > 1:
            error = np.var(a, ddof=1) / len(a) + np.var(b, ddof=1) / len(b)
            raw[cube] = float(np.mean(a) - np.mean(b)), float(error)
    shifts = np.array([shift for shift, _ in raw.values()])
    middle = float(shifts.mean())
    spread = max(float(shifts.var(ddof=1)) - float(np.mean([e for _, e in raw.values()])), 0.0)
    shrunk = {c: middle + spread / (spread + e) * (s - middle) for c, (s, e) in raw.items()}
    return shrunk | {-1: middle}
