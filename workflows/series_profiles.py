"""Profiles of diffusion series: one of each site, for all of its shells.

What is wanted of a series is known only from its own shells, so that a site is characterised as a
whole: numbers of its series, a profile of its mean b=0, and in the mode ``volume`` one of each
shell. They lie beside the profiles of other scans. The profile of the mean b=0 is written last and
tells what all of them are made of.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.revisions import REVISIONS
from bids_harmony.workflows.image_profiles import ImageProfiles
from bids_harmony.workflows.mean_profiles import MeanProfiles
from bids_harmony.workflows.precomputed import file_sha256
from bids_harmony.workflows.profiles import profile_cache
from bids_harmony.workflows.site_scans import ProfileKey

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.diffusion.features import PreparedSeries
    from bids_harmony.settings import Settings
    from bids_harmony.sites.profile_cache import ProfileCache
    from bids_harmony.workflows.status import ScanStatus

__all__ = ["SeriesProfiles", "cached_shells", "series_profile_path"]

logger = logging.getLogger(__name__)


def series_profile_path(cache: ProfileCache, site: str) -> Path:
    """File of the numbers of a site's series, beside the profiles of its images."""
    return cache.path(site, "dwi").with_suffix(".json")


def cached_shells(site: str, settings: Settings) -> tuple[float, ...] | None:
    """Shells that an earlier run saw at a site, s/mm2; None where there was none."""
    from bids_harmony.diffusion.features import B0_KEY
    from bids_harmony.sites.series_profile import SeriesProfile

    cache = profile_cache(settings, series=True)
    path, made_of = series_profile_path(cache, site), cache.made_of(site, B0_KEY)
    outdated = made_of is None or made_of.get("filter") != settings.profile_filter
    if made_of is None or outdated or made_of.get("given") or not path.is_file():
        return None
    return SeriesProfile.read(path).shells


