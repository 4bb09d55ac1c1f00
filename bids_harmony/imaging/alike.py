"""Which scans of a person are alike enough to share one space."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.volume import Volume
from bids_harmony.imaging.within_person import SharedSpace, share_space

__all__ = ["LEAST_AGREEMENT", "share_alike"]

logger = logging.getLogger(__name__)

LEAST_AGREEMENT = 0.55
"""Correlation of a session with the mean of the others inside the brain, each voxel relative to
what is around it. Of 30 pairs of scans of one simulated person at two of six scanners none has
less than 0.76, of 36 pairs of two people none more than 0.41."""


def share_alike(
    scans: Mapping[str, tuple[Volume, BrainMask | None]],
    *,
    modality: str,
    seed: int = 0,
    sloppy: bool = False,
) -> tuple[SharedSpace | None, list[str]]:
    """Find the space of a person's scans, without those that are unlike the others.

    Parameters
    ----------
    scans : mapping of str to (Volume, BrainMask or None)
        By their names, for messages.
    modality, seed, sloppy
        As for `within_person.share_space`.

    Returns
    -------
    shared : SharedSpace or None
        None where fewer than two scans are alike.
    together : list of str
        The scans that share it, in its order.

    Raises
    ------
    ImageError
        As `within_person.share_space`.
    """
    together = list(scans)
    while len(together) > 1:
        shared = share_space(
            [scans[name] for name in together], modality=modality, seed=seed, sloppy=sloppy
        )
        agreements = dict(zip(together, shared.agreements, strict=True))
        worst = min(agreements, key=lambda name: agreements[name])
        if agreements[worst] >= LEAST_AGREEMENT:
            return shared, together
        # Of two nobody knows which is wrong.
        for name in list(together) if len(together) == 2 else [worst]:
            logger.warning(
                "%s is unlike the person's other sessions (correlation %.2f): it is registered by "
                "itself. Is it of another person, or its orientation wrong?",
                name,
                agreements[name],
            )
            together.remove(name)
    return None, []
