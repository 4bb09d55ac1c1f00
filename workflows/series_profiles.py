"""Profiles of sites in diffusion series, made of a handful of series.

What is wanted of a series is known only from its own shells, so that a site is looked at as a
whole: numbers of its series, a profile of its mean b=0, and in the mode ``volume`` one of each
shell. They lie beside the profiles of other scans in ``OUT/models/banks``. The profile of the mean
b=0 is written last and tells what all of them were made of.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.exceptions import BidsHarmonyError, MissingInput
from bids_harmony.revisions import REVISIONS
from bids_harmony.workflows.precomputed import file_sha256
from bids_harmony.workflows.reference_images import (
    ProfileKey,
    are_given,
    image_digests,
    same_images,
)
from bids_harmony.workflows.site_profiles import profile_recipe
from bids_harmony.workflows.sound_scans import choose_sound
from bids_harmony.workflows.status import ScanStatus, report_references, why_unseen

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.diffusion.features import PreparedSeries
    from bids_harmony.methods import Harmonizer
    from bids_harmony.settings import Settings
    from bids_harmony.sites.profile_cache import ProfileCache

__all__ = ["is_known", "make_series_profiles", "series_profile_path", "series_cache"]

logger = logging.getLogger(__name__)

# Of the graph, and of its folder in the work folder.
_NAME = "series_profiles_wf"


def series_cache(settings: Settings) -> ProfileCache:
    """The cache of the output folder, on the grid of diffusion series."""
    from bids_harmony.diffusion.features import DWI_VOXEL_MM
    from bids_harmony.sites.profile_cache import ProfileCache

    return ProfileCache(settings.output_dir / "models" / "banks", DWI_VOXEL_MM)


def series_profile_path(cache: ProfileCache, site: str) -> Path:
    """File of the numbers of a site's series, beside the profiles of its images."""
    return cache.path(site, "dwi").with_suffix(".json")


def is_known(site: str, settings: Settings, harmonizer: Harmonizer) -> bool:
    """Whether a profile is there, made of images, tables and settings as they are now."""
    from bids_harmony.diffusion.features import B0_KEY

    cache, key = series_cache(settings), ProfileKey(site, "dwi")
    made_of = cache.made_of(site, B0_KEY)
    if made_of is None or made_of.get("recipe") not in _recipes(settings, harmonizer):
        return False
    if not series_profile_path(cache, site).is_file():
        return False
    try:
        tables = all(
            file_sha256(settings.bids_dir / path) == then
            for path, then in made_of.get("tables", {}).items()
        )
    except MissingInput:
        return False
    given = bool(made_of.get("given"))
    return tables and same_images(made_of.get("images", {}), key, settings, given=given)


def _recipes(settings: Settings, harmonizer: Harmonizer) -> tuple[str, ...]:
    """Hashes of what a profile depends on besides its series; the first is that of this run.

    Looks that were made for the mode ``volume`` serve the others as well.
    """
    from bids_harmony.diffusion.features import DWI_VOXEL_MM
    from bids_harmony.methods.profile_encoder import encoder_and_cells

    encoder, cells = encoder_and_cells(harmonizer)
    # Series are not corrected by N4.
    as_series = replace(settings, voxel_mm=DWI_VOXEL_MM, n4=False)
    common = profile_recipe(as_series, encoder_sha256=encoder.sha256, cells=cells)
    found = []
    for with_volumes in dict.fromkeys((settings.dwi_mode == "volume", True)):
        parts = [common, settings.b0_threshold, with_volumes, REVISIONS["diffusion"]]
        found.append(hashlib.sha256(json.dumps(parts).encode()).hexdigest())
    return tuple(found)


