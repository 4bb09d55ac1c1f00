"""Which site each scan of a dataset comes from. A site is a scanner.

Scans are divided among scanners by what all sidecars say together (`scanner_groups`). Then every
scan takes the first name that there is for it:

1. a row of ``--site-map``;
2. a column ``site`` (``site_id``, ``center``, ``centre``, ``scanner``) of ``scans.tsv``,
   ``sessions.tsv``, ``participants.tsv``, lowest level first;
3. a session label that names a known site (``ses-COI``, ``ses-siteCOI``) and is no mere number;
4. such a name of other scans, where serial number or station say that the scanner is the same;
5. ``InstitutionName``, ``StationName``, ``DeviceSerialNumber`` of the scanner;
6. vendor, model and field strength of the scanner (a site "at vendor level");
7. the letters before the number in the subject label (``sub-COI01``): corroboration only, never a
   name.

Where one name holds several scanners, each is a site of its own, called after both, and this is
told; ``--site-means institution`` makes them one. ``--source-site`` overrules all of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from bids_harmony.bids.census import Image
from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.bids.scanner_groups import Observation, ScannerGroup, group_scanners
from bids_harmony.bids.scanner_names import ScannerWords, scanner_words
from bids_harmony.bids.scanner_profile import Profile
from bids_harmony.bids.site_notes import Note, notes_on_names, notes_on_scanners
from bids_harmony.bids.site_statements import (
    Statement,
    contradictions,
    described,
    read_statements,
)
from bids_harmony.bids.site_tables import SITE_COLUMNS, SiteTables, Told
from bids_harmony.exceptions import BidsHarmonyError, SiteError
from bids_harmony.io.names import file_stem
from bids_harmony.sites.names import (
    canonical_site,
    clean_name,
    find_name,
    name_key,
)

__all__ = [
    "SITE_OPTIONS",
    "DatasetSites",
    "canonical_site",
    "resolve_sites",
]

SITE_OPTIONS = (
    "Tell sites with --site-column COLUMN (one or several of participants.tsv, sessions.tsv or "
    "scans.tsv), with --site-map TABLE.tsv (columns participant_id, session_id, site), or with "
    "--source-site SITE for all selected scans."
)
"""How users tell sites that the dataset does not tell by itself."""
_SIDECAR_FIELDS = ("InstitutionName", "StationName", "DeviceSerialNumber")
_KIND = "vendor, model and field strength"


@dataclass(frozen=True)
class DatasetSites:
    """The sites of a whole dataset.

    Attributes
    ----------
    scans : mapping of str to SiteEvidence
        By file name relative to the root; scans of which nothing tells the site are missing.
    names : mapping of str to tuple of str
        Every name that was found, and the sites that it holds: itself, or one per scanner.
    notes : tuple of Note
        What is odd about sites and tables as a whole.
    errors : mapping of str to error
        What is wrong with the tables of single subjects, whose sites are then not known.
    people : dict of str to list of Scan
        Scans of people who were asked for one by one, see `site_search.scans_of`.
    """

    scans: Mapping[str, SiteEvidence] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    errors: Mapping[str, BidsHarmonyError] = field(default_factory=dict)
    people: dict[str, tuple[Scan, ...]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of scans per site, by name."""
        return dict(sorted(Counter(e.site for e in self.scans.values()).items()))

    @property
    def units(self) -> list[tuple[str, str | None]]:
        """Subject and session of every scan, without prefixes; each once."""
        matches = (re.match(r"sub-([^/_]+)/(?:ses-([^/_]+)/)?", file) for file in self.scans)
        return list(dict.fromkeys((m[1], m[2]) for m in matches if m))

    def showing(self, modality: str) -> tuple[str, ...]:
        """Sites with a scan of a modality, sorted."""
        ending = f"_{modality}"
        return tuple(
            sorted({e.site for f, e in self.scans.items() if file_stem(f).endswith(ending)})
        )

    def meant(self, asked: str, more: Iterable[str] = ()) -> list[str]:
        """Sites that somebody may mean: one, none, or several of which one has to be chosen.

        Parameters
        ----------
        asked : str
            A site, or a name that holds sites, in nearly any spelling.
        more : iterable of str
            Sites that are known from elsewhere, such as those of a model.
        """
        more = set(more)
        found = find_name(asked, {*more, *self.counts, *self.names})
        return sorted(
            {site for name in found for site in (() if name in more else self.names.get(name, ()))}
            | {name for name in found if name in more or name in self.counts}
        )

    def of(self, filename: str, source_site: str | None = None) -> SiteEvidence:
        """The site of one scan.

        Parameters
        ----------
        filename : str
            Relative to the root, with forward slashes.
        source_site : str, optional
            ``--source-site``, which overrules what was found.

        Raises
        ------
        SiteError
            When no rule answers; the message tells everything that was looked at.
        """
        found = self.scans.get(filename)
        if given := clean_name(source_site):
            known = self.meant(given)
            site = known[0] if len(known) == 1 else given
            answer = ("--source-site", site)
            if found is None:
                return SiteEvidence(site, answer[0], candidates=(answer,))
            # It is meant to overrule; saying so for every scan would drown what matters.
            told = tuple(c for c in found.contradictions if " says " not in c)
            told += contradictions([answer], found.vendor)
            candidates = (answer, *found.candidates)
            return replace(
                found, site=site, source=answer[0], candidates=candidates, contradictions=told
            )
        if found is None:
            raise _unresolved(filename)
        return found


