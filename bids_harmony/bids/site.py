"""Which site a scan comes from.

The first rule that answers wins, every answer is kept, disagreement is told. The rules, in order:

1. ``--source-site`` or a row of ``--site-map``;
2. a column ``site`` (``site_id``, ``center``, ``centre``, ``scanner``) of ``scans.tsv``,
   ``sessions.tsv``, ``participants.tsv``, lowest level first;
3. a session label equal to a known site (``ses-COI``, ``ses-siteCOI``);
4. ``InstitutionName``, ``StationName``, ``DeviceSerialNumber`` of the sidecar;
5. vendor, model and field strength of the sidecar (a site "at vendor level");
6. the letters before the number in the subject label (``sub-COI01``): corroboration only, never an
   answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_harmony.bids.scanner import VENDORS, normalize_vendor, read_scanner
from bids_harmony.bids.table import read_tsv
from bids_harmony.exceptions import DataError, SiteError

__all__ = [
    "SITE_COLUMNS",
    "SiteEvidence",
    "SiteTables",
    "canonical_site",
    "described_site",
    "read_site_map",
    "resolve_site",
    "same_site",
]

SITE_COLUMNS = ("site", "site_id", "center", "centre", "scanner")
_SIDECAR_FIELDS = ("InstitutionName", "StationName", "DeviceSerialNumber")
# What anonymizers and converters leave behind.
_EMPTY = {
    "",
    "n/a",
    "na",
    "nan",
    "none",
    "null",
    "unknown",
    "anonymous",
    "anonymized",
    "anonymised",
    "removed",
    "xxxx",
}


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
    """

    site: str
    source: str
    vendor: str | None = None
    model: str | None = None
    field_strength: float | None = None
    candidates: tuple[tuple[str, str], ...] = ()
    contradictions: tuple[str, ...] = ()


@dataclass(frozen=True)
class SiteTables:
    """Sites that tables state, by what they describe.

    Attributes
    ----------
    site_map : mapping
        (subject, session or None) to site, from ``--site-map``.
    participants : mapping
        Subject to (column, site).
    sessions : mapping
        (subject, session) to (column, site).
    scans : mapping
        File name relative to the dataset root to (column, site).
    """

    site_map: Mapping[tuple[str, str | None], str] = field(default_factory=dict)
    participants: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    sessions: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    scans: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def sites(self) -> frozenset[str]:
        """Every site that a table names."""
        named = [
            site
            for table in (self.participants, self.sessions, self.scans)
            for _, site in table.values()
        ]
        return frozenset(named) | frozenset(self.site_map.values())


def canonical_site(text: str | None) -> str | None:
    """A site's name without blanks around it and a leading "site"; None if it says nothing.

    Examples
    --------
    >>> canonical_site("site COI"), canonical_site("siteCOI"), canonical_site("site01")
    ('COI', 'COI', 'site01')
    >>> canonical_site(" n/a ") is None
    True
    """
    # Nothing that would move the cursor of a terminal or that XML forbids.
    name = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", str(text or "")).split())
    if name.casefold() in _EMPTY or not name.strip("0"):
        return None
    return re.sub(r"^(?:[sS]ite|SITE)(?:[ _-]+(?=\S)|(?=[A-Z]))", "", name)


def same_site(one: str, other: str) -> bool:
    """Whether two spellings name one site (case, blanks and punctuation do not count)."""
    return _key(one) == _key(other)


def read_site_map(path: Path) -> dict[tuple[str, str | None], str]:
    """Read ``--site-map``: ``participant_id``, optionally ``session_id``, and a site column.

    Raises
    ------
    MissingInput, DataError
        When the file is not there or lacks a column.
    """
    rows = read_tsv(path)
    table: dict[tuple[str, str | None], str] = {}
    for row in rows:
        column = site_column(row)
        if "participant_id" not in row or column is None:
            raise DataError(
                "The site map lacks a column",
                where=str(path),
                got=", ".join(row),
                expected="participant_id, optionally session_id, and site",
            )
        site = canonical_site(row[column])
        session = row.get("session_id", "").removeprefix("ses-")
        if site:
            key = (
                row["participant_id"].removeprefix("sub-"),
                session if session.casefold() not in _EMPTY else None,
            )
            table[key] = site
    return table


def site_column(row: Mapping[str, Any]) -> str | None:
    """The column of a table that names the site, by `SITE_COLUMNS` (case does not count)."""
    by_name = {name.casefold(): name for name in row}
    return next((by_name[name] for name in SITE_COLUMNS if name in by_name), None)


