"""Which scans a run works on: the dataset is asked once, only for the subjects that matter."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bids_harmony.bids.census import take_census
from bids_harmony.bids.decisions import about_no_scan, excluded_scans
from bids_harmony.bids.gradient_tables import gradient_tables, is_b0_alone
from bids_harmony.bids.inventory import (
    Inventory,
    check_dataset,
    list_subjects,
    sidecar_applies,
    take_inventory,
)
from bids_harmony.bids.narrowing import of_the_kind, one_of_each
from bids_harmony.bids.query import Found, query_images
from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.bids.sessions import with_sessions
from bids_harmony.bids.site import DatasetSites, resolve_sites
from bids_harmony.bids.stated_sites import read_tables
from bids_harmony.exceptions import (
    BidsHarmonyError,
    MissingInput,
    NothingSelected,
    SiteError,
)
from bids_harmony.io.names import file_stem
from bids_harmony.io.pointers import check_content
from bids_harmony.settings import MODALITIES, Settings
from bids_harmony.sites.names import same_site

__all__ = [
    "Problem",
    "ScanSelection",
    "find_everyone",
    "find_scans",
    "sites_of",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """A scan, folder or subject that cannot be used, and why; the others go on."""

    label: str
    path: Path
    error: BidsHarmonyError


@dataclass(frozen=True)
class ScanSelection:
    """Scans to work on, sorted by path, and what had to be left out.

    Attributes
    ----------
    scans : tuple of Scan
    problems : tuple of Problem
        What is wrong; each counts for the exit code.
    notes : tuple of str
        What is passed over although nothing is wrong with it.
    sites : DatasetSites
        Sites of the whole dataset, whatever is selected.
    warnings : tuple of str
        What is odd about tables, sites and scanners of the selected scans.
    """

    scans: tuple[Scan, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    sites: DatasetSites = field(default_factory=DatasetSites)
    warnings: tuple[str, ...] = ()


def find_scans(
    settings: Settings,
    *,
    whole_dataset: bool = False,
    people: Sequence[str] = (),
    known_sites: Collection[str] = (),
    sites: DatasetSites | None = None,
) -> ScanSelection:
    """Find the scans that the settings select and the site of each.

    Sites are resolved over the whole dataset: that of a scan must not depend on the selection.

    Parameters
    ----------
    settings : Settings
    whole_dataset : bool
        Pass over ``--participant-label``, ``--session-label`` and ``--source-site``, and over
        filters that leave nothing of a site (`narrowing.of_the_kind`): a target site's own scans
        usually belong to other subjects than those being harmonized.
    people : sequence of str
        With `whole_dataset`, labels of those who are looked at; all by default.
    known_sites : collection of str
        Sites of a trained model, which a session label may name.
    sites : DatasetSites, optional
        Sites of the dataset where they have been resolved before.

    Returns
    -------
    ScanSelection
        Problems of single scans are listed, never raised; scans that somebody decided to exclude
        (`decisions`) are among the notes.

    Raises
    ------
    NotBidsError
        When the input is no BIDS dataset.
    DataError
        When a file at the root of the dataset, from which all inherit, cannot be used.
    NothingSelected
        When neither a scan nor a problem is left.
    """
    root = settings.bids_dir
    check_dataset(root)
    filters = settings.bids_filters
    if whole_dataset:
        settings = replace(
            settings,
            participant_labels=tuple(people),
            session_labels=(),
            source_site=None,
            bids_filters={},
        )
    modalities = settings.modalities or MODALITIES
    present = list_subjects(root)
    subjects = [
        label
        for label in present
        if not settings.participant_labels or label in settings.participant_labels
    ]
    problems = [
        Problem(
            f"sub-{label}",
            root / f"sub-{label}",
            NothingSelected(
                "There is no such subject",
                where=str(root),
                got=f"sub-{label}",
                hint="The dataset has "
                + (", ".join(present[:20]) or "no subjects")
                + ("..." if present[20:] else "."),
            ),
        )
        for label in settings.participant_labels
        if label not in present
    ]
    inventory = take_inventory(root, subjects, modalities)
    problems += [
        Problem(folder.relative_to(root).as_posix(), folder, error)
        for folder, error in inventory.folders.items()
    ]

    found, failed = query_images(settings, subjects, modalities, inventory)
    problems += [Problem(folder.name, folder, error) for folder, error in failed.items()]
    if sites is None:
        sites = _dataset_sites(settings, present, inventory, known_sites)
    scans, notes = [], []
    excluded = excluded_scans(settings.output_dir)
    for path, entities, metadata in sorted(found, key=lambda item: item[0]):
        if decided := excluded.get(file_stem(path)):
            notes.append(f"{path.name} is passed over, as was decided: {decided.words}")
            continue
        try:
            check_content(path)
            if error := sites.errors.get(entities["subject"]) or _sidecar_error(path, inventory):
                raise error
            evidence = _site(path, metadata, settings, sites)
            modality = entities["suffix"]
            gradients = gradient_tables(path, root) if modality == "dwi" else None
            if gradients and is_b0_alone(*gradients, settings.b0_threshold):
                notes.append(
                    f"{path.name} is passed over: all of its volumes are b=0 (up to "
                    f"{settings.b0_threshold:g} s/mm2, --b0-threshold), as in series that only "
                    "serve to correct others."
                )
                continue
            scans.append(Scan(path, entities, modality, metadata, evidence, gradients))
        except BidsHarmonyError as problem:
            problems.append(Problem(file_stem(path), path, problem))
    for sidecar, error in inventory.sidecars.items():
        if not any(sidecar_applies(sidecar, path) for path, _, _ in found):
            logger.warning("No selected scan uses it, but: %s", error)
    scans, doubled = one_of_each(scans)
    notes += doubled
    if not scans and all(isinstance(p.error, NothingSelected) for p in problems):
        raise NothingSelected(
            "No scan fits the selection",
            where=str(root),
            got=_describe_selection(settings, modalities),
            hint=" ".join([*(str(p.error) for p in problems[:1]), *notes[:1]])
            or "Compare it with the names in the dataset; names that BIDS does not allow are read "
            "with --skip-bids-validation only, images in a template's space never.",
        )
    kept = of_the_kind(scans, filters) if whole_dataset else tuple(scans)
    if settings.longitudinal:
        everything: Sequence[Scan] = kept
        if settings.session_labels:
            whole = replace(settings, session_labels=(), longitudinal=False)
            everything = find_scans(whole, known_sites=known_sites, sites=sites).scans
        kept = tuple(with_sessions(kept, everything))
    files = {scan.path.relative_to(root).as_posix() for scan in scans}
    warnings = [note.text for note in sites.notes if note.matters(files)]
    if not whole_dataset:
        warnings += about_no_scan(root, settings.output_dir)
    return ScanSelection(
        kept,
        tuple(problems),
        tuple(notes),
        sites,
        (*warnings, *_overruled(scans, settings), *_without_effect(settings, found)),
    )


def find_everyone(settings: Settings, *, sites: DatasetSites | None = None) -> ScanSelection:
    """Scans that may show how sites look: all of the dataset, with what of it cannot be used.

    Those for which ``--source-site`` claims a site are of that site, as with ``--site-map``; but a
    claim makes no scan one of the target's.

    Parameters
    ----------
    settings : Settings
    sites : DatasetSites, optional
        As for `find_scans`.
    """
    whole = find_scans(settings, whole_dataset=True, sites=sites)
    everyone = {s.path: s for s in whole.scans}
    claimed, target = settings.source_site, settings.target_site
    if claimed and not (target and same_site(claimed, target)):
        everyone |= {s.path: s for s in find_scans(settings, sites=whole.sites).scans}
    return replace(whole, scans=tuple(everyone[path] for path in sorted(everyone)))


def _dataset_sites(
    settings: Settings, subjects: Iterable[str], inventory: Inventory, known: Collection[str]
) -> DatasetSites:
    census = take_census(settings.bids_dir, subjects, inventory)
    return resolve_sites(
        census.images,
        read_tables(settings, census),
        site_means=settings.site_means,
        # No session is called after a site that nobody was scanned at.
        target_site=None if settings.to_mean else settings.target_site,
        known_sites=known,
    )


def sites_of(scans: Iterable[Scan]) -> dict[str, int]:
    """Number of scans per site, by name."""
    return dict(sorted(Counter(scan.site.site for scan in scans).items()))


def _without_effect(settings: Settings, found: Iterable[Found]) -> list[str]:
    """Sessions that were asked for and of which there is no image."""
    there = {entities.get("session") for _, entities, _ in found}
    lost = [label for label in settings.session_labels if label not in there]
    return [f"--session-label {' '.join(lost)}: no selected image is of it"] if lost else []


def _overruled(scans: Iterable[Scan], settings: Settings) -> list[str]:
    """What ``--source-site`` makes one that is several scanners."""
    if not settings.source_site:
        return []
    held = Counter(scan.site.scanner for scan in scans if scan.site.scanner)
    if len(held) < 2:
        return []
    listed = ", ".join(f"{scanner} ({n})" for scanner, n in sorted(held.items()))
    return [
        f"--source-site {settings.source_site} makes one site of {len(held)} scanners: {listed}"
    ]


def _sidecar_error(path: Path, inventory: Inventory) -> BidsHarmonyError | None:
    """What is wrong with a sidecar from which a scan inherits."""
    return next(
        (error for bad, error in inventory.sidecars.items() if sidecar_applies(bad, path)), None
    )


def _site(
    path: Path, metadata: Mapping[str, Any], settings: Settings, sites: DatasetSites
) -> SiteEvidence:
    try:
        return sites.of(path.relative_to(settings.bids_dir).as_posix(), settings.source_site)
    except SiteError as error:
        if metadata:
            raise
        raise MissingInput(
            "The scan has no sidecar and nothing else tells its site",
            where=error.where,
            expected=error.expected,
            got="no sidecar beside it and none to inherit from",
            hint=error.hint,
        ) from error


def _describe_selection(settings: Settings, modalities: Sequence[str]) -> str:
    parts = [f"modalities {', '.join(modalities)}"]
    if settings.participant_labels:
        parts.append(f"participants {', '.join(settings.participant_labels)}")
    if settings.session_labels:
        parts.append(f"sessions {', '.join(settings.session_labels)}")
    if settings.bids_filters:
        parts.append(f"filters {dict(settings.bids_filters)}")
    return "; ".join(parts)
