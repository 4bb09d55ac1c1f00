"""From a located scan to a harmonized one, the same for the command line and for Python."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from bids_harmony.exceptions import OutOfRange
from bids_harmony.imaging.agreement import check_brain
from bids_harmony.imaging.intensity import correct_bias
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.prepared import Prepared, prepare
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.volume import Volume
from bids_harmony.methods.base import Applied, Harmonizer, finish
from bids_harmony.quality.contrast import ContrastKept, contrast_kept_by_tissue
from bids_harmony.sites.training_range import UNUSUAL

__all__ = ["Outcome", "apply_method", "prepare_scan"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a prepared scan.

    Attributes
    ----------
    applied : Applied
        The result on the reference grid; the scan itself where it was left as it is.
    contrast : ContrastKept
        Of what the method made, also where that was not taken.
    novelty : float or None
        How far the scan is from training, 1 at the border; None where the method cannot tell.
    left : str
        Why the scan was left as it is; empty where it was not.
    seconds : float
        That the method took.
    """

    applied: Applied
    contrast: ContrastKept
    novelty: float | None
    left: str
    seconds: float


def prepare_scan(
    volume: Volume, mask: BrainMask, world: np.ndarray, voxel_mm: float, *, n4: bool = False
) -> tuple[Volume, Prepared]:
    """Put a scan on the reference grid and see that it shows a brain.

    Parameters
    ----------
    volume : Volume
    mask : BrainMask
        On the grid of `volume`.
    world : (4, 4) float
        RAS+ mm of the scan to RAS+ mm of the reference.
    voxel_mm : float
        Spacing of the reference grid.
    n4 : bool
        Correct the smooth bias first.

    Returns
    -------
    volume : Volume
        As it was prepared: N4-corrected if asked for.
    prepared : Prepared

    Raises
    ------
    ImageError
        As `imaging.prepared.prepare`; or no tissue stands where the template has it.
    """
    if n4:
        volume = correct_bias(volume, mask)
    prepared = prepare(volume, mask, world, reference_grid(voxel_mm))
    check_brain(prepared, volume.where)
    return volume, prepared


def apply_method(
    method: Harmonizer,
    prepared: Prepared,
    *,
    modality: str,
    source_site: str,
    target_site: str,
    on_ood: str = "auto",
    where: str = "image in memory",
    whole: bool = True,
) -> Outcome:
    """Harmonize a prepared scan, and see that it can be and that its contrast is kept.

    Parameters
    ----------
    method : Harmonizer
    prepared : Prepared
        On the method's grid.
    modality, source_site, target_site : str
    on_ood : {"auto", "warn", "leave", "skip", "error"}
        What to do with a scan that is unlike those of training, or would lose its contrast: warn
        and go on, leave it as it is, or refuse it. ``auto`` warns of the first and leaves the
        second.
    where : str
        The scan, for messages.
    whole : bool
        False for a part of a brain, which training has none of.

    Raises
    ------
    OutOfRange
    SiteError
        The method does not know one of the sites.
    """
    novelty = method.novelty(prepared, modality) if whole else None
    left = ""
    if novelty is not None and novelty > UNUSUAL:
        left = _refuse_or_warn(_unusual(where, novelty), on_ood)
    start = perf_counter()
    applied = method.apply(
        prepared, modality=modality, source_site=source_site, target_site=target_site
    )
    seconds = perf_counter() - start
    kept = contrast_kept_by_tissue(
        prepared.data, applied.data, prepared.mask, modality, method.voxel_mm
    )
    if losses := kept.losses():
        loses = "leave" if on_ood == "auto" else on_ood
        left = _refuse_or_warn(_flattened(where, losses), loses) or left
    if left:
        applied = finish(prepared.data, prepared.mask, applied.round_trip_error)
    return Outcome(applied, kept, novelty, left, seconds)


def _unusual(where: str, novelty: float) -> OutOfRange:
    return OutOfRange(
        "The scan is unlike all that the model was trained on",
        where=where,
        expected=f"an out-of-distribution score of at most {UNUSUAL:g}",
        got=f"{novelty:.2f}",
        hint="Look at the image, its mask and its modality.",
    )


def _flattened(where: str, losses: list[str]) -> OutOfRange:
    return OutOfRange(
        "Harmonization would take contrast away from the scan, or invent it",
        where=where,
        got="; ".join(losses),
        hint="Look at the scan's mask and tissues, and at the scans behind both sites.",
    )


def _refuse_or_warn(error: OutOfRange, on_ood: str) -> str:
    """Why the scan is to be left as it is; empty where it is not. Says what is done with it.

    Raises
    ------
    OutOfRange
    """
    if on_ood in ("skip", "error"):
        raise OutOfRange(
            error.what,
            where=error.where,
            expected=error.expected,
            got=error.got,
            hint=f"{error.hint} It was refused; {_option('warn')} harmonizes it all the same, "
            f"{_option('leave')} writes it as it is.",
        )
    if on_ood == "leave":
        logger.warning(
            "%s It is left as it is; %s harmonizes it all the same.", error, _option("warn")
        )
        return f"{error.what}: {error.got}"
    logger.warning(
        "%s It is harmonized all the same; %s leaves such a scan as it is, %s refuses it.",
        error, _option("leave"), _option("error"),
    )  # fmt: skip
    return ""


def _option(value: str) -> str:
    """The choice as the command line and as Python spell it."""
    return f'--on-ood {value} (in Python, on_ood="{value}")'
