"""What the page of the plan says, from the selected scans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bids_harmony.bids.dataset import ScanSelection
from bids_harmony.bids.naming import harmonized_path
from bids_harmony.bids.scan import Scan
from bids_harmony.cli.overview import (
    covariates_by_site,
    further_words,
    scanner_words,
    scanners_of_sites,
)
from bids_harmony.cli.problems import told_once
from bids_harmony.exceptions import BidsHarmonyError
from bids_harmony.io.pointers import is_named
from bids_harmony.reports.plan import (
    PlannedCovariate,
    PlannedScan,
    PlannedSite,
    PlanPage,
    write_plan_page,
)
from bids_harmony.settings import MODALITIES, Settings
from bids_harmony.sites.names import same_site

__all__ = ["plan_page", "write_plan"]

# What tells a scanner; of the last two, one will do.
_FIELDS = ("Manufacturer", "ManufacturersModelName", "MagneticFieldStrength")
_NAMES = ("DeviceSerialNumber", "StationName")


def write_plan(
    settings: Settings, selection: ScanSelection, *, refused: ScanSelection | None = None
) -> None:
    """Write the page of ``--plan-page``, where it was asked for; arguments as `format_plan`."""
    if settings.plan_page is not None:
        write_plan_page(settings.plan_page, plan_page(settings, selection, refused=refused))


def plan_page(
    settings: Settings, selection: ScanSelection, *, refused: ScanSelection | None = None
) -> PlanPage:
    """Everything that the page says.

    Parameters
    ----------
    settings : Settings
    selection : ScanSelection
    refused : ScanSelection, optional
        The same before scans were refused that do have a site.

    Returns
    -------
    PlanPage
    """
    target = settings.target_site if settings.analysis_level == "participant" else None
    used = {scan.path for scan in selection.scans}
    scans = refused.scans if refused else selection.scans
    sites: dict[str, list[Scan]] = {}
    for scan in scans:
        sites.setdefault(scan.site.site, []).append(scan)
    scanners = scanners_of_sites(scans)
    contradictions = [f"{s.label}: {text}" for s in scans for text in s.site.contradictions]
    return PlanPage(
        target=target,
        sites=[
            PlannedSite(
                site,
                scanners[site],
                people=len({scan.subject for scan in own}),
                sessions=len({(scan.subject, scan.session) for scan in own}),
                counts=Counter(scan.modality for scan in own),
                is_target=target is not None and same_site(site, target),
            )
            for site, own in sorted(sites.items())
        ],
        further=further_words(settings, scans),
        kinds=[kind for kind in MODALITIES if any(scan.modality == kind for scan in scans)],
        covariates=[
            PlannedCovariate(name, found.share, words, found.confounded)
            for name, found, words in covariates_by_site(settings, scans)
        ],
        shells=_shells(settings, scans),
        sidecars=[(scan.label, gaps) for scan in scans if (gaps := _gaps(scan))],
        refused=told_once(selection.problems),
        passed_over=selection.notes,
        there=[scan.label for scan in scans if target and _has_output(settings, scan, target)],
        remarks=[*selection.warnings, *contradictions],
        scans=[
            PlannedScan(
                scan.label,
                scan.site.site,
                scan.site.source,
                scanner_words(scan),
                _outputs(settings, scan, target) if target and scan.path in used else (),
            )
            for scan in scans
        ],
    )


def _gaps(scan: Scan) -> str:
    """What of the scanner a sidecar does not tell."""
    if not scan.metadata:
        return "there is no sidecar, and none to inherit from"
    missing = [name for name in _FIELDS if not scan.metadata.get(name)]
    if not any(scan.metadata.get(name) for name in _NAMES):
        missing.append(" or ".join(_NAMES))
    return ", ".join(missing)


def _shells(settings: Settings, scans: Iterable[Scan]) -> dict[str, str]:
    """Shells of each site, and how many of its series have them."""
    from bids_harmony.workflows.site_scans import check_scan

    found: dict[str, Counter[str]] = {}
    for scan in scans:
        if not scan.gradients:
            continue
        try:
            gradients = check_scan(scan, settings)
        except BidsHarmonyError:
            continue  # among what cannot be used
        assert gradients is not None  # a series
        shells = ", ".join(f"{shell.nominal:g}" for shell in gradients.shells)
        found.setdefault(scan.site.site, Counter())[shells or "b=0 alone"] += 1
    return {
        site: "; ".join(f"{shells} ({n} series)" for shells, n in counts.items())
        for site, counts in sorted(found.items())
    }


def _outputs(settings: Settings, scan: Scan, target: str) -> Sequence[str]:
    from bids_harmony.workflows.spaces import written_spaces

    paths = (
        harmonized_path(settings.output_dir, scan, target, space=space)
        for space in written_spaces(scan, settings)
    )
    return [path.relative_to(settings.output_dir).as_posix() for path in paths]


def _has_output(settings: Settings, scan: Scan, target: str) -> bool:
    return is_named(harmonized_path(settings.output_dir, scan, target))