def resolve_site(
    *,
    subject: str,
    session: str | None,
    filename: str,
    metadata: Mapping[str, Any],
    tables: SiteTables,
    source_site: str | None = None,
    target_site: str | None = None,
    known_sites: Collection[str] = (),
) -> SiteEvidence:
    """Find the site of one scan.

    Parameters
    ----------
    subject, session : str, str or None
        Labels without prefix.
    filename : str
        Relative to the dataset root, with forward slashes.
    metadata : mapping
        Sidecar fields after BIDS inheritance.
    tables : SiteTables
        What the dataset's tables and ``--site-map`` say.
    source_site : str, optional
        ``--source-site``.
    target_site : str, optional
        ``--target-site``; like every site of a table and every vendor, a session label may name
        it.
    known_sites : collection of str
        More sites that a session label may name: those of a trained model, those that sidecars of
        other scans name (`described_site`). Where spellings differ, the last one is used.

    Returns
    -------
    SiteEvidence

    Raises
    ------
    SiteError
        When no rule answers; the message tells everything that was looked at.
    """
    scanner = read_scanner(metadata)
    stated: list[tuple[str, str]] = []
    if given := canonical_site(source_site):
        stated.append(("--source-site", given))
    for key in ((subject, session), (subject, None)):
        if key in tables.site_map:
            stated.append(("--site-map", tables.site_map[key]))
            break
    levels = (
        ("scans.tsv", tables.scans.get(filename)),
        ("sessions.tsv", tables.sessions.get((subject, session)) if session else None),
        ("participants.tsv", tables.participants.get(subject)),
    )
    stated += [(f"{name}: {hit[0]}", hit[1]) for name, hit in levels if hit]

    known = {_key(site): site for site in (*sorted(tables.sites), *known_sites)}
    nameable = {*known, *map(_key, VENDORS), *([_key(target_site)] if target_site else [])}
    named = canonical_site(session) if session else None
    if named and _key(named) in nameable:
        stated.append(("session label", named))

    described = _described(metadata)
    if scanner.name:
        described.append(("vendor, model and field strength", scanner.name))

    candidates = stated + described
    if not candidates:
        raise SiteError(
            "The site of this scan cannot be found",
            where=filename,
            expected="a site from one of: " + ", ".join(_looked_at(session)),
            got="none of them says anything",
            hint="Give --source-site SITE for all selected scans, or --site-map TABLE.tsv "
            "(columns participant_id, session_id, site).",
        )
    source, site = candidates[0]
    site = known.get(_key(site), site)

    prefix = re.match(r"([A-Za-z]+)(?=\d)", subject)
    if prefix and _key(prefix[1]) in nameable:
        stated.append(("subject label", prefix[1]))
        candidates.append(stated[-1])
    return SiteEvidence(
        site,
        source,
        scanner.vendor,
        scanner.model,
        scanner.field_strength,
        tuple(candidates),
        _contradictions(stated, scanner.vendor) + scanner.contradictions,
    )


def described_site(metadata: Mapping[str, Any]) -> str | None:
    """The site that a sidecar names (rule 4), None if it names none."""
    return next((site for _, site in _described(metadata)), None)


def _described(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    answers = ((name, canonical_site(_as_text(metadata.get(name)))) for name in _SIDECAR_FIELDS)
    return [(name, site) for name, site in answers if site]


def _contradictions(stated: list[tuple[str, str]], vendor: str | None) -> tuple[str, ...]:
    """Statements of a site's name that differ from the first, or name another vendor.

    Sidecar descriptions are no names: an institution and a table may well call one site
    differently.
    """
    told = []
    for rule, site in stated:
        named = normalize_vendor(site)
        first_rule, first = stated[0]
        # --source-site is meant to overrule; saying so for every scan would drown what matters.
        if first_rule != "--source-site" and not same_site(first, site):
            told.append(f"{first_rule} says {first!r} but {rule} says {site!r}")
        elif vendor and named in VENDORS and named != vendor:
            told.append(f"{rule} says {site!r} but the scanner is by {vendor}")
    return tuple(told)


def _looked_at(session: str | None) -> list[str]:
    places = ["--source-site", "--site-map"]
    places.append(
        f"a column {'/'.join(SITE_COLUMNS)} in scans.tsv, sessions.tsv or participants.tsv"
    )
    places.append(
        f"session label {session!r} naming a known site" if session else "a session label"
    )
    return [
        *places,
        *_SIDECAR_FIELDS,
        "Manufacturer + ManufacturersModelName + MagneticFieldStrength",
    ]


def _key(site: str) -> str:
    return re.sub(r"[\W_]+", "", canonical_site(site) or "").casefold()


def _as_text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