def resolve_sites(
    images: Mapping[str, Image],
    tables: SiteTables,
    *,
    site_means: str = "scanner",
    target_site: str | None = None,
    known_sites: Collection[str] = (),
) -> DatasetSites:
    """Find the sites of all scans of a dataset.

    Parameters
    ----------
    images : mapping of str to Image
        All of the dataset by file name, whatever is selected: the site of a scan must not depend
        on who else is harmonized.
    tables : SiteTables
        What the dataset's tables and ``--site-map`` say.
    site_means : str
        ``scanner`` or ``institution``.
    target_site : str, optional
        ``--target-site``; like every site of a table and every vendor, a session label may name
        it.
    known_sites : collection of str
        More sites that a session label may name, such as those of a trained model. Where
        spellings differ, these are used.
    """
    files = list(images)
    scans = read_statements(images, tables, target_site, known_sites)
    groups = group_scanners(
        [
            Observation(
                scan.profile,
                name_key(scan.name) if scan.name else None,
                (image.subject, image.session),
            )
            for image, scan in zip(images.values(), scans, strict=True)
        ]
    )
    profiles = [scan.profile for scan in scans]
    words = [scanner_words(group, profiles) for group in groups]
    spoken = [str(told) for told in words]
    winners = _name_scans(scans, groups, words)
    # Of each name the scanners that it holds, and the files of each.
    held: dict[str, dict[int, list[str]]] = {}
    for number, ((_, name), group) in sorted(winners.items()):
        held.setdefault(name, {}).setdefault(group, []).append(files[number])
    found: dict[str, SiteEvidence] = {}
    sites: dict[str, set[str]] = {}
    for number, (winner, group) in sorted(winners.items()):
        site = name = winner[1]
        if site_means == "scanner" and len(held[name]) > 1:
            site = f"{name} ({words[group].beside(name)})"
        sites.setdefault(name, set()).add(site)
        found[files[number]] = _evidence(scans[number], winner, site, words[group], spoken[group])
    of_names = {
        name: {spoken[group]: own for group, own in held[name].items()} for name in sorted(held)
    }
    return DatasetSites(
        found,
        {name: tuple(sorted(own)) for name, own in sorted(sites.items())},
        (
            *map(Note, tables.notes),
            *notes_on_names(of_names, site_means),
            *notes_on_scanners(groups, words, files, [scan.name for scan in scans]),
        ),
        tables.errors,
    )


def _name_scans(
    scans: Sequence[Statement], groups: Sequence[ScannerGroup], words: Sequence[ScannerWords]
) -> dict[int, tuple[Told, int]]:
    """Of each scan that can be named the rule and name that win, and its scanner."""
    named = {}
    for number, (group, told) in enumerate(zip(groups, words, strict=True)):
        shared = _shared_name(group, told, scans)
        for member in group.members:
            stated = scans[member].stated
            if winner := stated[0] if stated else _as_own(shared, scans[member].profile):
                named[member] = winner, number
    return named


def _shared_name(
    group: ScannerGroup, words: ScannerWords, scans: Sequence[Statement]
) -> Told | None:
    """The name of those scans of a scanner that no table names."""
    stated = sorted({name for m in group.members if (name := scans[m].name)})
    if group.is_known and len(stated) == 1:
        return "other scans of this scanner", stated[0]
    told = described(words)
    if words.kind:
        told.append((_KIND, words.kind))
    return told[0] if told else None


def _as_own(name: Told | None, profile: Profile) -> Told | None:
    """Whether the scan itself or only others of its scanner say that name."""
    if name is None or name[0] in (*(rule for rule, _ in described(profile)), _KIND):
        return name
    return name[0] if "other scans" in name[0] else f"{name[0]} of other scans", name[1]


def _evidence(
    scan: Statement, winner: Told, site: str, words: ScannerWords, spoken: str
) -> SiteEvidence:
    told = [winner, *scan.stated, *described(scan.profile)]
    if scan.scanner.name:
        told.append((_KIND, scan.scanner.name))
    told += scan.prefix
    return SiteEvidence(
        site,
        winner[0],
        scan.scanner.vendor or words.vendor,
        scan.scanner.model or words.model,
        scan.scanner.field_strength or words.field_strength,
        tuple(dict(told).items()),
        contradictions([*scan.stated, *scan.prefix], scan.scanner.vendor)
        + scan.scanner.contradictions,
        spoken,
    )


def _unresolved(filename: str) -> SiteError:
    columns = "/".join(SITE_COLUMNS)
    session = re.search(r"ses-([0-9a-zA-Z]+)", filename)
    places = (
        "--source-site",
        "--site-map",
        "--site-column",
        f"a column {columns} in scans.tsv, sessions.tsv or participants.tsv",
        f"session label {session[1]!r} naming a known site" if session else "a session label",
        *_SIDECAR_FIELDS,
        "Manufacturer + ManufacturersModelName + MagneticFieldStrength",
    )
    return SiteError(
        "The site of this scan cannot be found",
        where=filename,
        expected="a site from one of: " + ", ".join(places),
        got="none of them says anything",
        hint=SITE_OPTIONS,
    )
