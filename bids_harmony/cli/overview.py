"""Sites, scanners and covariates of the selected scans: what the plan and its page tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.bids.dataset import ScanSelection
from bids_harmony.bids.naming import raw_layout_root
from bids_harmony.bids.scan import Scan
from bids_harmony.settings import Settings
from bids_harmony.sites.enough_people import ENOUGH_PEOPLE

if TYPE_CHECKING:
    from bids_harmony.quality.confounding import Confounding
    from bids_harmony.workflows.given import Given

__all__ = [
    "covariates_by_site",
    "further_words",
    "scanner_words",
    "scanners_of_sites",
    "warn_of_useless",
]


def scanner_words(scan: Scan) -> str:
    """Vendor, model and field strength; a dash where nothing is known."""
    site = scan.site
    field = f"{site.field_strength:g}T" if site.field_strength else None
    return " ".join(part for part in (site.vendor, site.model, field) if part) or "-"


def scanners_of_sites(scans: Sequence[Scan]) -> dict[str, list[str]]:
    """Of each site the scanners within, how many scans they made, and what tells it."""
    sites: dict[str, Counter[tuple[str, str]]] = {}
    for scan in scans:
        key = (scan.site.scanner or "scanner not known", scan.site.source)
        sites.setdefault(scan.site.site, Counter())[key] += 1
    return {
        site: [
            f"{scanner}: {n} scan{'s' if n > 1 else ''}, according to {source}"
            for (scanner, source), n in sorted(told.items())
        ]
        for site, told in sorted(sites.items())
    }


def further_words(settings: Settings, scans: Sequence[Scan]) -> list[tuple[str, str]]:
    """What options that not every run has come to: what it is about, and the words."""
    told = []
    if few := _known_from_few(settings, scans):
        told.append(("Shown by few people", few))
    if settings.profile_filter and scans:
        told.append(
            (
                f"People with {settings.profile_filter}, who show how sites look",
                _who_shows(settings.profile_filter, settings, scans),
            )
        )
    if settings.longitudinal:
        told.append(("Sessions that share a space", _shared_words(scans)))
    if settings.derivatives:
        told.append(("Reused of derivatives", _reused_words(settings, scans)))
    if settings.output_layout == "raw" and settings.analysis_level == "participant":
        root = raw_layout_root(settings.output_dir, str(settings.target_site))
        told.append(("The same images as a raw dataset", str(root)))
    return told


def _known_from_few(settings: Settings, scans: Sequence[Scan]) -> str:
    """Sites whose contrast is not applied in full; empty where others may show them as well."""
    if settings.analysis_level != "participant" or settings.profile_filter:
        return ""
    if settings.selects_people or settings.bids_filters:
        return ""
    # A trained model may bring profiles of its own; other methods take what one person shows.
    if settings.model_dir or settings.method not in ("ihf", "histogram-relative"):
        return ""
    people: dict[tuple[str, str], set[str]] = {}
    for scan in scans:
        if not scan.gradients:
            people.setdefault((scan.modality, scan.site.site), set()).add(scan.subject)
    counts = {key: min(len(own), settings.bank_scans) for key, own in sorted(people.items())}
    few = [f"{site} {n} ({kind})" for (kind, site), n in counts.items() if n < ENOUGH_PEOPLE]
    if not few or len({site for _, site in people}) < 2:
        return ""
    return (
        f"{', '.join(few)}. With fewer than {ENOUGH_PEOPLE} people a site's contrast is applied "
        "in part, with one or two hardly at all: they may be ill. Each scan's page says how much."
    )


def _who_shows(query: str, settings: Settings, scans: Sequence[Scan]) -> str:
    """How many of the selected people may show their sites."""
    from bids_harmony.bids.people_filter import who_fits

    fits = who_fits(settings.bids_dir, query, [(scan.subject, scan.session) for scan in scans])
    of_site: dict[str, dict[str, bool]] = {}
    for scan, fit in zip(scans, fits, strict=True):
        people = of_site.setdefault(scan.site.site, {})
        people[scan.subject] = people.get(scan.subject, False) or fit
    return ", ".join(
        f"{s} {sum(own.values())} of {len(own)}" for s, own in sorted(of_site.items())
    )


def _reused(scan: Scan, settings: Settings) -> tuple[bool, Given | None]:
    """Whether a scan's mask lies in ``--derivatives``; transforms and tissue maps that do."""
    from bids_harmony.workflows.given import find_given
    from bids_harmony.workflows.precomputed import given_mask

    mask = given_mask(scan, settings, warn=False)
    folders = settings.derivatives.values()
    masked = mask is not None and any(mask.is_relative_to(folder) for folder in folders)
    return masked, find_given(scan, settings)


