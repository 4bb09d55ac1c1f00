"""The plan of a run as a page: what will be done, what not, and why; one file, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_harmony import __version__
from bids_harmony.bids.derivative import write_text
from bids_harmony.reports.page import filled

__all__ = ["PlanPage", "PlannedCovariate", "PlannedScan", "PlannedSite", "write_plan_page"]


@dataclass(frozen=True)
class PlannedSite:
    """A site: its scanners, its people, their sessions, and its scans by kind."""

    name: str
    scanners: Sequence[str]
    people: int
    sessions: int
    counts: Mapping[str, int]
    is_target: bool = False


@dataclass(frozen=True)
class PlannedCovariate:
    """How closely a covariate goes with the site."""

    name: str
    share: float
    by_site: str
    confounded: bool


@dataclass(frozen=True)
class PlannedScan:
    """A scan: its site and why, and what will be written of it; nothing where it is refused."""

    label: str
    site: str
    evidence: str
    scanner: str
    outputs: Sequence[str]


@dataclass(frozen=True)
class PlanPage:
    """What the page says.

    Attributes
    ----------
    target : str or None
    sites, covariates, scans : sequence
    further : sequence of (what, words)
        What options that not every run has come to, such as sessions that share a space.
    kinds : sequence of str
        Of scans, the columns of the table of sites.
    shells : mapping of site to text
        b-values of its diffusion series.
    sidecars : sequence of (scan, what is missing)
    refused : sequence of (whats, why)
    passed_over : sequence of str
        Nothing is wrong with it.
    there : sequence of str
        Scans that have an output already.
    remarks : sequence of str
        Contradictions and warnings.
    """

    target: str | None
    sites: Sequence[PlannedSite]
    further: Sequence[tuple[str, str]]
    kinds: Sequence[str]
    covariates: Sequence[PlannedCovariate]
    shells: Mapping[str, str]
    sidecars: Sequence[tuple[str, str]]
    refused: Sequence[tuple[Sequence[str], str]]
    passed_over: Sequence[str]
    there: Sequence[str]
    remarks: Sequence[str]
    scans: Sequence[PlannedScan]


def write_plan_page(path: Path, plan: PlanPage) -> None:
    """Write the page, whole or not at all.

    Raises
    ------
    CannotCreateOutput, TryAgain, InputOutputError
        As `derivative.write_text`.
    """
    write_text(path, filled("plan.html", plan=plan, version=__version__))