def make_series_profiles(
    sites: Sequence[str], settings: Settings, harmonizer: Harmonizer, log_dir: Path
) -> dict[str, BidsHarmonyError]:
    """Put profiles of the sites that are not known in the cache; other jobs wait.

    Parameters
    ----------
    sites : sequence of str
    settings : Settings
    harmonizer : Harmonizer
        Tells which network the profiles are for.
    log_dir : Path

    Returns
    -------
    dict
        Sites whose series all failed, and why they did.
    """
    from bids_harmony.bids.dataset import find_everyone
    from bids_harmony.workflows.running import clear_work

    unseen: dict[str, BidsHarmonyError] = {}
    cache = series_cache(settings)
    with cache.locked():
        # Another job may have looked at them while this one waited.
        sites = [site for site in sites if not is_known(site, settings, harmonizer)]
        if not sites:
            return unseen
        for site in sites:
            _forget(cache, site)
        everyone = find_everyone(settings)
        chosen = {
            site: choose_sound(ProfileKey(site, "dwi"), settings, everyone) for site in sites
        }
        ready, statuses = _prepare(settings, chosen, everyone, log_dir)
        for site, scans in chosen.items():
            usable = [scan for scan in scans if scan.label in ready]
            if usable:
                _shelve(site, scans, usable, ready, settings, harmonizer)
                continue
            logger.warning("No usable diffusion series of %s", site)
            if reason := why_unseen(site, [statuses[scan.label] for scan in scans]):
                unseen[site] = reason
        work = {scan.label: scan for scans in chosen.values() for scan in scans}
        clear_work(settings, _NAME, list(work.values()), statuses)
    return unseen


def _forget(cache: ProfileCache, site: str) -> None:
    """Remove all that is known of a site; shells that it has no more must not stay behind."""
    from bids_harmony.diffusion.features import B0_KEY

    cache.remove(site, B0_KEY)
    series_profile_path(cache, site).unlink(missing_ok=True)
    for path in cache.folder.glob(cache.path(site, "dwi-b*").name):
        path.unlink(missing_ok=True)


def _prepare(
    settings: Settings,
    chosen: dict[str, tuple[Scan, ...]],
    everyone: Sequence[Scan],
    log_dir: Path,
) -> tuple[dict[str, PreparedSeries], dict[str, ScanStatus]]:
    """Take what is needed from the chosen series; of those that could be used, and all states."""
    from bids_harmony.diffusion.features import PreparedSeries
    from bids_harmony.workflows.dwi import init_dwi_prepare_wf
    from bids_harmony.workflows.running import node_record, run_scans

    work = {scan.label: scan for scans in chosen.values() for scan in scans}
    given = [scan for scan in work.values() if scan not in everyone]
    statuses, records = run_scans(
        settings,
        _NAME,
        list(work.values()),
        [*everyone, *given],
        lambda scan, _: init_dwi_prepare_wf(scan=scan, settings=settings),
        log_dir,
    )
    report_references(statuses.values())
    ready = {}
    for label, scan in work.items():
        if statuses[label].state == "done":
            folder = node_record(records, settings, _NAME, scan, "prepare").folder
            ready[label] = PreparedSeries.load(folder / "prepared.npz")
    return ready, statuses


def _shelve(
    site: str,
    scans: Sequence[Scan],
    usable: Sequence[Scan],
    ready: dict[str, PreparedSeries],
    settings: Settings,
    harmonizer: Harmonizer,
) -> None:
    from bids_harmony.diffusion.features import B0_KEY, DWI_VOXEL_MM
    from bids_harmony.methods.profile_encoder import encoder_and_cells
    from bids_harmony.sites.series_profile import build_series_profiles

    encoder, cells = encoder_and_cells(harmonizer)
    series, profiles = build_series_profiles(
        site,
        [(scan.label, ready[scan.label]) for scan in usable],
        encoder,
        cells=cells,
        voxel_mm=DWI_VOXEL_MM,
    )
    given = are_given(ProfileKey(site, "dwi"), settings)
    seen = scans if given else usable
    tables = {table for scan in seen for table in scan.gradients or ()}
    made_of: dict[str, Any] = {
        "recipe": _recipes(settings, harmonizer)[0],
        "given": given,
        "images": image_digests((scan.path for scan in seen), settings),
        "tables": image_digests(sorted(tables), settings),
    }
    cache = series_cache(settings)
    series.write(series_profile_path(cache, site))
    for profile in sorted(profiles, key=lambda profile: profile.modality == B0_KEY):
        cache.write(profile, made_of)
    logger.info(
        "Diffusion at %s is known from %d series (b = %s s/mm2): %s",
        site,
        len(usable),
        ", ".join(f"{b:g}" for b in series.shells),
        ", ".join(series.labels),
    )
