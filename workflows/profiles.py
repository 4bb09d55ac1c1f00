"""Profiles of sites that the model does not know, made of a handful of their scans.

One flow, of which `image_profiles` and `series_profiles` fill in what differs. Profiles stay in
``OUT/models/banks``. A job that finds one there checks that what it was made of is the same, and
asks the dataset nothing more.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bids_harmony.bids.decisions import excluded_among
from bids_harmony.exceptions import DataError, SiteError
from bids_harmony.io.names import file_stem
from bids_harmony.sites.names import MEAN_SITE, same_site
from bids_harmony.workflows.site_scans import (
    ProfileKey,
    are_given,
    choose_sound,
    image_digests,
    left_by_filter,
    same_images,
)
from bids_harmony.workflows.status import report_references, why_unseen

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.bids.site import DatasetSites
    from bids_harmony.exceptions import BidsHarmonyError
    from bids_harmony.methods import Harmonizer
    from bids_harmony.model.encoder import Encoder
    from bids_harmony.settings import Settings
    from bids_harmony.sites.profile_cache import ProfileCache
    from bids_harmony.workflows.status import ScanStatus

__all__ = ["SiteProfiles", "profile_cache"]

logger = logging.getLogger(__name__)


def profile_cache(settings: Settings, *, series: bool = False) -> ProfileCache:
    """The cache of the output folder, on the grid of images or on that of diffusion series."""
    from bids_harmony.sites.profile_cache import ProfileCache

    voxel_mm = settings.voxel_mm
    if series:
        from bids_harmony.diffusion.features import DWI_VOXEL_MM

        voxel_mm = DWI_VOXEL_MM
    return ProfileCache(settings.output_dir / "models" / "banks", voxel_mm)


class SiteProfiles(ABC):
    """How the sites of one kind of scans become known.

    Parameters
    ----------
    settings : Settings
    harmonizer : Harmonizer
        With the cache of the output folder. Tells which network the profiles are for.
    """

    #: Of the graph, and of its folder in the work folder.
    graph: ClassVar[str]
    #: Nothing of a site is in the cache: what is missed, with the modality in it.
    lacking: ClassVar[str]

    def __init__(self, settings: Settings, harmonizer: Harmonizer) -> None:
        self.settings, self.harmonizer = settings, harmonizer

    @property
    @abstractmethod
    def cache(self) -> ProfileCache:
        """Where the profiles are."""

    @abstractmethod
    def made_of(self, key: ProfileKey) -> dict[str, Any] | None:
        """What a profile in the cache was made of; None where there is none."""

    @abstractmethod
    def recipes(self) -> tuple[str, ...]:
        """Hashes of all but the scans that a profile depends on; the first is that of this run."""

    @abstractmethod
    def forget(self, key: ProfileKey) -> None:
        """Remove what must not stay although it is outdated."""

    @abstractmethod
    def prepare(
        self, work: Sequence[Scan], everyone: Sequence[Scan], log_dir: Path
    ) -> tuple[dict[str, Any], dict[str, ScanStatus]]:
        """Take from scans what is needed; of those that could be used by label, and all states."""

    @abstractmethod
    def write(
        self,
        key: ProfileKey,
        usable: Sequence[Scan],
        ready: Mapping[str, Any],
        about: dict[str, Any],
    ) -> None:
        """Put the profile of usable scans into the cache; `about` says what it is made of."""

    def is_mean(self, key: ProfileKey) -> bool:
        """Whether the profile is that of the mean of all sites."""
        return self.settings.to_mean and key.site == MEAN_SITE

    @abstractmethod
    def write_mean(self, key: ProfileKey) -> None:
        """Put the mean of all sites' profiles into the cache.

        Raises
        ------
        SiteError
            Fewer than two sites have one.
        DataError
            They have nothing in common that a mean could be of.
        """

    def by_model(self, key: ProfileKey, *, at_all: bool) -> bool:
        """Whether the model knows the site: by itself, or (`at_all`) also by the cache."""
        return False

    def rest_is_same(self, key: ProfileKey, made_of: Mapping[str, Any]) -> bool:
        """Whether what else a profile was made of is as it was."""
        return True

    def encoder_and_cells(self) -> tuple[Encoder, int]:
        """Encoder of the codes, and cells of the grid on which detail is measured."""
        from bids_harmony.methods.profile_encoder import encoder_and_cells

        return encoder_and_cells(self.harmonizer)

    def encoder_hash_and_cells(self) -> tuple[str, int]:
        """As `encoder_and_cells`, with the encoder's hash instead of itself: without torch."""
        from bids_harmony.methods.profile_encoder import encoder_hash_and_cells

        return encoder_hash_and_cells(self.harmonizer)

    def is_known(self, key: ProfileKey) -> bool:
        """Whether a profile is there, made of scans, tables and settings as they are now."""
        given, made_of = are_given(key, self.settings), self.made_of(key)
        if made_of is None:
            # A profile of the model's own will do, unless images were given in its place.
            return not given and self.by_model(key, at_all=True)
        was_given = bool(made_of.get("given"))
        if not given and not was_given and self.by_model(key, at_all=False):
            return True
        return (
            made_of.get("recipe") in self.recipes()
            and same_images(made_of.get("images", {}), key, self.settings, given=was_given)
            and (was_given or (self._same_people(made_of) and self._same_decisions(made_of)))
            and self.rest_is_same(key, made_of)
        )

    def _same_people(self, made_of: Mapping[str, Any]) -> bool:
        """Whether the filter is that of then, and the tables still say that these people fit."""
        from bids_harmony.bids.people_filter import who_fits

        query = self.settings.profile_filter
        if made_of.get("filter") != query:
            return False
        units = [(subject, session) for subject, session in made_of.get("fitting", ())]
        return not query or all(who_fits(self.settings.bids_dir, query, units))

    def _same_decisions(self, made_of: Mapping[str, Any]) -> bool:
        """Whether no image has been excluded since, and none that was excluded then taken back."""
        then = sorted(made_of.get("excluded", ()))
        now = excluded_among([*made_of.get("images", ()), *then], self.settings.output_dir)
        return now == then

    @cached_property
    def _dataset_sites(self) -> DatasetSites:
        from bids_harmony.bids.dataset import find_scans

        return find_scans(self.settings).sites

    def _excluded(self, key: ProfileKey, sites: DatasetSites) -> list[str]:
        """Scans of a site that people excluded."""
        claimed = str(self.settings.source_site)
        own = (
            file
            for file, evidence in sites.scans.items()
            if file_stem(file).endswith(f"_{key.modality}")
            and (same_site(evidence.site, key.site) or same_site(claimed, key.site))
        )
        return excluded_among(own, self.settings.output_dir)

    def make(
        self, keys: Sequence[ProfileKey], log_dir: Path
    ) -> dict[ProfileKey, BidsHarmonyError]:
        """Prepare scans of the sites that are not known and put their profiles into the cache.

        Other jobs of the same output folder wait and find them. A site without a usable scan gets
        no profile; whoever needs it says so.

        Parameters
        ----------
        keys : sequence of ProfileKey
        log_dir : Path

        Returns
        -------
        dict
            Keys for which no profile could be made because all scans failed, and why they did.
        """
        from bids_harmony.bids.dataset import find_everyone
        from bids_harmony.workflows.running import clear_work

        unseen: dict[ProfileKey, BidsHarmonyError] = {}
        with self.cache.locked():
            # Another job may have made them while this one waited.
            for key in (keys := self._unknown(keys)):
                self.forget(key)
            # Where given images are gone, the model's own profile counts again.
            if not (keys := self._unknown(keys)):
                return unseen
            # The mean of all sites has asked for them by now.
            sites = self._dataset_sites if self.settings.to_mean else None
            whole = find_everyone(self.settings, sites=sites)
            everyone = whole.scans
            means = [key for key in keys if self.is_mean(key)]
            chosen = {
                key: choose_sound(key, self.settings, everyone) for key in keys if key not in means
            }
            work = list({s.label: s for scans in chosen.values() for s in scans}.values())
            ready, statuses = self._prepared(work, everyone, log_dir)
            for key, scans in chosen.items():
                usable = [scan for scan in scans if scan.label in ready]
                if usable:
                    self.write(key, usable, ready, self._about(key, scans, usable, whole.sites))
                    continue
                logger.warning(self.lacking, key.modality, key.site)
                reason = left_by_filter(key, self.settings, everyone) or why_unseen(
                    key.site, [statuses[scan.label] for scan in scans]
                )
                if reason:
                    unseen[key] = reason
            for key in means:
                try:
                    self.write_mean(key)
                except (SiteError, DataError) as error:
                    unseen[key] = error
            clear_work(self.settings, self.graph, work, statuses)
        return unseen

    def _unknown(self, keys: Sequence[ProfileKey]) -> list[ProfileKey]:
        return [key for key in keys if not self.is_known(key)]

    def _prepared(
        self, work: Sequence[Scan], everyone: Sequence[Scan], log_dir: Path
    ) -> tuple[dict[str, Any], dict[str, ScanStatus]]:
        if not work:
            return {}, {}
        inside = {scan.label for scan in everyone}
        given = [scan for scan in work if scan.label not in inside]
        ready, statuses = self.prepare(work, [*everyone, *given], log_dir)
        report_references(statuses.values())
        return ready, statuses

    def _about(
        self,
        key: ProfileKey,
        scans: Sequence[Scan],
        usable: Sequence[Scan],
        sites: DatasetSites,
    ) -> dict[str, Any]:
        given = are_given(key, self.settings)
        # Of images that were given, also one of no use: they are compared as a whole.
        seen = scans if given else usable
        tables = sorted({table for scan in seen for table in scan.gradients or ()})
        about: dict[str, Any] = {
            "recipe": self.recipes()[0],
            "given": given,
            "images": image_digests((scan.path for scan in seen), self.settings),
        }
        if self.settings.profile_filter and not given:
            about["filter"] = self.settings.profile_filter
            about["fitting"] = [[scan.subject, scan.session] for scan in usable]
        if not given and (excluded := self._excluded(key, sites)):
            about["excluded"] = excluded
        return about | ({"tables": image_digests(tables, self.settings)} if tables else {})
