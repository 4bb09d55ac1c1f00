"""Which model a run uses, and what of it counts for a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.exceptions import BidsHarmonyError, MissingInput, SiteError
from bids_harmony.io.pointers import is_named
from bids_harmony.settings import METHODS
from bids_harmony.sites.names import same_site
from bids_harmony.workflows.model_record import Model
from bids_harmony.workflows.reference_images import ProfileKey

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.methods import Harmonizer
    from bids_harmony.methods.profiled import Profiled
    from bids_harmony.settings import Settings

__all__ = [
    "known_by_model",
    "load_model",
    "model_folder",
    "model_of_scan",
    "no_profile",
    "trained_folder",
]


def trained_folder(settings: Settings) -> Path:
    """Where the level train writes: ``OUT/models``, or a folder in it named after another method.

    One method's training leaves the model of another alone.
    """
    models = settings.output_dir / "models"
    return models if settings.method == METHODS[0] else models / settings.method


def model_folder(settings: Settings) -> Path:
    """Folder of the model: ``--model``, else ``OUT/models``, else the one shipped in the package.

    The method's own folder in ``OUT/models`` comes before it. A method that is not trained makes
    do with the site profiles of ``OUT/models``.

    Raises
    ------
    MissingInput
        When none of them holds a ``model.json``.
    """
    from bids_harmony.model.shipped import SHIPPED_MODEL

    trained = settings.output_dir / "models"
    own = trained_folder(settings)
    places = [settings.model_dir] if settings.model_dir else [own, trained, SHIPPED_MODEL]
    for place in dict.fromkeys(places):
        if is_named(place / "model.json"):
            return place
    raise MissingInput(
        "There is no model",
        where=", ".join(str(place) for place in dict.fromkeys(places)),
        expected="a folder with model.json",
        hint="Run the level `train` on this dataset first, or name a model with --model.",
    )


def load_model(settings: Settings) -> tuple[Model, Harmonizer]:
    """The model's record for the graph, and the model itself.

    On the processor: this process only asks, its workers compute.
    """
    from bids_harmony.devices import resolve_device
    from bids_harmony.methods import load_harmonizer
    from bids_harmony.workflows.site_profiles import profile_cache

    folder, cache = model_folder(settings), profile_cache(settings)
    device = str(resolve_device(settings.device))
    harmonizer = load_harmonizer(settings.method, folder, cache, device="cpu")
    version = str(getattr(harmonizer, "version", ""))
    name = str(getattr(harmonizer, "name", settings.method))
    model = Model(settings.method, folder, harmonizer.sha256, device, name, version, cache.folder)
    return model, harmonizer


def known_by_model(settings: Settings) -> Profiled:
    """What a plan asks of the model: which sites it knows, and by which cache it learns others.

    The shipped model is sound and its profiles tell all of that: its weights are not loaded.
    """
    from bids_harmony.methods import learns_sites
    from bids_harmony.methods.profiled import Profiled
    from bids_harmony.model.shipped import SHIPPED_MODEL
    from bids_harmony.workflows.site_profiles import profile_cache

    folder = model_folder(settings)
    if folder == SHIPPED_MODEL and learns_sites(settings.method):
        return Profiled(folder, profile_cache(settings))
    return load_model(settings)[1]  # type: ignore[return-value]


def no_profile(scan: Scan, sites: Sequence[str], target: str) -> SiteError:
    """The error where neither model nor dataset shows how the target's images look."""
    return SiteError(
        f"Nothing shows the target site's {scan.modality} images",
        where=scan.label,
        expected="one of " + (", ".join(sites) or "no sites at all"),
        got=target,
        hint="Name images that do with --target-image, or leave these out with --modalities.",
    )


def model_of_scan(
    model: Model,
    harmonizer: Harmonizer,
    scan: Scan,
    target: str,
    unseen: Mapping[ProfileKey, BidsHarmonyError],
) -> Model:
    """What of the model counts for a scan: weights, profiles of its site and of the target.

    Parameters
    ----------
    model : Model
    harmonizer : Harmonizer
    scan : Scan
    target : str
    unseen : mapping
        Why profiles could not be made; see `site_profiles.make_profiles`.

    Raises
    ------
    SiteError
        Nothing shows the target; or what made the scans fail that were to show it, or that
        of the scan's own site where the method needs it.
    """
    sites = harmonizer.targets(scan.modality)
    if target not in sites:
        raise unseen.get(ProfileKey(target, scan.modality)) or no_profile(scan, sites, target)
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
