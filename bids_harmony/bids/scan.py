"""One image of the input dataset, and how its site is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_harmony.io.names import file_stem

__all__ = ["Scan", "SiteEvidence"]


@dataclass(frozen=True)
class SiteEvidence:
    """The site of one scan and why.

    Attributes
    ----------
    site : str
        The site's name.
    source : str
        The rule that won, in words: ``participants.tsv: site``, ``session label``,
        ``InstitutionName``, ...
    vendor, model : str or None
        Normalized scanner names.
    field_strength : float or None
        Nominal, tesla.
    candidates : tuple of (str, str)
        Every rule that had an answer and its answer, the winner first.
    contradictions : tuple of str
        Statements that cannot all be true.
    scanner : str or None
        The scanner in words, as far as all of its scans tell it.
    """

    site: str
    source: str
    vendor: str | None = None
    model: str | None = None
    field_strength: float | None = None
    candidates: tuple[tuple[str, str], ...] = ()
    contradictions: tuple[str, ...] = ()
    scanner: str | None = None


@dataclass(frozen=True)
class Scan:
    """One image of the input.

    Attributes
    ----------
    path : Path
        Absolute, below the dataset root; links are not followed.
    entities : mapping
        PyBIDS entities of the file name as text (``subject``, ``session``, ``acquisition``,
        ``datatype``, ...).
    modality : str
        ``T1w``, ``T2w``, ``FLAIR`` or ``dwi``.
    metadata : mapping
        Sidecar fields after BIDS inheritance.
    site : SiteEvidence
        Where it was acquired and how that is known.
    gradients : (Path, Path), optional
        bval and bvec file of a diffusion series, its own or inherited.
    together : tuple of Scan
        With ``--longitudinal`` the scans of all sessions of the person, itself among them, that
        share one template space; empty where it shares none.
    """

    path: Path
    entities: Mapping[str, str]
    modality: str
    metadata: Mapping[str, Any]
    site: SiteEvidence
    gradients: tuple[Path, Path] | None = None
    together: tuple[Scan, ...] = ()

    @property
    def subject(self) -> str:
        """Subject label without ``sub-``."""
        return self.entities["subject"]

    @property
    def session(self) -> str | None:
        """Session label without ``ses-``, None in a dataset without sessions."""
        return self.entities.get("session")

    @property
    def label(self) -> str:
        """File stem such as ``sub-01_ses-A_T1w``: names the scan in logs and folders."""
        return file_stem(self.path)
