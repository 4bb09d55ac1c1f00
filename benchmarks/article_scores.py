"""Travellers of the article's experiment, harmonized and scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from article_cohort import Cohort, Shot
from article_parts import FIGURES, Part
from travelling_run import truth_scores

from bids_harmony.imaging.prepared import Prepared
from lab.tissue_scores import tissue_densities

__all__ = [
    "DENSITY_GRID",
    "Scores",
    "as_rows",
    "density",
    "rounded",
    "score_travellers",
    "watched_psnr",
]

Array = np.ndarray
#: Of densities, in units of a scan's robust maximum.
DENSITY_GRID = np.linspace(0, 1.2, 61)


class Scores:
    """Figures and densities of one method, collected scan by scan."""

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._curves: dict[str, list[Array]] = {}
        self._psnr: dict[str, list[float]] = {}

    def add(self, data: Array, twin: Array, mask: Array, site: str) -> None:
        """Score an image (X, Y, Z) of a scan of a site against its twin."""
        row = truth_scores(data, twin, mask)
        self._rows.append(row)
        self._psnr.setdefault(site, []).append(row["psnr_db"])
        self._curves.setdefault(site, []).append(density(data, mask))

    @property
    def figures(self) -> dict[str, float]:
        """Means over scans."""
        return {k: round(float(np.mean([row[k] for row in self._rows])), 5) for k in FIGURES}

    @property
    def about(self) -> dict[str, Any]:
        """PSNR and density of each source site, means over travellers."""
        return {
            "scans": len(self._rows),
            "psnr_db_of_sites": {s: round(float(np.mean(v)), 3) for s, v in self._psnr.items()},
            "densities": {s: rounded(np.mean(v, axis=0)) for s, v in self._curves.items()},
        }


def density(data: Array, mask: Array) -> Array:
    """Density of the brain's intensities on `DENSITY_GRID`."""
    scaled = data / np.percentile(data[mask], 99.5)
    return np.asarray(tissue_densities(scaled, mask.astype(np.uint8), DENSITY_GRID)["brain"])


def rounded(values: Array) -> list[float]:
    """For JSON."""
    return [round(float(value), 3) for value in values]


def score_travellers(
    cohort: Cohort, modality: str, apply: Callable[[Prepared, str], Array]
) -> Scores:
    """Apply a method to the travellers' scans; it gets scan and source site, nothing else."""
    scores = Scores()
    for shot in cohort.shown(modality):
        made = apply(shot.prepared, shot.site)
        scores.add(made, shot.twin, shot.prepared.mask, shot.site)
    return scores


def watched_psnr(watched: Sequence[Shot], made: Sequence[Array]) -> float:
    """PSNR of validation slices against their twins, in dB.

    Parameters
    ----------
    watched : sequence of Shot
    made : sequence of (X, Y, n) arrays
        What a method makes of the slices `Shot.heights` of each.
    """
    total, count = 0.0, 0
    for scan, image in zip(watched, made, strict=True):
        mask = scan.prepared.mask[:, :, scan.heights]
        error = np.maximum(image, 0)[mask] - scan.twin[:, :, scan.heights][mask]
        total, count = total + float(np.square(error, dtype=np.float64).sum()), count + error.size
    return -10 * float(np.log10(total / count))


def as_rows(part: Part, scores: Mapping[str, Scores], **told: Any) -> list[dict[str, Any]]:
    """Rows of a result, in the order of their columns."""
    return [
        {"part": part.part, "method": method, "losses": part.losses,
         "modality": part.modality, "seed": part.seed, **own.figures, **told}
        for method, own in scores.items()
    ]  # fmt: skip
