"""Profiles of sites that the model does not know, made of a handful of their scans.

The profiles stay in ``OUT/models/banks``. A job that finds one there checks that the images behind
it are the same, and asks the dataset nothing more.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bids_harmony.exceptions import BidsHarmonyError
from bids_harmony.revisions import revisions_of
from bids_harmony.sites.names import same_site
from bids_harmony.workflows.reference_images import (
    ProfileKey,
    are_given,
    image_digests,
    same_images,
)
from bids_harmony.workflows.sound_scans import choose_sound
from bids_harmony.workflows.status import ScanStatus, report_references, why_unseen

if TYPE_CHECKING:
    from pathlib import Path

    from bids_harmony.bids.scan import Scan
    from bids_harmony.methods import Harmonizer
    from bids_harmony.model.encoder import Encoder
    from bids_harmony.settings import Settings
    from bids_harmony.sites.image_profile import ImageProfile
    from bids_harmony.sites.prepared_scans import TrainingScan
    from bids_harmony.sites.profile_cache import ProfileCache

__all__ = ["profile_recipe", "make_profiles", "missing_profiles", "profile_cache"]

logger = logging.getLogger(__name__)

# Of the graph, and of its folder in the work folder.
_NAME = "profiles_wf"


def profile_cache(settings: Settings) -> ProfileCache:
    """The cache of the output folder."""
    from bids_harmony.sites.profile_cache import ProfileCache

    return ProfileCache(settings.output_dir / "models" / "banks", settings.voxel_mm)


def missing_profiles(
    settings: Settings, scans: Sequence[Scan], harmonizer: Harmonizer
) -> list[ProfileKey]:
    """Sites of the scans, and their target, that neither model nor cache knows.

    A profile in the cache counts only if the images that it was made of are still the same.

    Parameters
    ----------
    settings : Settings
        With a `target_site`.
    scans : sequence of Scan
    harmonizer : Harmonizer
        With the cache of the output folder.
    """
    target = str(settings.target_site)
    wanted: dict[ProfileKey, None] = {}
    for scan in scans:
        for site in (target, scan.site.site):
            own = target if same_site(site, target) else site
            wanted.setdefault(ProfileKey(own, scan.modality))
    return [key for key in wanted if not _is_known(key, settings, harmonizer)]


def _is_known(key: ProfileKey, settings: Settings, harmonizer: Harmonizer) -> bool:
    def among(sites: Sequence[str]) -> bool:
        return any(same_site(site, key.site) for site in sites)

    given = are_given(key, settings)
    made_of = profile_cache(settings).made_of(key.site, key.modality)
    if made_of is None:
        # A profile of the model's own will do, unless images were given in its place.
        return among(harmonizer.sites(key.modality)) and not given
    was_given = bool(made_of.get("given"))
    if not given and not was_given and among(harmonizer.own_sites(key.modality)):
        return True
    from bids_harmony.methods.profile_encoder import encoder_and_cells

    encoder, cells = encoder_and_cells(harmonizer)
    return (
        made_of.get("recipe")
        == profile_recipe(settings, encoder_sha256=encoder.sha256, cells=cells)
        and same_images(made_of.get("images", {}), key, settings, given=was_given)
        and _same_people(made_of.get("people", {}), settings)
    )


def _same_people(people: Mapping[str, Any], settings: Settings) -> bool:
    """Whether the dataset's tables still say of the scanned people what they said then."""
    units = [(subject, session) for subject, session in people.get("units", ())]
    return people.get("covariates", {}) == _covariates_of(units, settings)


def _covariates_of(units: Sequence[tuple[str, str | None]], settings: Settings) -> dict[str, Any]:
    """Covariates of some sessions for JSON, None where a value is missing."""
    from bids_harmony.bids.covariates import covariate_columns

    columns = covariate_columns(settings.bids_dir, units, settings.covariates) if units else {}
    return {
        name: [value if value == value else None for value in values]
        for name, values in columns.items()
    }


