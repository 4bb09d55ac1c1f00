"""What each scan says of its site by itself: tables, labels, sidecar."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bids_harmony.bids.census import Image
from bids_harmony.bids.scanner import VENDORS, Scanner, normalize_vendor
from bids_harmony.bids.scanner_names import ScannerWords
from bids_harmony.bids.scanner_profile import Profile, read_profile
from bids_harmony.bids.site_tables import SiteTables, Told
from bids_harmony.sites.names import alphanumeric, clean_name, name_key

__all__ = ["Statement", "contradictions", "described", "read_statements"]


@dataclass(frozen=True)
class Statement:
    """What is said of one scan before scanners are told apart.

    Attributes
    ----------
    profile : Profile
    scanner : Scanner
    stated : tuple of (rule, name)
        What tables and its session's label say, the winner first.
    prefix : tuple of (rule, name)
        What the subject's label says, which only corroborates.
    """

    profile: Profile
    scanner: Scanner
    stated: tuple[Told, ...]
    prefix: tuple[Told, ...]

    @property
    def name(self) -> str | None:
        """The stated name that wins."""
        return self.stated[0][1] if self.stated else None


def read_statements(
    images: Mapping[str, Image],
    tables: SiteTables,
    target_site: str | None,
    known_sites: Collection[str],
) -> list[Statement]:
    """Read what each scan says by itself.

    Parameters
    ----------
    images : mapping of str to Image
    tables : SiteTables
    target_site : str, optional
    known_sites : collection of str
        As for `site.resolve_sites`.

    Returns
    -------
    list of Statement
        In the order of the images.
    """
    # Few sidecars differ in what is looked at here.
    once: dict[str, tuple[Profile, Scanner]] = {}
    read = []
    for image in images.values():
        key = repr(sorted(image.metadata.items()))
        if key not in once:
            once[key] = read_profile(image.metadata)
        read.append(once[key])
    described = {_first_name(profile) for profile, _ in once.values()}
    # The last one's spelling is used.
    known = [*sorted({*tables.sites, *(d for d in described if d)}), *map(clean_name, known_sites)]
    spelled = {name_key(name): name for name in known}
    nameable = {*spelled.values(), *VENDORS, *([clean_name(target_site)] if target_site else [])}
    by_label: dict[str, set[str]] = {}
    for name in nameable:
        for label in {alphanumeric(name), alphanumeric(name).casefold()}:
            by_label.setdefault(label, set()).add(name)
    scans = []
    for (file, image), (profile, scanner) in zip(images.items(), read, strict=True):
        stated = list(tables.stated(image.subject, image.session, file))
        if named := _named_by(image.session, by_label):
            stated.append(("session label", named))
        letters = re.match(r"([A-Za-z]+)(?=\d)", image.subject)
        prefix = _named_by(letters[1], by_label) if letters else None
        scans.append(
            Statement(
                profile,
                scanner,
                tuple((rule, spelled.get(name_key(site), site)) for rule, site in stated),
                (("subject label", prefix),) if prefix else (),
            )
        )
    return scans


def _named_by(label: str | None, by_label: Mapping[str, Collection[str]]) -> str | None:
    """The site that a label names; a number names a visit, and no site."""
    name = alphanumeric(label or "")
    if not name or name.isdecimal():
        return None
    names = by_label.get(name) or by_label.get(name.casefold(), ())
    return next(iter(names)) if len(names) == 1 else None


def _first_name(profile: Profile) -> str | None:
    return next((name for _, name in described(profile)), None)


def described(told: Profile | ScannerWords) -> list[Told]:
    """Names that a sidecar, or all those of a scanner, give it; the first one counts."""
    answers = (
        ("InstitutionName", told.institution),
        ("StationName", told.station),
        ("DeviceSerialNumber", told.serial),
    )
    return [(rule, name) for rule, name in answers if name]


def contradictions(stated: Sequence[Told], vendor: str | None) -> tuple[str, ...]:
    """Statements of a site's name that differ from the first, or name another vendor.

    Sidecar descriptions are no names: an institution and a table may well call one site
    differently.
    """
    told = []
    for rule, site in stated:
        named = normalize_vendor(site)
        first_rule, first = stated[0]
        # A label holds no blanks and signs, and its case is nobody's choice.
        if alphanumeric(first).casefold() != alphanumeric(site).casefold():
            told.append(f"{first_rule} says {first!r} but {rule} says {site!r}")
        elif vendor and named in VENDORS and named != vendor:
            told.append(f"{rule} says {site!r} but the scanner is by {vendor}")
    return tuple(told)
