"""Which model a run uses for diffusion series, and what of it counts for one of them.

The weights are those for other scans; a model's own profiles are on another grid and do not count.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.exceptions import BidsHarmonyError, SiteError
from bids_harmony.sites.names import same_site
from bids_harmony.workflows.model_record import Model
from bids_harmony.workflows.series_profiles import (
    is_known,
    make_series_profiles,
    series_cache,
    series_profile_path,
)

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.diffusion.gradients import Gradients
    from bids_harmony.methods import Harmonizer
    from bids_harmony.settings import Settings

__all__ = ["check_method", "gradients_of", "models_of_series", "no_series", "cached_shells"]

logger = logging.getLogger(__name__)


def models_of_series(
    settings: Settings, series: Sequence[Scan], log_dir: Path
) -> Callable[[Scan], Model]:
    """Load the model, see to it that the sites of some series are known, and tell what counts.

    Parameters
    ----------
    settings : Settings
        With a `target_site`.
    series : sequence of Scan
    log_dir : Path

    Returns
    -------
    callable
        Gives the model as it counts for one of the series.

    Raises
    ------
    UsageError, MissingInput, DataError
        There is no model, or it cannot be used for series.
    """
    model, harmonizer = _load(settings)
    target = str(settings.target_site)
    unseen: dict[str, BidsHarmonyError] = {}
    # The target first: what it has no shells for is refused, and nothing is made for it.
    for choose in (lambda: [target], lambda: _sites_of(settings, series, target)):
        wanted = choose()
        if any(not is_known(site, settings, harmonizer) for site in wanted):
            unseen |= make_series_profiles(wanted, settings, harmonizer, log_dir)
            model, harmonizer = _load(settings)
    return lambda scan: _model_of(scan, model, harmonizer, settings, unseen)


def _load(settings: Settings) -> tuple[Model, Harmonizer]:
    from bids_harmony.devices import resolve_device
    from bids_harmony.methods import load_harmonizer
    from bids_harmony.workflows.models import model_folder

    folder, cache = model_folder(settings), series_cache(settings)
    harmonizer = load_harmonizer(settings.method, folder, cache, device="cpu", own_profiles=False)
    model = Model(
        settings.method,
        folder,
        harmonizer.sha256,
        str(resolve_device(settings.device)),
        harmonizer.name,
        harmonizer.version,
        cache.folder,
    )
    return model, harmonizer


def _sites_of(settings: Settings, series: Sequence[Scan], target: str) -> list[str]:
    """Sites other than the target of the series that can be harmonized to it."""
    from bids_harmony.diffusion.gradients import match_shells
    from bids_harmony.sites.series_profile import SeriesProfile

    path = series_profile_path(series_cache(settings), target)
    if not path.is_file():
        return []
    shells = SeriesProfile.read(path).shells
    sites: dict[str, None] = {}
    for scan in series:
        if same_site(scan.site.site, target):
            continue
        try:
            match_shells([s.b for s in gradients_of(scan, settings).shells], shells)
        except BidsHarmonyError as error:
            # Said again, and for good, when the scan's own turn comes.
            logger.debug("%s will be refused: %s", scan.label, error)
            continue
        sites.setdefault(scan.site.site)
    return list(sites)


def check_method(settings: Settings) -> None:
    """Refuse methods that do not harmonize series.

    Raises
    ------
    UsageError
    """
    from bids_harmony.methods import check_method_for_series

    check_method_for_series(settings.method)


def cached_shells(site: str, settings: Settings) -> tuple[float, ...] | None:
    """Shells that an earlier run saw at a site, s/mm2; None where there was none."""
    from bids_harmony.diffusion.features import B0_KEY
    from bids_harmony.sites.series_profile import SeriesProfile

    cache = series_cache(settings)
    path, made_of = series_profile_path(cache, site), cache.made_of(site, B0_KEY)
    if made_of is None or made_of.get("given") or not path.is_file():
        return None
    return SeriesProfile.read(path).shells


def no_series(scan: Scan, which: str, site: str) -> SiteError:
    """The error where nothing shows how the series of a site look."""
    return SiteError(
        f"Nothing shows the {which} diffusion series",
        where=scan.label,
        expected="a usable series of that site in the dataset",
        got=site,
        hint="Name series that do with --target-image, or leave this one out with --modalities.",
    )


def _model_of(
    scan: Scan,
    model: Model,
    harmonizer: Harmonizer,
    settings: Settings,
    unseen: Mapping[str, BidsHarmonyError],
) -> Model:
    """What of the model counts for a series: weights, profiles of its site and of the target.

    Raises
    ------
    SiteError
        Nothing is known of one of the sites; or what made its series fail (`unseen`).
    MissingInput, InputOutputError, DataError
        The series' tables cannot be used, or the target site has no shell like one of its shells.
        Told here, before anything is written.
    """
    from bids_harmony.diffusion.features import B0_KEY, shell_key
    from bids_harmony.diffusion.gradients import match_shells
    from bids_harmony.sites.series_profile import SeriesProfile

    gradients = gradients_of(scan, settings)
    target = str(settings.target_site)
    source = target if same_site(scan.site.site, target) else scan.site.site
    cache = series_cache(settings)
    site_profiles: list[SeriesProfile] = []
    for site, which in ((target, "target site's"), (source, "site's own")):
        if not harmonizer.has_profile(B0_KEY, site):
            raise unseen.get(site) or no_series(scan, which, site)
        site_profiles.insert(0, SeriesProfile.read(series_profile_path(cache, site)))
        match_shells([shell.b for shell in gradients.shells], site_profiles[0].shells)
    keys = [B0_KEY]
    if settings.dwi_mode == "volume":
        keys += [
            shell_key(b) for b in sorted({b for known in site_profiles for b in known.shells})
        ]
    parts = [harmonizer.identity(key, source, target) for key in keys]
    parts += [known.digest for known in site_profiles]
    return replace(
        model,
        identity=hashlib.sha256(" ".join(parts).encode()).hexdigest(),
        source_site=source,
        source_scans=site_profiles[0].labels,
        target_scans=site_profiles[1].labels,
        source_profile=series_profile_path(cache, source),
        target_profile=series_profile_path(cache, target),
    )


def gradients_of(scan: Scan, settings: Settings) -> Gradients:
    """The series' gradients, from its tables and the header of its image."""
    import nibabel as nib

    from bids_harmony.diffusion.gradient_files import read_gradients
    from bids_harmony.diffusion.series import open_series

    try:
        shape = nib.load(scan.path).shape  # type: ignore[attr-defined]
    except (OSError, ValueError, nib.filebasedimages.ImageFileError):
        shape = ()
    # What else is wrong with an image is told by whoever reads all of it.
    n_volumes = shape[3] if len(shape) == 4 else open_series(scan.path).shape[3]
    bval, bvec = scan.gradients or (scan.path, scan.path)
    return read_gradients(bval, bvec, n_volumes, b0_threshold=settings.b0_threshold)
