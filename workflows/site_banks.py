"""Banks of sites that the model does not know, made of a handful of their scans.

The banks stay in ``OUT/models/banks``. A job that finds one there checks that the images behind it
are the same, and asks the dataset nothing more.
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
    LookOf,
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
    from bids_harmony.sites.image_profile import SiteBank
    from bids_harmony.sites.prepared_scans import TrainingScan
    from bids_harmony.sites.profile_cache import BankShelf

__all__ = ["bank_recipe", "make_banks", "missing_looks", "shelf_of"]

logger = logging.getLogger(__name__)

# Of the graph, and of its folder in the work folder.
_NAME = "banks_wf"


def shelf_of(settings: Settings) -> BankShelf:
    """The shelf of the output folder."""
    from bids_harmony.sites.profile_cache import BankShelf

    return BankShelf(settings.output_dir / "models" / "banks", settings.voxel_mm)


def missing_looks(
    settings: Settings, scans: Sequence[Scan], harmonizer: Harmonizer
) -> list[LookOf]:
    """Sites of the scans, and their target, that neither model nor shelf knows.

    A bank on the shelf counts only if the images that it was made of are still the same.

    Parameters
    ----------
    settings : Settings
        With a `target_site`.
    scans : sequence of Scan
    harmonizer : Harmonizer
        With the shelf of the output folder.
    """
    target = str(settings.target_site)
    wanted: dict[LookOf, None] = {}
    for scan in scans:
        for site in (target, scan.site.site):
            own = target if same_site(site, target) else site
            wanted.setdefault(LookOf(own, scan.modality))
    return [look for look in wanted if not _is_known(look, settings, harmonizer)]


def _is_known(look: LookOf, settings: Settings, harmonizer: Harmonizer) -> bool:
    def among(sites: Sequence[str]) -> bool:
        return any(same_site(site, look.site) for site in sites)

    given = are_given(look, settings)
    made_of = shelf_of(settings).made_of(look.site, look.modality)
    if made_of is None:
        # A bank of the model's own will do, unless images were given in its place.
        return among(harmonizer.sites(look.modality)) and not given
    was_given = bool(made_of.get("given"))
    if not given and not was_given and among(harmonizer.own_sites(look.modality)):
        return True
    from bids_harmony.methods.profile_encoder import encoder_and_cells

    encoder, cells = encoder_and_cells(harmonizer)
    return (
        made_of.get("recipe") == bank_recipe(settings, encoder_sha256=encoder.sha256, cells=cells)
        and same_images(made_of.get("images", {}), look, settings, given=was_given)
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


def bank_recipe(settings: Settings, *, encoder_sha256: str, cells: int) -> str:
    """Hash of everything but the images that a bank depends on.

    The method is none of it: methods with one encoder and one grid share their banks.
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


def make_banks(
    settings: Settings, looks: Sequence[LookOf], harmonizer: Harmonizer, log_dir: Path
) -> dict[LookOf, BidsHarmonyError]:
    """Prepare scans of the sites that are missing and put their banks on the shelf.

    Other jobs of the same output folder wait and find them. A site without a usable scan gets no
    bank; whoever needs it says so.

    Parameters
    ----------
    settings : Settings
    looks : sequence of LookOf
    harmonizer : Harmonizer
        Tells which network the banks are for.
    log_dir : Path

    Returns
    -------
    dict
        Looks for which no bank could be made because all of their scans failed, and why they did.
    """
    from bids_harmony.bids.dataset import find_everyone
    from bids_harmony.methods.profile_encoder import encoder_and_cells
    from bids_harmony.workflows.running import clear_work

    unseen: dict[LookOf, BidsHarmonyError] = {}
    shelf = shelf_of(settings)
    encoder, cells = encoder_and_cells(harmonizer)
    with shelf.locked():
        # Another job may have made them while this one waited.
        looks = [look for look in looks if not _is_known(look, settings, harmonizer)]
        _take_away_others(shelf, looks, settings)
        # Where given images are gone, the model's own bank counts again.
        looks = [look for look in looks if not _is_known(look, settings, harmonizer)]
        if not looks:
            return unseen
        everyone = find_everyone(settings)
        chosen = {look: choose_sound(look, settings, everyone) for look in looks}
        ready, statuses = _prepare(settings, chosen, everyone, log_dir)
        for look, scans in chosen.items():
            usable = [scan for scan in scans if scan.label in ready]
            if not usable:
                logger.warning("No usable %s scan of %s", look.modality, look.site)
                if reason := why_unseen(look.site, [statuses[scan.label] for scan in scans]):
                    unseen[look] = reason
                continue
            # Of images that were given, also one of no use: they are compared as a whole.
            given = are_given(look, settings)
            seen = scans if given else usable
            made_of = {
                "recipe": bank_recipe(settings, encoder_sha256=encoder.sha256, cells=cells),
                "given": given,
                "images": image_digests((scan.path for scan in seen), settings),
            }
            usable = sorted(usable, key=lambda s: s.label)
            units = [] if given else [(scan.subject, scan.session) for scan in usable]
            covariates = _covariates_of(units, settings)
            made_of["people"] = {"units": [list(unit) for unit in units], "covariates": covariates}
            ready_scans = [ready[scan.label] for scan in usable]
            bank = _bank_of(look, ready_scans, settings, encoder, cells, covariates)
            shelf.write(bank, made_of)
            logger.info(
                "%s %s is known from %d scan(s) of %d people: %s",
                look.site, look.modality, len(usable), len(set(bank.looks.people)),
                ", ".join(bank.scans),
            )  # fmt: skip
        work = {scan.label: scan for scans in chosen.values() for scan in scans}
        clear_work(settings, _NAME, list(work.values()), statuses)
    return unseen


def _take_away_others(shelf: BankShelf, looks: Sequence[LookOf], settings: Settings) -> None:
    """Remove banks of other given images, and those that stand where images are given now.

    If no new one can be made, a run must not take the look that an earlier one was asked for. A
    site's own outdated bank stays until there is a new one.
    """
    for look in looks:
        made_of = shelf.made_of(look.site, look.modality) or {}
        if made_of.get("given") or are_given(look, settings):
            shelf.remove(look.site, look.modality)


def _bank_of(
    look: LookOf,
    scans: Sequence[TrainingScan],
    settings: Settings,
    encoder: Encoder,
    cells: int,
    covariates: Mapping[str, Sequence[float | None]],
) -> SiteBank:
    from bids_harmony.sites.image_profile import MOST_CODED, build_bank
    from bids_harmony.sites.prepared_scans import load_scans

    nan = float("nan")
    return build_bank(
        look.site,
        look.modality,
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
    chosen: dict[LookOf, tuple[Scan, ...]],
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