class SeriesProfiles(MeanProfiles):
    """As `MeanProfiles`, for diffusion series."""

    graph = "series_profiles_wf"
    lacking = "No usable %s series of %s"

    @property
    def cache(self) -> ProfileCache:
        return profile_cache(self.settings, series=True)

    def made_of(self, key: ProfileKey) -> dict[str, Any] | None:
        from bids_harmony.diffusion.features import B0_KEY

        return self.cache.made_of(key.site, B0_KEY)

    def recipes(self) -> tuple[str, ...]:
        """Hashes of all but the scans that a profile depends on; the first is that of this run.

        Profiles that were made for the mode ``volume`` serve the others as well.
        """
        from bids_harmony.diffusion.features import DWI_VOXEL_MM

        # Series are not corrected by N4.
        as_series = replace(self.settings, voxel_mm=DWI_VOXEL_MM, n4=False)
        common = ImageProfiles(as_series, self.harmonizer).recipes()[0]
        found = []
        for with_volumes in dict.fromkeys((self.settings.dwi_mode == "volume", True)):
            parts = [common, self.settings.b0_threshold, with_volumes, REVISIONS["diffusion"]]
            found.append(hashlib.sha256(json.dumps(parts).encode()).hexdigest())
        return tuple(found)

    def rest_is_same(self, key: ProfileKey, made_of: Mapping[str, Any]) -> bool:
        """Whether the numbers are there, and the gradient tables are as they were."""
        if not series_profile_path(self.cache, key.site).is_file():
            return False
        try:
            return all(
                file_sha256(self.settings.bids_dir / path) == then
                for path, then in made_of.get("tables", {}).items()
            )
        except MissingInput:
            return False

    def is_known(self, key: ProfileKey) -> bool:
        return super().is_known(key) and (not self.is_mean(key) or self._mean_is_whole(key))

    def _mean_is_whole(self, key: ProfileKey) -> bool:
        """Whether the mean's numbers are there, and its images of shells where they are asked for.

        Its sites may have been looked at for single volumes before the mean was.
        """
        from bids_harmony.diffusion.features import shell_key
        from bids_harmony.sites.series_profile import SeriesProfile

        numbers = series_profile_path(self.cache, key.site)
        if not numbers.is_file() or self.settings.dwi_mode != "volume":
            return numbers.is_file()
        keys = [shell_key(b) for b in SeriesProfile.read(numbers).shells]
        return all(self.cache.path(key.site, own).is_file() for own in keys)

    def forget(self, key: ProfileKey) -> None:
        """Remove all of a site; shells that it has no more must not stay behind."""
        from bids_harmony.diffusion.features import B0_KEY

        cache, site = self.cache, key.site
        cache.remove(site, B0_KEY)
        series_profile_path(cache, site).unlink(missing_ok=True)
        for path in cache.folder.glob(cache.path(site, "dwi-b*").name):
            path.unlink(missing_ok=True)

    def prepare(
        self, work: Sequence[Scan], everyone: Sequence[Scan], log_dir: Path
    ) -> tuple[dict[str, PreparedSeries], dict[str, ScanStatus]]:
        """Take what is needed from series; those that could be used, by label, and all states."""
        from bids_harmony.diffusion.features import PreparedSeries
        from bids_harmony.workflows.dwi import init_dwi_prepare_wf
        from bids_harmony.workflows.running import node_record, run_scans

        settings = self.settings
        statuses, records = run_scans(
            settings,
            self.graph,
            work,
            everyone,
            lambda scan, _: init_dwi_prepare_wf(scan=scan, settings=settings),
            log_dir,
        )
        ready = {}
        for scan in work:
            if statuses[scan.label].state == "done":
                folder = node_record(records, settings, self.graph, scan, "prepare").folder
                ready[scan.label] = PreparedSeries.load(folder / "prepared.npz")
        return ready, statuses

    def write(
        self,
        key: ProfileKey,
        usable: Sequence[Scan],
        ready: Mapping[str, Any],
        about: dict[str, Any],
    ) -> None:
        from bids_harmony.diffusion.features import B0_KEY, DWI_VOXEL_MM
        from bids_harmony.sites.series_profile import build_series_profiles

        encoder, cells = self.encoder_and_cells()
        series, profiles = build_series_profiles(
            key.site,
            [(scan.label, ready[scan.label]) for scan in usable],
            encoder,
            cells=cells,
            voxel_mm=DWI_VOXEL_MM,
        )
        cache = self.cache
        series.write(series_profile_path(cache, key.site))
        for profile in sorted(profiles, key=lambda profile: profile.modality == B0_KEY):
            cache.write(profile, about)
        query = about.get("filter")
        logger.info(
            "Profile of %s diffusion made from %d series%s (b = %s s/mm2): %s",
            key.site, len(usable), f" of people with {query}" if query else "",
            ", ".join(f"{b:g}" for b in series.shells), ", ".join(series.labels),
        )  # fmt: skip

    def write_mean_of(self, key: ProfileKey, sites: Sequence[str], about: dict[str, Any]) -> None:
        from bids_harmony.diffusion.features import B0_KEY, shell_key
        from bids_harmony.diffusion.gradients import left_out_told
        from bids_harmony.sites.mean_site import mean_profile, mean_series_profile
        from bids_harmony.sites.series_profile import SeriesProfile

        cache = self.cache
        looks = {site: SeriesProfile.read(series_profile_path(cache, site)) for site in sites}
        mean = mean_series_profile(list(looks.values()))
        images = {B0_KEY: dict.fromkeys(sites, B0_KEY)}
        if self.settings.dwi_mode == "volume":
            for b in mean.shells:
                own = {site: shell_key(look.name_of(b)) for site, look in looks.items()}
                images[shell_key(b)] = own
        mean.write(series_profile_path(cache, key.site))
        # The mean b=0 last: it tells that all is there.
        for name in reversed(images):
            found = [
                replace(profile, modality=name)
                for site, own in images[name].items()
                for profile, _ in [cache.read(site, own) or _missing(site, own)]
            ]
            cache.write(mean_profile(found), about)
        left = left_out_told(mean.left_out)
        logger.info(
            "Mean of all sites, %s: %s; each counts once; shells %s s/mm2%s",
            key.modality, ", ".join(f"{s} ({n} series)" for s, n in mean.members.items()),
            ", ".join(f"b={b:g}" for b in mean.shells), f"; {left}" if left else "",
        )  # fmt: skip


def _missing(site: str, key: str) -> NoReturn:
    raise DataError(
        "A profile is missing that others were made together with",
        where=f"{site} {key}",
        hint="Remove OUT/models/banks; the profiles are made again.",
    )
