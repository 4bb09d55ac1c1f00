"""People who were scanned at the target site as well: how far are their scans from that one?"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bids_harmony.exceptions import BidsHarmonyError, MissingProgram
from bids_harmony.group.outputs import Output
from bids_harmony.imaging.mask import read_brain
from bids_harmony.imaging.prepared import Prepared, prepare
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.transforms import read_transform
from bids_harmony.imaging.volume import read_volume
from bids_harmony.quality.perceptual import PerceptualMetric, lpips, shift_tolerant_lpips
from bids_harmony.quality.summary import STAGES, ScanSummary
from bids_harmony.quality.travelling import score_against_twin

__all__ = ["FLOOR", "TravellingRow", "travelling_rows"]

logger = logging.getLogger(__name__)

#: State of a second scan at the target itself: no method can be expected to come closer.
FLOOR = "rescan"
_LPIPS_SLICES = 12


@dataclass(frozen=True)
class TravellingRow:
    """One scan of a traveller against the same person's scan at the target.

    Attributes
    ----------
    participant, scan, site : str
    state : {"source", "harmonized", "rescan"}
    rmse, psnr_db, ms_ssim : float
        Inside the brain that both scans cover, each scan scaled by its own 99.5th percentile.
    lpips : float
        NaN where the package with its weights is not installed.
    """

    participant: str
    scan: str
    site: str
    state: str
    rmse: float
    psnr_db: float
    ms_ssim: float
    lpips: float


def travelling_rows(outputs: Sequence[Output]) -> list[TravellingRow]:
    """Compare travelling subjects' scans with their own scan at the target.

    The target's scan is only looked at here, after everything is harmonized. Images are compared
    on the reference grid, where registration errs alike before and after.

    Parameters
    ----------
    outputs : sequence of Output
        Structural images of one suffix and one target.
    """
    people: dict[str, list[Output]] = {}
    for output in outputs:
        if isinstance(output.summary, ScanSummary) and output.mask and output.transform:
            people.setdefault(output.participant, []).append(output)
    several = {
        participant: own
        for participant, own in people.items()
        if len(own) > 1 and any(o.same_site for o in own)
    }
    rows: list[TravellingRow] = []
    for own in tqdm(several.values(), "travelling subjects", disable=None):
        try:
            # All of a person or nothing: half a comparison misleads.
            rows += list(_of_person(own))
        except BidsHarmonyError as error:
            logger.warning("sub-%s is left out of the travelling subjects: %s",
                           own[0].participant, error)  # fmt: skip
    return rows


def _of_person(own: Sequence[Output]) -> Iterator[TravellingRow]:
    at_target = [o for o in own if o.same_site]
    target = _on_reference(at_target[0], at_target[0].source)
    for output in at_target[1:]:
        yield _row(output, FLOOR, _on_reference(output, output.source), target)
    for output in own:
        if not output.same_site:
            for state, path in zip(STAGES, (output.source, output.scan.image), strict=True):
                yield _row(output, state, _on_reference(output, path), target)


def _on_reference(output: Output, path: Path | None) -> Prepared:
    """An image of a scan on the reference grid: the source or what was made of it."""
    assert output.mask and output.transform and path
    assert isinstance(output.summary, ScanSummary)
    return prepare(
        read_volume(path),
        read_brain(output.mask),
        read_transform(output.transform),
        reference_grid(output.summary.voxel_mm),
    )


def _row(output: Output, state: str, image: Prepared, target: Prepared) -> TravellingRow:
    mask = image.mask & target.mask
    score = score_against_twin(image.data, target.data, mask)
    return TravellingRow(
        output.participant, output.label, output.site, state, score["rmse"], score["psnr_db"],
        score["ms_ssim"], _lpips(image.data, target.data, mask),
    )  # fmt: skip


def _lpips(image: NDArray, target: NDArray, mask: NDArray[np.bool_]) -> float:
    metric = _metric()
    if metric is None:
        return float("nan")
    scaled = [np.where(mask, d / np.percentile(d[mask], 99.5), 0) for d in (target, image)]
    return lpips(*scaled, data_range=1.0, metric=metric, mask=mask, max_slices=_LPIPS_SLICES)


@lru_cache(maxsize=1)
def _metric() -> PerceptualMetric | None:
    try:
        return shift_tolerant_lpips()
    except MissingProgram as error:
        logger.info("LPIPS is left out: %s", error)
        return None
