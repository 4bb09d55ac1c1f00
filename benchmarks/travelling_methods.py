"""The methods of the travelling-subject benchmark, applied to its cases and scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from sklearn.isotonic import IsotonicRegression
from travelling_cohort import TARGET, Case

from bids_harmony.imaging.smoothing import masked_smooth
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.base import Harmonizer

__all__ = ["BLURRED", "apply", "images", "oracle"]

Array = np.ndarray

#: Closed forms that are also shown blurred: part of any gain may be denoising.
BLURRED = (
    "histogram-n4", "histogram-ratio", "histogram-fit", "histogram-tissue", "histogram-relative",
)  # fmt: skip
#: Gaussian of that control, mm; the best of 1.0, 1.4 and 1.8 on most scans at 2 mm.
BLUR_MM = 1.0


@lru_cache(maxsize=16)
def _model(method: str, folder: Path) -> Harmonizer:
    return load_harmonizer(method, folder)


def apply(case: Case, model: tuple[str, Path]) -> Array:
    """Output of one fitted method, (X, Y, Z) float32 on the reference grid."""
    return (
        _model(*model)
        .apply(case.prepared, modality=case.modality, source_site=case.site, target_site=TARGET)
        .data
    )


def images(case: Case, models: Mapping[str, tuple[str, Path]]) -> Iterator[tuple[str, str, Array]]:
    """Every method's image of a case.

    Parameters
    ----------
    case : Case
    models : mapping of row name to (method, model folder)

    Yields
    ------
    name, variant, data
        ``variant`` is ``sharp`` or ``blurred``; `data` is 0 outside the brain. With ``none`` come
        the oracle and the ceiling.
    """
    for name, model in models.items():
        data = apply(case, model)
        yield name, "sharp", data
        if name in BLURRED:
            sigma = BLUR_MM / case.prepared.grid.voxel_mm
            smooth = masked_smooth(data, case.prepared.mask, sigma)
            yield name, "blurred", np.where(case.prepared.mask, smooth, 0)
    if "none" in models:
        yield "oracle", "sharp", oracle(case)
        yield "ceiling", "sharp", case.target_scan


def oracle(case: Case) -> Array:
    """What a method could do that knew both fields and the best monotone map of this very scan.

    The scan without its true field, through the isotonic regression of its twin without the
    target's field, times that field. It cannot denoise.
    """
    mask = case.prepared.mask
    source = (case.prepared.data / case.source_field)[mask]
    goal = (case.twin / case.target_field)[mask]
    fitted = IsotonicRegression(out_of_bounds="clip").fit(source, goal)
    result = np.zeros_like(case.twin)
    result[mask] = fitted.predict(source) * case.target_field[mask]
    return result
