"""What all fitted methods share: the site banks of a model folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bids_harmony.exceptions import SiteError
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.sites.image_profile import SiteBank
from bids_harmony.sites.profile_cache import Shelf
from bids_harmony.sites.profile_files import BANKS_FILE, bank_digest, read_banks

if TYPE_CHECKING:
    from bids_harmony.sites.difference import SiteDifference

__all__ = ["Banked"]


class Banked:
    """A method that knows sites by their banks.

    Parameters
    ----------
    model_dir : Path
        Folder that the level train wrote, or of the shipped model, which knows no site.
    shelf : Shelf, optional
        Banks of other sites, made on the fly. The model's own come before them, but for those of
        images that a user gave in a site's place. The model's grid is the shelf's.
    own_banks : bool
        False leaves the model's own banks and their grid aside: only the shelf counts.
    """

    needs_source = False

    def __init__(
        self, model_dir: Path, shelf: Shelf | None = None, *, own_banks: bool = True
    ) -> None:
        self.model_dir = Path(model_dir)
        self.shelf: Shelf | None = shelf
        self.banks: dict[tuple[str, str], SiteBank] = {}
        self._from_shelf: dict[tuple[str, str], SiteBank] = {}
        banks_file = self.model_dir / BANKS_FILE
        if shelf is None or (own_banks and banks_file.is_file()):
            self.banks, self.voxel_mm = read_banks(self.model_dir)
            self.sha256 = hashlib.sha256(banks_file.read_bytes()).hexdigest()
        else:
            self.voxel_mm = shelf.voxel_mm
            self.sha256 = hashlib.sha256(b"").hexdigest()
        self._weights_sha256 = ""
        if shelf is not None:
            self.shelf = shelf.on_grid(self.voxel_mm)

    def count_weights(self, sha256: str) -> None:
        """Let the weights count in the method's sha256: a model is its weights and its banks."""
        self._weights_sha256 = sha256
        self.sha256 = hashlib.sha256((sha256 + self.sha256).encode()).hexdigest()

    def identity(self, modality: str, source_site: str, target_site: str) -> str:
        """sha256 of all of the model that a scan of one site depends on when it goes to another.

        Banks of further sites do not change it.
        """
        parts = [self._weights_sha256]
        for site in (source_site, target_site):
            known = self.has_bank(modality, site)
            parts.append(bank_digest(self.bank(modality, site)) if known else "")
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def sites(self, modality: str) -> tuple[str, ...]:
        """Sites with a bank for the modality, sorted."""
        shelved = self.shelf.sites(modality) if self.shelf else ()
        return tuple(sorted({*self.own_sites(modality), *shelved}))

    def own_sites(self, modality: str) -> tuple[str, ...]:
        """Sites with a bank in the model itself, sorted."""
        return tuple(sorted(site for site, kind in self.banks if kind == modality))

    def targets(self, modality: str) -> tuple[str, ...]:
        """Sites whose look the method can give, sorted."""
        return self.sites(modality)

    def has_bank(self, modality: str, site: str) -> bool:
        """Whether the site is known."""
        return self._find(modality, site) is not None

    def _find(self, modality: str, site: str) -> SiteBank | None:
        key = site, modality
        if key in self._from_shelf:
            return self._from_shelf[key]
        own = self.banks.get(key)
        made_of = self.shelf.made_of(site, modality) if self.shelf else None
        if self.shelf is None or made_of is None:
            return own
        # Only images that a user gave in the site's place come before what the model knows.
        if own is not None and not made_of.get("given"):
            return own
        found = self.shelf.read(site, modality)
        if found is None:
            return own
        self._from_shelf[key] = found[0]
        return found[0]

    def bank(self, modality: str, site: str) -> SiteBank:
        """Give the bank of a site.

        Raises
        ------
        SiteError
            Neither the model nor the shelf has one.
        """
        bank = self._find(modality, site)
        if bank is None:
            raise SiteError(
                f"The model knows no site {site!r} for {modality}",
                where=str(self.model_dir),
                expected=", ".join(self.sites(modality)) or f"a model trained with {modality}",
                got=site,
                hint="Run the level train with scans of this site.",
            )
        return bank

    def evidence(self, modality: str, source_site: str, target_site: str) -> SiteDifference | None:
        """What is known of the difference of two sites; None where either is not known."""
        source, target = (self._find(modality, site) for site in (source_site, target_site))
        if source is None or target is None or source is target:
            return None
        from bids_harmony.methods.conditioned import site_evidence

        return site_evidence(source, target)

    def novelty(self, prepared: Prepared, modality: str) -> float | None:
        """How far a scan is from training, 1 at the border; None where a method cannot tell."""
        return None

    def target_look(self, modality: str, site: str) -> np.ndarray:
        """Mean image of the site on the reference grid, (X, Y, Z) float32."""
        return self.bank(modality, site).mean_image

    def target_quantiles(self, modality: str, site: str) -> np.ndarray:
        """Intensity quantiles 0 to 100 % of the site, (101,) float64, in units of scale."""
        return self.bank(modality, site).quantiles
