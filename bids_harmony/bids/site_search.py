"""Whether anybody in the dataset was scanned at a site, without asking PyBIDS about everybody.

One job of a thousand only wants to know that its target site exists, and how it is spelt. To index
a thousand people for that takes half a minute; to look into tables and sidecars for the first
people who seem to belong there takes a second. Those few are then asked for properly.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from bids_harmony.bids.dataset import find_scans, sites_of
from bids_harmony.bids.inventory import list_subjects, read_sidecars
from bids_harmony.bids.scanner import read_scanner
from bids_harmony.bids.site import SiteTables, described_site, same_site
from bids_harmony.bids.site_tables import read_subject_tables, read_tables
from bids_harmony.exceptions import BidsHarmonyError, NothingSelected
from bids_harmony.settings import MODALITIES, Settings

__all__ = ["search_site"]

# People who are asked for properly before everybody is: the first may have no usable scan.
_TRIED = 3


def search_site(
    settings: Settings, asked: str, *, known_sites: Collection[str] = ()
) -> tuple[str | None, dict[str, int]]:
    """Look for scans of a site among all people, whatever participants the settings select.

    Parameters
    ----------
    settings : Settings
    asked : str
        The site, in any spelling.
    known_sites : collection of str
        As for `find_scans`.

    Returns
    -------
    site : str or None
        The site as the dataset spells it; None where nobody was scanned there.
    present : dict of site to number of scans
        Of all people that were looked at; of everybody where `site` is None.
    """
    for label in islice(_likely(settings, asked), _TRIED):
        try:
            selection = find_scans(
                settings, whole_dataset=True, people=(label,), known_sites=known_sites
            )
        except NothingSelected:
            continue
        present = sites_of(selection.scans)
        for site in present:
            if same_site(site, asked):
                return site, present
    present = sites_of(find_scans(settings, whole_dataset=True, known_sites=known_sites).scans)
    return next((site for site in present if same_site(site, asked)), None), present


def _likely(settings: Settings, asked: str) -> Iterator[str]:
    """People of whom a table, a session's name or a sidecar names the site."""
    subjects = list_subjects(settings.bids_dir)
    tables, _ = read_tables(settings, ())
    seen = set()
    for label in subjects:
        if _in_tables(label, tables, asked):
            seen.add(label)
            yield label
    for label in subjects:
        if label not in seen and _in_folder(settings, label, asked):
            yield label


def _in_tables(label: str, tables: SiteTables, asked: str) -> bool:
    told = [site for (subject, _), site in tables.site_map.items() if subject == label]
    if label in tables.participants:
        told.append(tables.participants[label][1])
    return any(same_site(site, asked) for site in told)


def _in_folder(settings: Settings, label: str, asked: str) -> bool:
    root = settings.bids_dir
    told = _sessions(root / f"sub-{label}")
    # What is wrong with a table, `find_scans` says.
    with suppress(BidsHarmonyError):
        sessions, scans = read_subject_tables(root, label)
        told += [site for _, site in (*sessions.values(), *scans.values())]
    if any(same_site(site, asked) for site in told):
        return True
    for record in read_sidecars(root, label, settings.modalities or MODALITIES):
        names = (described_site(record), read_scanner(record).name)
        if any(name and same_site(name, asked) for name in names):
            return True
    return False


def _sessions(folder: Path) -> list[str]:
    try:
        return sorted(n.removeprefix("ses-") for n in os.listdir(folder) if n.startswith("ses-"))
    except OSError:
        # `find_scans` says what is wrong with it.
        return []
