"""What of the model counts for each scan; sites that are not known are characterised first.

The weights are the same for images and for diffusion series. Profiles of series lie on a grid of
their own, where those that come with a model do not count.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.exceptions import BidsHarmonyError, SiteError
from bids_harmony.settings import MODALITIES
from bids_harmony.sites.names import same_site
from bids_harmony.workflows.image_profiles import ImageProfiles
from bids_harmony.workflows.model_record import Model
from bids_harmony.workflows.models import load_model
from bids_harmony.workflows.profiles import profile_cache
from bids_harmony.workflows.series_profiles import SeriesProfiles, series_profile_path
from bids_harmony.workflows.site_scans import (
    ProfileKey,
    are_given,
    gradients_of,
    target_modalities,
)

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.diffusion.gradients import Gradients
    from bids_harmony.methods import Harmonizer
    from bids_harmony.settings import Settings

__all__ = ["check_shells", "models_of", "no_profile", "no_series"]

logger = logging.getLogger(__name__)

_Unseen = Mapping[ProfileKey, BidsHarmonyError]


def models_of(settings: Settings, scans: Sequence[Scan], log_dir: Path) -> Callable[[Scan], Model]:
    """Load the model, see to it that the sites of some scans are known, and tell what counts.

    Parameters
    ----------
    settings : Settings
        With a `target_site`.
    scans : sequence of Scan
    log_dir : Path

    Returns
    -------
    callable
        Gives the model as it counts for one of the scans, or raises why none does: nothing shows
        the target (`SiteError`), what made the scans fail that were to show it, or, of series,
        what is wrong with their tables.

    Raises
    ------
    UsageError, MissingInput, DataError
        There is no model, or it cannot be used.
    """
    images = [scan for scan in scans if not scan.gradients]
    series = [scan for scan in scans if scan.gradients]
    of_images = _of_images(settings, images, log_dir) if images else None
    of_series: Callable[[Scan], Model] | None = None
    refused: BidsHarmonyError | None = None
    if series:
        try:
            of_series = _of_series(settings, series, log_dir)
        except BidsHarmonyError as error:
            if not images:
                raise
            refused = error

    def model_of(scan: Scan) -> Model:
        chosen = of_series if scan.gradients else of_images
        if chosen is None:
            raise refused or AssertionError(f"{scan.label} was not announced")
        return chosen(scan)

    return model_of


def _of_images(
    settings: Settings, images: Sequence[Scan], log_dir: Path
) -> Callable[[Scan], Model]:
    model, harmonizer = load_model(settings)
    # Profiles are on the grid of the model, which is the settings' for the shipped one.
    profiles = ImageProfiles(replace(settings, voxel_mm=harmonizer.voxel_mm), harmonizer)
    unseen: _Unseen = {}
    if missing := profiles.missing(images):
        unseen = profiles.make(missing, log_dir)
    return lambda scan: _model_of_image(scan, model, harmonizer, settings, unseen)


def _model_of_image(
    scan: Scan, model: Model, harmonizer: Harmonizer, settings: Settings, unseen: _Unseen
) -> Model:
    target = str(settings.target_site)
    sites = harmonizer.targets(scan.modality)
    if target not in sites:
        raise unseen.get(ProfileKey(target, scan.modality)) or no_profile(scan, sites, settings)
    # Spellings of one site count as one; the model's own names its profiles.
    known = (s for s in harmonizer.sites(scan.modality) if same_site(s, scan.site.site))
    source = next(known, scan.site.site)
    reason = unseen.get(ProfileKey(scan.site.site, scan.modality))
    if reason and harmonizer.needs_source and not harmonizer.has_profile(scan.modality, source):
        raise reason
    scans = {
        role: harmonizer.profile(scan.modality, site).scans
        for role, site in (("source", source), ("target", target))
        if harmonizer.has_profile(scan.modality, site)
    }
    return replace(
        model,
        identity=harmonizer.identity(scan.modality, source, target),
        source_site=source,
        source_scans=scans.get("source", ()),
        target_scans=scans.get("target", ()),
    )


def _of_series(
    settings: Settings, series: Sequence[Scan], log_dir: Path
) -> Callable[[Scan], Model]:
    model, harmonizer = load_model(settings, series=True)
    target = str(settings.target_site)
    unseen: dict[ProfileKey, BidsHarmonyError] = {}
    profiles = SeriesProfiles(settings, harmonizer)
    # The target first: what it has no shells for is refused, and nothing is made for it.
    in_turn: Sequence[Callable[[], Sequence[str]]] = (
        lambda: [target],
        lambda: _sites_of(settings, series, target),
    )
    if settings.to_mean:
        # A mean is made of all sites.
        every = dict.fromkeys(site for scan in series for site in profiles.sites_to(scan))
        in_turn = (lambda: sorted(every, key=lambda site: site == target),)
    for choose in in_turn:
        wanted = [ProfileKey(site, "dwi") for site in choose()]
        if not all(map(profiles.is_known, wanted)):
            unseen |= profiles.make(wanted, log_dir)
    return lambda scan: _model_of_series(scan, model, harmonizer, settings, unseen)


def _sites_of(settings: Settings, series: Sequence[Scan], target: str) -> list[str]:
    """Sites other than the target of the series that can be harmonized to it."""
    from bids_harmony.sites.series_profile import SeriesProfile

    path = series_profile_path(profile_cache(settings, series=True), target)
    if not path.is_file():
        return []
    shells = SeriesProfile.read(path).shells
    sites: dict[str, None] = {}
    for scan in series:
        if same_site(scan.site.site, target):
            continue
        try:
            check_shells(gradients_of(scan, settings), shells, settings)
        except BidsHarmonyError as error:
            # Said again, and for good, when the scan's own turn comes.
            logger.debug("%s will be refused: %s", scan.label, error)
            continue
        sites.setdefault(scan.site.site)
    return list(sites)


def _model_of_series(
    scan: Scan, model: Model, harmonizer: Harmonizer, settings: Settings, unseen: _Unseen
) -> Model:
    """What counts for a series, or what is wrong with it: told before anything is written."""
    from bids_harmony.diffusion.features import B0_KEY, shell_key
    from bids_harmony.sites.series_profile import SeriesProfile

    gradients = gradients_of(scan, settings)
    target = str(settings.target_site)
    source = target if same_site(scan.site.site, target) else scan.site.site
    cache = profile_cache(settings, series=True)
    profiles: list[SeriesProfile] = []
    for site, which in ((target, "target site's"), (source, "site's own")):
        if not harmonizer.has_profile(B0_KEY, site):
            raise unseen.get(ProfileKey(site, "dwi")) or no_series(scan, which, site, settings)
        profiles.insert(0, SeriesProfile.read(series_profile_path(cache, site)))
        check_shells(gradients, profiles[0].shells, settings)
    keys = [B0_KEY]
    if settings.dwi_mode == "volume":
        keys += [shell_key(b) for b in sorted({b for known in profiles for b in known.shells})]
    parts = [harmonizer.identity(key, source, target) for key in keys]
    parts += [known.digest for known in profiles]
    return replace(
        model,
        identity=hashlib.sha256(" ".join(parts).encode()).hexdigest(),
        source_site=source,
        source_scans=profiles[0].labels,
        target_scans=profiles[1].labels,
        source_profile=series_profile_path(cache, source),
        target_profile=series_profile_path(cache, target),
    )


def check_shells(gradients: Gradients, known: Sequence[float], settings: Settings) -> None:
    """Refuse a series with shells that a site lacks, where each must have an equal.

    They must with ``--strict-shells``, and in the mode ``volume``, in which a shell is nothing but
    images that are compared with the target's.

    Parameters
    ----------
    gradients : Gradients
    known : sequence of float
        The site's shells, s/mm2.
    settings : Settings

    Raises
    ------
    DataError
        See `diffusion.gradients.match_shells`.
    """
    from bids_harmony.diffusion.gradients import match_shells

    if settings.strict_shells or settings.dwi_mode == "volume":
        match_shells([shell.b for shell in gradients.shells], known)


def no_profile(scan: Scan, sites: Sequence[str], settings: Settings) -> SiteError:
    """The error where neither model nor dataset shows the target's images."""
    if _is_not_given(scan.modality, settings):
        return _not_given(scan.modality, settings)
    return SiteError(
        f"Nothing shows the target site's {scan.modality} images",
        where=scan.label,
        expected=f"{scan.modality} scans of the site in the dataset"
        + (f", or a site of the model: {', '.join(sites)}" if sites else ""),
        got=f"none of {settings.target_site}",
        hint="Name images that do with --target-image, or leave these out with --modalities.",
    )


def no_series(scan: Scan, which: str, site: str, settings: Settings) -> SiteError:
    """The error where nothing shows the diffusion series of a site."""
    if are_given(ProfileKey(site, "dwi"), settings) and _is_not_given("dwi", settings):
        return _not_given("dwi", settings)
    return SiteError(
        f"Nothing shows the {which} diffusion series",
        where=scan.label,
        expected="a usable series of that site in the dataset",
        got=site,
        hint="Name series that do with --target-image, or leave this one out with --modalities.",
    )


def _is_not_given(modality: str, settings: Settings) -> bool:
    return bool(settings.target_images) and modality not in target_modalities(settings)


def _not_given(modality: str, settings: Settings) -> SiteError:
    """The error where ``--target-image`` shows other contrasts than a scan's."""
    given = [kind for kind in MODALITIES if kind in target_modalities(settings)]
    return SiteError(
        f"No {modality} is among the target images: {modality} scans have no target",
        where="--target-image",
        expected=f"an image named *_{modality}.nii.gz of the same site",
        got=f"{' and '.join(given)} alone",
        hint=f"Name a {modality} as well, or leave {modality} scans out with --modalities "
        f"{' '.join(given)}.",
    )