def profile_recipe(settings: Settings, *, encoder_sha256: str, cells: int) -> str:
    """Hash of everything but the images that a profile depends on.

    The method is none of it: methods with one encoder and one grid share their profiles.
    """
    parts = {
        "revision": revisions_of("anatomy", "profile"),
        "encoder": encoder_sha256,
        "cells": cells,
        "voxel_mm": settings.voxel_mm,
        "n4": settings.n4,
        "seed": settings.random_seed,
        "sloppy": settings.sloppy,
        "scans": settings.bank_scans,
        "covariates": settings.covariates,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def make_profiles(
    settings: Settings, keys: Sequence[ProfileKey], harmonizer: Harmonizer, log_dir: Path
) -> dict[ProfileKey, BidsHarmonyError]:
    """Prepare scans of the sites that are missing and put their profiles in the cache.

    Other jobs of the same output folder wait and find them. A site without a usable scan gets no
    profile; whoever needs it says so.

    Parameters
    ----------
    settings : Settings
    keys : sequence of ProfileKey
    harmonizer : Harmonizer
        Tells which network the profiles are for.
    log_dir : Path

    Returns
    -------
    dict
        Keys for which no profile could be made because all of their scans failed, and why they
        did.
    """
    from bids_harmony.bids.dataset import find_everyone
    from bids_harmony.methods.profile_encoder import encoder_and_cells
    from bids_harmony.workflows.running import clear_work

    unseen: dict[ProfileKey, BidsHarmonyError] = {}
    cache = profile_cache(settings)
    encoder, cells = encoder_and_cells(harmonizer)
    with cache.locked():
        # Another job may have made them while this one waited.
        keys = [key for key in keys if not _is_known(key, settings, harmonizer)]
        _take_away_others(cache, keys, settings)
        # Where given images are gone, the model's own profile counts again.
        keys = [key for key in keys if not _is_known(key, settings, harmonizer)]
        if not keys:
            return unseen
        everyone = find_everyone(settings)
        chosen = {key: choose_sound(key, settings, everyone) for key in keys}
        ready, statuses = _prepare(settings, chosen, everyone, log_dir)
        for key, scans in chosen.items():
            usable = [scan for scan in scans if scan.label in ready]
            if not usable:
                logger.warning("No usable %s scan of %s", key.modality, key.site)
                if reason := why_unseen(key.site, [statuses[scan.label] for scan in scans]):
                    unseen[key] = reason
                continue
            # Of images that were given, also one of no use: they are compared as a whole.
            given = are_given(key, settings)
            seen = scans if given else usable
            made_of = {
                "recipe": profile_recipe(settings, encoder_sha256=encoder.sha256, cells=cells),
                "given": given,
                "images": image_digests((scan.path for scan in seen), settings),
            }
            usable = sorted(usable, key=lambda s: s.label)
            units = [] if given else [(scan.subject, scan.session) for scan in usable]
            covariates = _covariates_of(units, settings)
            made_of["people"] = {"units": [list(unit) for unit in units], "covariates": covariates}
            ready_scans = [ready[scan.label] for scan in usable]
            profile = _profile_of(key, ready_scans, settings, encoder, cells, covariates)
            cache.write(profile, made_of)
            logger.info(
                "%s %s is known from %d scan(s) of %d people: %s",
                key.site, key.modality, len(usable), len(set(profile.scan_measures.people)),
                ", ".join(profile.scans),
            )  # fmt: skip
        work = {scan.label: scan for scans in chosen.values() for scan in scans}
        clear_work(settings, _NAME, list(work.values()), statuses)
    return unseen


def _take_away_others(cache: ProfileCache, keys: Sequence[ProfileKey], settings: Settings) -> None:
    """Remove profiles of other given images, and those that stand where images are given now.

    If no new one can be made, a run must not take the profile that an earlier one was asked for. A
    site's own outdated profile stays until there is a new one.
    """
    for key in keys:
        made_of = cache.made_of(key.site, key.modality) or {}
        if made_of.get("given") or are_given(key, settings):
            cache.remove(key.site, key.modality)


def _profile_of(
    key: ProfileKey,
    scans: Sequence[TrainingScan],
    settings: Settings,
    encoder: Encoder,
    cells: int,
    covariates: Mapping[str, Sequence[float | None]],
) -> ImageProfile:
    from bids_harmony.sites.image_profile import MOST_CODED, build_profile
    from bids_harmony.sites.prepared_scans import load_scans

    nan = float("nan")
    return build_profile(
        key.site,
        key.modality,
        [(s.label, s.data, s.mask, s.scale) for s in load_scans(scans, settings.voxel_mm)],
        encoder,
        cells=cells,
        voxel_mm=settings.voxel_mm,
        coded=MOST_CODED,
        people=[scan.subject for scan in scans],
        covariates={
            name: [nan if value is None else value for value in values]
            for name, values in covariates.items()
        },
    )


def _prepare(
    settings: Settings,
    chosen: dict[ProfileKey, tuple[Scan, ...]],
    everyone: Sequence[Scan],
    log_dir: Path,
) -> tuple[dict[str, TrainingScan], dict[str, ScanStatus]]:
    """Put the chosen scans on the reference grid; those that could be, by label, and states."""
    from bids_harmony.workflows.running import prepare_scans

    work = {scan.label: scan for scans in chosen.values() for scan in scans}
    if not work:
        return {}, {}
    inside = {scan.label for scan in everyone}
    given = [scan for scan in work.values() if scan.label not in inside]
    ready, statuses = prepare_scans(
        settings, list(work.values()), [*everyone, *given], name=_NAME, log_dir=log_dir
    )
    report_references(statuses.values())
    return {scan.label: scan for scan in ready}, statuses
