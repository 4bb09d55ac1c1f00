"""Fewer scans of what was found: one file of each, and of other people the kind asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.filters import fits
from bids_harmony.bids.naming import harmonized_path

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan

__all__ = ["of_the_kind", "one_of_each"]

# Filters that choose people and visits; all others tell what kind of image is meant.
_WHO_AND_WHEN = ("session", "subject")


def one_of_each(scans: Iterable[Scan]) -> tuple[list[Scan], list[str]]:
    """Of files that would have one output, keep one.

    BIDS does not allow ``sub-01_T1w.nii`` beside ``sub-01_T1w.nii.gz``, but whoever unpacks a file
    leaves both. The packed one is the dataset's; of other pairs (``desc-preproc`` and none) it is
    the one that names more entities.

    Parameters
    ----------
    scans : iterable of Scan

    Returns
    -------
    kept : list of Scan
        In the order they came.
    notes : list of str
        One for each file that is passed over.
    """
    by_output: dict[Path, list[Scan]] = {}
    for scan in scans:
        by_output.setdefault(harmonized_path(Path(), scan, "any"), []).append(scan)
    kept, notes = [], []
    for rivals in by_output.values():
        best = max(rivals, key=lambda s: (s.path.suffix == ".gz", s.label.count("_"), s.path.name))
        kept.append(best)
        notes += [
            f"{scan.path.name} is passed over: it is the same scan as {best.path.name}, which is "
            "taken. Remove or rename the wrong one."
            for scan in rivals
            if scan is not best
        ]
    return kept, notes


def of_the_kind(
    scans: Sequence[Scan], filters: Mapping[str, Mapping[str, Any]]
) -> tuple[Scan, ...]:
    """Scans that may show how a site's images look where filters chose what is harmonized.

    Parameters
    ----------
    scans : sequence of Scan
        Of any people and sessions.
    filters : mapping
        Filters by modality. Those of sessions and people do not count: the target's own scans
        usually belong to others.

    Returns
    -------
    tuple of Scan
        Of each site and modality the scans that the other filters fit, or all where they fit none.
    """
    kinds = {
        modality: {name: v for name, v in own.items() if name not in _WHO_AND_WHEN}
        for modality, own in filters.items()
    }
    fitting = {
        scan.path
        for scan in scans
        if fits(kinds.get(scan.modality, {}), {**scan.metadata, **scan.entities})
    }
    have = {(s.site.site, s.modality) for s in scans if s.path in fitting}
    return tuple(s for s in scans if s.path in fitting or (s.site.site, s.modality) not in have)
