"""Which model a run uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.exceptions import MissingInput
from bids_harmony.io.pointers import is_named
from bids_harmony.settings import METHODS
from bids_harmony.workflows.model_record import Model

if TYPE_CHECKING:
    from bids_harmony.methods import Harmonizer
    from bids_harmony.methods.profiled import Profiled
    from bids_harmony.settings import Settings

__all__ = [
    "known_by_model",
    "load_model",
    "model_folder",
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


def load_model(settings: Settings, *, series: bool = False) -> tuple[Model, Harmonizer]:
    """The model's record for the graph, and the model itself.

    On the processor: this process only asks, its workers compute.

    Parameters
    ----------
    settings : Settings
    series : bool
        For diffusion series: with profiles of the cache alone, on the grid of series.

    Raises
    ------
    UsageError, MissingInput, DataError
        There is no model, or it cannot be used.
    """
    from bids_harmony.devices import device_name
    from bids_harmony.methods import load_harmonizer
    from bids_harmony.workflows.profiles import profile_cache

    folder, cache = model_folder(settings), profile_cache(settings, series=series)
    harmonizer = load_harmonizer(
        settings.method, folder, cache, device="cpu", own_profiles=not series
    )
    model = Model(
        settings.method,
        folder,
        harmonizer.sha256,
        device_name(settings.device),
        harmonizer.name,
        harmonizer.version,
        cache.folder,
        profile_filter=settings.profile_filter,
    )
    return model, harmonizer


def known_by_model(settings: Settings) -> Profiled:
    """What a plan asks of the model: which sites it knows, and by which cache it learns others.

    The shipped model is sound and its profiles tell all of that: its weights are not loaded.
    """
    from bids_harmony.methods import learns_sites
    from bids_harmony.methods.profiled import Profiled
    from bids_harmony.model.shipped import SHIPPED_MODEL
    from bids_harmony.workflows.profiles import profile_cache

    folder = model_folder(settings)
    if folder == SHIPPED_MODEL and learns_sites(settings.method):
        return Profiled(folder, profile_cache(settings))
    return load_model(settings)[1]  # type: ignore[return-value]
