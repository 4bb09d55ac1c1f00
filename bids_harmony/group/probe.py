"""Can a classifier still tell the sites of this cohort, and what could it tell anyway?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.group.outputs import Output
from bids_harmony.quality.site_probe import ProbeResult, site_probes
from bids_harmony.quality.summary import STAGES, ScanSummary, SeriesSummary

__all__ = ["Probe", "probe_sites"]

_OF_SCANS = ("raw", "preprocessed only", STAGES[1], "blurred")
_HEAD = "head shape"


@dataclass(frozen=True)
class Probe:
    """One line of the table: what was shown to the classifier, and the better of both kinds."""

    shown: str
    result: ProbeResult


def probe_sites(outputs: Sequence[Output], *, seed: int) -> tuple[list[Probe], str]:
    """Train classifiers of the site on images before and after, and on controls.

    Sites with fewer than two people are left out, and scans whose summaries are not alike.

    Parameters
    ----------
    outputs : sequence of Output
    seed : int

    Returns
    -------
    probes, statement
        Why there are none, else empty.
    """
    shown, used = _features(outputs)
    people: dict[str, set[str]] = {}
    for output in used:
        people.setdefault(output.site, set()).add(output.participant)
    kept = np.array([len(people[o.site]) > 1 for o in used], dtype=bool)
    sites = [o.site for o, keep in zip(used, kept, strict=True) if keep]
    if len(set(sites)) < 2:
        return [], "A classifier needs two sites or more, with two participants or more each."
    who = [o.participant for o, keep in zip(used, kept, strict=True) if keep]
    probes = []
    for name, table in shown.items():
        try:
            results = site_probes(table[kept], sites, who, seed=seed)
        except DataError as error:
            return [], str(error)
        probes.append(Probe(name, max(results, key=lambda r: r.balanced_accuracy)))
    return probes, ""


def _features(outputs: Sequence[Output]) -> tuple[dict[str, NDArray], list[Output]]:
    """One table for each thing that is shown, and the outputs that are its rows."""
    scans = [(o, o.summary) for o in outputs if isinstance(o.summary, ScanSummary)]
    if scans:
        widths = [summary.features.shape for _, summary in scans]
        common = max(set(widths), key=widths.count)
        alike = [(o, s) for o, s in scans if s.features.shape == common]
        stack = np.stack([s.features for _, s in alike]).astype(np.float64)
        shown = {name: stack[:, i] for i, name in enumerate(_OF_SCANS)}
        shown[_HEAD] = np.stack([s.head for _, s in alike]).astype(np.float64)
        return shown, [o for o, _ in alike]
    series = [(o, o.summary) for o in outputs if isinstance(o.summary, SeriesSummary)]
    tables = [s.parameters for _, s in series]
    if not tables:
        return {}, []
    names = max(set(tables), key=tables.count)
    alike_series = [(o, s) for o, s in series if s.parameters == names]
    regions = np.stack([s.regions for _, s in alike_series]).astype(np.float64)
    flat = regions.reshape(len(regions), len(STAGES), -1)
    # Regions that a series did not cover say where the slices lay, not how the scanner measures.
    whole = np.isfinite(flat).all(axis=(0, 1))
    if not whole.any():
        return {}, []
    flat = flat[:, :, whole]
    return {state: flat[:, i] for i, state in enumerate(STAGES)}, [o for o, _ in alike_series]
