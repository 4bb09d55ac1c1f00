"""Scans of one person that share a template space, with ``--longitudinal``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bids_harmony.bids.scan import Scan

__all__ = ["with_sessions"]


def with_sessions(scans: Sequence[Scan], everything: Sequence[Scan]) -> list[Scan]:
    """Tell each scan with which others it shares a template space.

    A person's T1w scans share one, if they are of two sessions and more. Other contrasts go
    through a T1w, also that of another session; T2w or FLAIR scans of a person without any T1w
    share a space each with their own kind.

    Parameters
    ----------
    scans : sequence of Scan
        Those that are worked on.
    everything : sequence of Scan
        All of the same people, also of sessions that are not worked on: the space must not depend
        on how sessions are divided among jobs.

    Returns
    -------
    list of Scan
        In the order of `scans`.
    """
    kinds: dict[tuple[str, str], list[Scan]] = {}
    for scan in sorted(everything, key=lambda scan: str(scan.path)):
        if not scan.gradients:
            kinds.setdefault((scan.subject, scan.modality), []).append(scan)
    found = []
    for scan in scans:
        own = kinds.get((scan.subject, scan.modality), [])
        through_t1w = scan.modality != "T1w" and (scan.subject, "T1w") in kinds
        if through_t1w or scan.gradients or len({s.session for s in own}) < 2:
            found.append(scan)
        else:
            found.append(replace(scan, together=tuple(own)))
    return found
