"""How much sites, people and repeats differ: a small table of numbers from real scanners.

``data/priors.tsv`` says for each number where it comes from. Logarithms of intensities relative to
white matter have no unit; field terms are coefficients of `imaging.legendre.log_field`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

__all__ = ["MEASURES", "Prior", "prior_of"]

#: Measures of the table that depend on the modality.
MEASURES = ("gm_wm", "csf_wm")


@dataclass(frozen=True)
class Prior:
    """Standard deviations of one measure.

    Attributes
    ----------
    between_sites_sd : float
        Of sites about the mean of all.
    between_people_sd : float
        Of people of one site, beyond repeats.
    repeat_sd : float
        Of scans of one person on one scanner.
    people : float
        As many people as the last two count for against a site's own.
    """

    between_sites_sd: float
    between_people_sd: float
    repeat_sd: float
    people: float

    @property
    def residual_sd(self) -> float:
        """Of one scan a person, about the mean of the site."""
        return float((self.between_people_sd**2 + self.repeat_sd**2) ** 0.5)


def prior_of(modality: str, measure: str) -> Prior:
    """Look up the numbers of a measure.

    Parameters
    ----------
    modality : str
        What is none of the table's (b=0 and diffusion-weighted images) counts as T2w.
    measure : str
        ``gm_wm``, ``csf_wm``, ``field_1`` to ``field_3`` (by degree), ``detail``.
    """
    table = _table()
    for kind in (modality, "T2w", "any"):
        if (kind, measure) in table:
            return table[kind, measure]
    raise KeyError(measure)


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str], Prior]:
    file = resources.files("bids_harmony") / "data" / "priors.tsv"
    rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t")
    return {
        (row["modality"], row["measure"]): Prior(
            float(row["between_sites_sd"]),
            float(row["between_people_sd"]),
            float(row["repeat_sd"]),
            float(row["people"]),
        )
        for row in rows
    }
