"""The mean of all sites: a profile that is made of those of the sites.

It is that of all sites of the dataset that show a modality, whoever is selected.
"""

from __future__ import annotations

import hashlib
import json
import logging
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bids_harmony.workflows.profiles import SiteProfiles
from bids_harmony.workflows.site_scans import ProfileKey, few_sites

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan

__all__ = ["MeanProfiles"]

logger = logging.getLogger(__name__)


class MeanProfiles(SiteProfiles):
    """As `SiteProfiles`, with the mean of all sites."""

    @abstractmethod
    def write_mean_of(self, key: ProfileKey, sites: Sequence[str], about: dict[str, Any]) -> None:
        """Put the mean of sites, all of which are known, into the cache; log who is in it."""

    def sites_to(self, scan: Scan) -> tuple[str, ...]:
        """Sites that must be known for a scan to go to the target, the target among them.

        The mean of all sites comes last, after those that it is made of.
        """
        target = str(self.settings.target_site)
        if not self.settings.to_mean:
            return target, scan.site.site
        self._claimed.setdefault(scan.modality, set()).add(scan.site.site)
        return scan.site.site, *self._sites_of(scan.modality), target

    def is_known(self, key: ProfileKey) -> bool:
        if not self.is_mean(key):
            return super().is_known(key)
        made_of = self.made_of(key) or {}
        members = self._members(key.modality)
        return made_of.get("mean_of") == members and all(
            self.is_known(ProfileKey(site, key.modality))
            for site, known in members.items()
            if known
        )

    def write_mean(self, key: ProfileKey) -> None:
        members = self._members(key.modality)
        known = [site for site, made_of in members.items() if made_of]
        if len(known) < 2:
            raise few_sites(key.modality, known)
        for site in members.keys() - set(known):
            logger.warning("%s is not in the mean of all sites: nothing shows it", site)
        asked = self.settings.profile_filter
        about = {
            # Never that of a site's own profile, which is made of scans.
            "recipe": "mean of sites",
            "given": False,
            "mean_of": members,
            **({"filter": asked} if asked else {}),
        }
        self.write_mean_of(key, known, about)

    @cached_property
    def _claimed(self) -> dict[str, set[str]]:
        """Of each modality the sites of the scans at hand: those of a claim are in no table."""
        return {}

    def _sites_of(self, modality: str) -> list[str]:
        """All sites with scans of a modality, whoever is selected."""
        own = self._claimed.get(modality, set())
        return sorted({*self._dataset_sites.showing(modality), *own})

    def _members(self, modality: str) -> dict[str, str | None]:
        """Of each site in the mean what its profile was made of; None where it has none."""
        found: dict[str, str | None] = {}
        for site in self._sites_of(modality):
            key = ProfileKey(site, modality)
            text = None
            if self.by_model(key, at_all=False):
                text = self.harmonizer.sha256
            elif made_of := self.made_of(key):
                text = json.dumps(made_of, sort_keys=True)
            found[site] = text and hashlib.sha256(text.encode()).hexdigest()
        return found
