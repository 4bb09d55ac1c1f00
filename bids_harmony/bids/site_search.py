"""Whether anybody in the dataset was scanned at a site, without asking PyBIDS about everybody.

One job of a thousand only wants to know that its target site exists, and how it is spelt. To index
a thousand people for that takes half a minute; sidecars and tables were looked at already, and the
first people who belong there are asked for properly.
"""

from __future__ import annotations

from bids_harmony.bids.dataset import find_scans, sites_of
from bids_harmony.bids.scan import Scan
from bids_harmony.bids.site import DatasetSites
from bids_harmony.exceptions import NothingSelected
from bids_harmony.settings import Settings

__all__ = ["scans_of", "search_site"]

# People who are asked for properly before everybody is: the first may have no usable scan.
_TRIED = 3


def search_site(settings: Settings, site: str, sites: DatasetSites) -> bool:
    """Look for usable scans of a site among all people, whatever the settings select.

    Parameters
    ----------
    settings : Settings
    site : str
        As `sites` spells it.
    sites : DatasetSites

    Returns
    -------
    bool
    """
    people = sorted(
        {
            file.partition("/")[0].removeprefix("sub-")
            for file, evidence in sites.scans.items()
            if evidence.site == site
        }
    )
    for label in people[:_TRIED]:
        if site in sites_of(scans_of(settings, label, sites)):
            return True
    return bool(people) and site in sites_of(
        find_scans(settings, whole_dataset=True, sites=sites).scans
    )


def scans_of(settings: Settings, label: str, sites: DatasetSites) -> tuple[Scan, ...]:
    """Usable scans of one person, whatever the settings select; each is asked for once.

    Parameters
    ----------
    settings : Settings
    label : str
        Without ``sub-``.
    sites : DatasetSites
        Of the dataset; what was found is kept in it.
    """
    if label not in sites.people:
        try:
            found = find_scans(settings, whole_dataset=True, people=(label,), sites=sites).scans
        except NothingSelected:
            found = ()
        sites.people[label] = found
    return sites.people[label]