def _reused_words(settings: Settings, scans: Sequence[Scan]) -> str:
    """How many scans find masks, transforms and tissue maps in ``--derivatives``."""
    found = [(scan, *_reused(scan, settings)) for scan in scans]
    given = [(scan, own) for scan, _, own in found if own]
    counts = {
        "brain masks": sum(masked for _, masked, _ in found),
        # Sessions that share a space find their own.
        "transforms": sum(g.reference is not None and not scan.together for scan, g in given),
        "tissue maps": sum(bool(g.tissues) for _, g in given),
    }
    return ", ".join(f"{words} of {n} scans" for words, n in counts.items())


def warn_of_useless(settings: Settings, selection: ScanSelection) -> ScanSelection:
    """Add to the warnings which folders of ``--derivatives`` have nothing for any scan."""
    warnings = []
    for name, folder in settings.derivatives.items():
        alone = replace(settings, derivatives={name: folder})
        if selection.scans and not any(any(_reused(scan, alone)) for scan in selection.scans):
            warnings.append(
                f"--derivatives {name}={folder} has nothing for any selected scan: neither "
                "*_desc-brain_mask.nii.gz, nor *_mode-image_xfm.h5 (or .txt) to a template, nor "
                f"*_probseg.nii.gz, in sub-*/[ses-*/]anat or dwi. {_what_there_is(folder)}"
            )
    return replace(selection, warnings=(*selection.warnings, *warnings))


def _what_there_is(folder: Path) -> str:
    people = sorted(path.name for path in folder.glob("sub-*/"))
    below = sorted({path.parent.name for path in folder.glob("*/sub-*/") if _is_output(path)})
    if people:
        return f"It has {', '.join(people[:5])}" + (", ..." if people[5:] else ".")
    if below:
        return f"Did you mean {folder / below[0]}?"
    return "It has no folder of any person."


def _is_output(person: Path) -> bool:
    """Whether a person's folder is of a derivative, and not of raw data."""
    return next(person.glob("**/*_desc-*"), None) is not None


def _shared_words(scans: Sequence[Scan]) -> str:
    """Whose sessions share a template space, and how many scans of which contrast each has."""
    spaces = {
        (scan.subject, scan.modality): f"sub-{scan.subject} ({len(scan.together)} {scan.modality})"
        for scan in scans
        if scan.together
    }
    return ", ".join(spaces.values()) or "none, nobody has T1w scans of two sessions"


def covariates_by_site(
    settings: Settings, scans: Sequence[Scan]
) -> list[tuple[str, Confounding, str]]:
    """Of each covariate that is known at two sites: its name, how far sites differ in it, and mean
    and range at each site in words.

    Nothing where only some people were selected: everybody shows how the sites look, and what
    these few differ in says nothing of them.

    Raises
    ------
    UsageError, MissingInput, DataError
        As `bids.covariates.covariate_columns`.
    """
    import numpy as np

    from bids_harmony.bids.covariates import covariate_columns
    from bids_harmony.quality.confounding import confounding

    if settings.selects_people:
        return []
    people = {(scan.subject, scan.session): scan.site.site for scan in scans}
    units, sites = list(people), list(people.values())
    columns = covariate_columns(settings.bids_dir, units, settings.covariates)
    told = []
    for name, values in columns.items():
        known = np.isfinite(values)
        if len({site for site, own in zip(sites, known, strict=True) if own}) < 2:
            continue
        by_site = []
        for site in dict.fromkeys(sites):
            own = [v for v, s in zip(values, sites, strict=True) if s == site and np.isfinite(v)]
            if own:
                by_site.append(f"{site} {np.mean(own):.3g} ({min(own):.3g} to {max(own):.3g})")
        told.append((name, confounding(sites, values), ", ".join(by_site)))
    return told
