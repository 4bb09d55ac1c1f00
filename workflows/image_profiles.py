"""Profiles of T1w, T2w and FLAIR images, one of each site and modality."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.decisions import excluded_among
from bids_harmony.revisions import revisions_of
from bids_harmony.sites.names import same_site
from bids_harmony.workflows.mean_profiles import MeanProfiles
from bids_harmony.workflows.profiles import profile_cache
from bids_harmony.workflows.site_scans import ProfileKey, are_given

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.sites.image_profile import ImageProfile
    from bids_harmony.sites.prepared_scans import TrainingScan
    from bids_harmony.sites.profile_cache import ProfileCache
    from bids_harmony.workflows.status import ScanStatus

__all__ = ["ImageProfiles"]

logger = logging.getLogger(__name__)


class ImageProfiles(MeanProfiles):
    """As `MeanProfiles`, for images."""

    graph = "profiles_wf"
    lacking = "No usable %s scan of %s"

    @property
    def cache(self) -> ProfileCache:
        return profile_cache(self.settings)

    def made_of(self, key: ProfileKey) -> dict[str, Any] | None:
        return self.cache.made_of(key.site, key.modality)

    def by_model(self, key: ProfileKey, *, at_all: bool) -> bool:
        known = self.harmonizer.sites if at_all else self.harmonizer.own_sites
        return any(same_site(site, key.site) for site in known(key.modality))

    def missing(self, scans: Sequence[Scan]) -> list[ProfileKey]:
        """Sites of the scans, and their target, that neither model nor cache knows.

        The mean of all sites comes after these sites.
        """
        target = str(self.settings.target_site)
        wanted: dict[ProfileKey, None] = {}
        for scan in scans:
            for site in self.sites_to(scan):
                own = target if same_site(site, target) else site
                wanted.setdefault(ProfileKey(own, scan.modality))
        if query := self.settings.profile_filter:
            for key in wanted:
                if self.by_model(key, at_all=False) and not are_given(key, self.settings):
                    logger.warning(
                        "The model itself knows %s %s: --profile-filter %s does not count there",
                        key.site, key.modality, query,
                    )  # fmt: skip
        return self._unknown(list(wanted))

    def recipes(self) -> tuple[str, ...]:
        """Hashes of all but the scans that a profile depends on; the first is that of this run.

        The method is none of it: methods with one encoder and one grid share their profiles.
        """
        encoder, cells = self.encoder_hash_and_cells()
        settings = self.settings
        parts = {
            "revision": revisions_of("anatomy", "profile"),
            "encoder": encoder,
            "cells": cells,
            "voxel_mm": settings.voxel_mm,
            "n4": settings.n4,
            "seed": settings.random_seed,
            "sloppy": settings.sloppy,
            "scans": settings.bank_scans,
            "covariates": settings.covariates,
        }
        return (hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),)

    def rest_is_same(self, key: ProfileKey, made_of: Mapping[str, Any]) -> bool:
        """Whether the dataset's tables still say of the people what they said then."""
        people = made_of.get("people", {})
        units = [(subject, session) for subject, session in people.get("units", ())]
        return bool(people.get("covariates", {}) == self._covariates_of(units))

    def forget(self, key: ProfileKey) -> None:
        """Remove a profile of other given images or people, of a scan that was excluded since, and
        one that stands where images are given now.

        If no new one can be made, a run must not take the profile that an earlier one was asked
        for. A site's own outdated profile stays until there is a new one.
        """
        if self.is_mean(key):
            self.cache.remove(key.site, key.modality)
            return
        made_of = self.made_of(key) or {}
        asked = made_of.get("given") or made_of.get("filter") != self.settings.profile_filter
        excluded = excluded_among(made_of.get("images", ()), self.settings.output_dir)
        if asked or excluded or are_given(key, self.settings):
            self.cache.remove(key.site, key.modality)

    def prepare(
        self, work: Sequence[Scan], everyone: Sequence[Scan], log_dir: Path
    ) -> tuple[dict[str, TrainingScan], dict[str, ScanStatus]]:
        """Put scans on the reference grid; those that could be, by label, and all states."""
        from bids_harmony.workflows.running import prepare_scans

        ready, statuses = prepare_scans(
            self.settings, work, everyone, name=self.graph, log_dir=log_dir
        )
        return {scan.label: scan for scan in ready}, statuses

    def write(
        self,
        key: ProfileKey,
        usable: Sequence[Scan],
        ready: Mapping[str, Any],
        about: dict[str, Any],
    ) -> None:
        from bids_harmony.sites.image_profile import MOST_CODED, build_profile
        from bids_harmony.sites.prepared_scans import load_scans

        usable = sorted(usable, key=lambda scan: scan.label)
        units = [] if about["given"] else [(scan.subject, scan.session) for scan in usable]
        covariates = self._covariates_of(units)
        about["people"] = {"units": [list(unit) for unit in units], "covariates": covariates}
        encoder, cells = self.encoder_and_cells()
        loaded = load_scans([ready[scan.label] for scan in usable], self.settings.voxel_mm)
        nan = float("nan")
        profile = build_profile(
            key.site,
            key.modality,
            [(scan.label, scan.data, scan.mask, scan.scale) for scan in loaded],
            encoder,
            cells=cells,
            voxel_mm=self.settings.voxel_mm,
            coded=MOST_CODED,
            people=[ready[scan.label].subject for scan in usable],
            covariates={
                name: [nan if value is None else value for value in values]
                for name, values in covariates.items()
            },
        )
        self.cache.write(profile, about)
        logger.info(
            "Profile of %s %s made from %d scan(s) of %d people%s: %s",
            key.site, key.modality, len(usable), len(set(profile.scan_measures.people)),
            f" with {about['filter']}" if "filter" in about else "", ", ".join(profile.scans),
        )  # fmt: skip

    def write_mean_of(self, key: ProfileKey, sites: Sequence[str], about: dict[str, Any]) -> None:
        from bids_harmony.sites.mean_site import mean_profile

        profile = mean_profile([self._profile(ProfileKey(s, key.modality)) for s in sites])
        self.cache.write(profile, about)
        logger.info(
            "Mean of all sites, %s: %s; each counts once",
            key.modality,
            ", ".join(
                f"{s} ({n} people)" for s, n in profile.scan_measures.people_of_sites().items()
            ),
        )

    def _profile(self, key: ProfileKey) -> ImageProfile:
        found = None
        if not self.by_model(key, at_all=False):
            found = self.cache.read(key.site, key.modality)
        return found[0] if found else self.harmonizer.profile(key.modality, key.site)

    def _covariates_of(self, units: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
        """Covariates of some sessions for JSON, None where a value is missing."""
        from bids_harmony.bids.covariates import covariate_columns

        if not units:
            return {}
        columns = covariate_columns(self.settings.bids_dir, units, self.settings.covariates)
        return {
            name: [value if value == value else None for value in values]
            for name, values in columns.items()
        }
