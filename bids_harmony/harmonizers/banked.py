"""What all fitted methods share: the site banks of a model folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from bids_harmony.exceptions import SiteError
from bids_harmony.training.bank_files import BANKS_FILE, read_banks
from bids_harmony.training.site_bank import SiteBank

__all__ = ["Banked"]


class Banked:
    """A method that knows sites by their banks.

    Parameters
    ----------
    model_dir : Path
        Folder that the level train wrote.
    """

    def __init__(self, model_dir: Path) -> None:
        self.model_dir = Path(model_dir)
        self.banks, self.voxel_mm = read_banks(self.model_dir)
        content = (self.model_dir / BANKS_FILE).read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()

    def count_weights(self, sha256: str) -> None:
        """Let the weights count in the method's sha256: a model is its weights and its banks."""
        self.sha256 = hashlib.sha256((sha256 + self.sha256).encode()).hexdigest()

    def sites(self, modality: str) -> tuple[str, ...]:
        """Sites with a bank for the modality, sorted."""
        return tuple(sorted(site for site, kind in self.banks if kind == modality))

    def targets(self, modality: str) -> tuple[str, ...]:
        """Sites whose look the method can give, sorted."""
        return self.sites(modality)

    def bank(self, modality: str, site: str) -> SiteBank:
        """Give the bank of a site.

        Raises
        ------
        SiteError
            The model has never seen this site and modality.
        """
        if (site, modality) not in self.banks:
            raise SiteError(
                f"The model knows no site {site!r} for {modality}",
                where=str(self.model_dir),
                expected=", ".join(self.sites(modality)) or f"a model trained with {modality}",
                got=site,
                hint="Run the level train with scans of this site.",
            )
        return self.banks[site, modality]

    def target_look(self, modality: str, site: str) -> np.ndarray:
        """Mean image of the site on the reference grid, (X, Y, Z) float32."""
        return self.bank(modality, site).mean_image

    def target_quantiles(self, modality: str, site: str) -> np.ndarray:
        """Intensity quantiles 0 to 100 % of the site, (101,) float64, in units of scale."""
        return self.bank(modality, site).quantiles
