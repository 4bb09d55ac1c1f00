"""Banks of sites that the model does not know, made of a handful of their scans.

The banks stay in ``OUT/models/banks``. A job that finds one there checks that the images behind it
are the same, and asks the dataset nothing more.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony import __version__
from bids_harmony.bids.site import SiteEvidence, same_site
from bids_harmony.exceptions import DataError, MissingInput, UsageError
from bids_harmony.workflows.precomputed import file_sha256

if TYPE_CHECKING:
    from bids_harmony.bids.dataset import Scan
    from bids_harmony.harmonizers import Harmonizer
    from bids_harmony.settings import Settings
    from bids_harmony.training.bank_shelf import BankShelf
    from bids_harmony.training.training_scans import TrainingScan

__all__ = [
    "LookOf",
    "make_banks",
    "missing_looks",
    "reference_images",
    "shelf_of",
    "target_modalities",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LookOf:
    """What a bank is wanted of."""

    site: str
    modality: str


def shelf_of(settings: Settings) -> BankShelf:
    """The shelf of the output folder."""
    from bids_harmony.training.bank_shelf import BankShelf

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
    known = [s for s in harmonizer.sites(look.modality) if same_site(s, look.site)]
    given = bool(settings.target_images) and same_site(look.site, str(settings.target_site))
    shelved = shelf_of(settings).read(look.site, look.modality)
    if shelved is None:
        # A model's own bank will do, unless images were given in its place.
        return bool(known) and not given
    return _is_current(shelved[1], look, settings)


def _is_current(made_of: dict[str, Any], look: LookOf, settings: Settings) -> bool:
    if made_of.get("recipe") != _recipe(settings):
        return False
    images: dict[str, str] = made_of.get("images", {})
    if settings.target_images and same_site(look.site, str(settings.target_site)):
        now = {str(path): file_sha256(path) for path in _given(settings, look.modality)}
        return images == now
    try:
        return all(file_sha256(settings.bids_dir / p) == digest for p, digest in images.items())
    except MissingInput:
        return False


def _recipe(settings: Settings) -> str:
    """Hash of everything but the images that a bank depends on."""
    parts = {
        "version": __version__,
        "voxel_mm": settings.voxel_mm,
        "n4": settings.n4,
        "seed": settings.random_seed,
        "sloppy": settings.sloppy,
        "scans": settings.bank_scans,
        "method": settings.method,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def reference_images(
    look: LookOf, settings: Settings, everyone: Sequence[Scan]
) -> tuple[Scan, ...]:
    """Choose the scans that stand for a site: always the same, of as many people as there are.

    Parameters
    ----------
    look : LookOf
    settings : Settings
        ``bank_scans``, and ``target_images``, which stand for the target where they are given.
    everyone : sequence of Scan
        All scans of the dataset.

    Returns
    -------
    tuple of Scan
        At most ``bank_scans``; empty where the site has no scan of the modality.
    """
    if settings.target_images and same_site(look.site, str(settings.target_site)):
        return tuple(_given_scan(path, look) for path in _given(settings, look.modality))
    own = sorted(
        (s for s in everyone if s.modality == look.modality and same_site(s.site.site, look.site)),
        key=lambda s: str(s.path),
    )
    # Another person tells more than another session: first one scan of each, then their second.
    seen: Counter[str] = Counter()
    order = []
    for number, scan in enumerate(own):
        order.append((seen[scan.subject], number))
        seen[scan.subject] += 1
    return tuple(own[number] for _, number in sorted(order)[: settings.bank_scans])


def make_banks(
    settings: Settings, looks: Sequence[LookOf], harmonizer: Harmonizer, log_dir: Path
) -> None:
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
    """
    from bids_harmony.bids.dataset import find_scans

    shelf = shelf_of(settings)
    encoder, cells = _bank_settings(harmonizer)
    with shelf.locked():
        # Another job may have made them while this one waited.
        looks = [look for look in looks if not _is_known(look, settings, harmonizer)]
        if not looks:
            return
        everyone = find_scans(settings, whole_dataset=True).scans
        chosen = {look: reference_images(look, settings, everyone) for look in looks}
        ready = _prepare(settings, chosen, everyone, log_dir)
        for look, scans in chosen.items():
            usable = [scan for scan in scans if scan.label in ready]
            if not usable:
                logger.warning("No usable %s scan of %s", look.modality, look.site)
                continue
            _shelve(settings, shelf, look, usable, ready, encoder, cells)


def _shelve(
    settings: Settings,
    shelf: BankShelf,
    look: LookOf,
    scans: Sequence[Scan],
    ready: dict[str, TrainingScan],
    encoder: Any,
    cells: int,
) -> None:
    from bids_harmony.training.site_bank import build_bank
    from bids_harmony.training.training_scans import load_scans

    loaded = load_scans([ready[scan.label] for scan in scans], settings.voxel_mm)
    bank = build_bank(
        look.site,
        look.modality,
        [(s.label, s.data, s.mask, s.scale) for s in loaded],
        encoder,
        cells=cells,
        voxel_mm=settings.voxel_mm,
    )
    images = {_place(scan.path, settings): file_sha256(scan.path) for scan in scans}
    shelf.write(bank, {"recipe": _recipe(settings), "images": images})
    logger.info(
        "%s %s is known from %d scan(s): %s",
        look.site, look.modality, len(scans), ", ".join(bank.scans),
    )  # fmt: skip


def _prepare(
    settings: Settings,
    chosen: dict[LookOf, tuple[Scan, ...]],
    everyone: Sequence[Scan],
    log_dir: Path,
) -> dict[str, TrainingScan]:
    """Put the chosen scans on the reference grid; those that could be, by label."""
    from bids_harmony.workflows.running import prepare_scans

    work = {scan.label: scan for scans in chosen.values() for scan in scans}
    if not work:
        return {}
    inside = {scan.label for scan in everyone}
    given = [scan for scan in work.values() if scan.label not in inside]
    ready, statuses = prepare_scans(
        settings, list(work.values()), [*everyone, *given], name="banks_wf", log_dir=log_dir
    )
    for status in statuses.values():
        if status.state == "failed":
            logger.warning("Not among those that show a site's look: %s", status.message)
    return {scan.label: scan for scan in ready}


@lru_cache(maxsize=1)
def _default_encoder() -> Any:
    from bids_harmony.model.encoder import load_encoder

    return load_encoder("mri")


def _bank_settings(harmonizer: Harmonizer) -> tuple[Any, int]:
    """Encoder of the codes, and cells of the grid on which detail is measured."""
    from bids_harmony.model.presets import DEFAULT_PRESET, preset

    encoder = getattr(harmonizer, "encoder", _default_encoder())
    if encoder is None:
        raise DataError(
            "Sites that the model does not know need the encoder that it was trained with",
            where="--model",
            expected="a model with the shipped encoder",
            got="another encoder",
            hint="Run the level train with scans of these sites.",
        )
    network = getattr(harmonizer, "network", None)
    config = network.config if network is not None else preset(DEFAULT_PRESET)
    return encoder, config.aan.grid


def _given(settings: Settings, modality: str) -> list[Path]:
    return sorted(p for p in settings.target_images if _modality_of(p) == modality)


def _modality_of(path: Path) -> str:
    """Modality that the name of a target image tells; the image is there."""
    from bids_harmony.settings import MODALITIES

    suffix = path.name.partition(".")[0].rpartition("_")[2]
    if suffix not in MODALITIES:
        raise UsageError(
            "The name of a target image does not tell its modality",
            where=f"--target-image {path}",
            expected=" or ".join(f"*_{kind}.nii.gz" for kind in MODALITIES),
            got=path.name,
            hint="Rename it, or link to it by such a name.",
        )
    if not path.is_file():
        raise MissingInput("The target image does not exist", where=f"--target-image {path}")
    return suffix


def _given_scan(path: Path, look: LookOf) -> Scan:
    from bids_harmony.bids.dataset import Scan

    evidence = SiteEvidence(look.site, "--target-image")
    entities = {"subject": f"target {path.name}", "suffix": look.modality}
    return Scan(path, entities, look.modality, {}, evidence)


def _place(path: Path, settings: Settings) -> str:
    """Path below the dataset; of other images the whole path."""
    if path.is_relative_to(settings.bids_dir):
        return path.relative_to(settings.bids_dir).as_posix()
    return str(path)


def target_modalities(settings: Settings) -> set[str]:
    """Modalities of the images that stand for the target.

    Raises
    ------
    UsageError, MissingInput
        A name tells no modality, or a file is not there.
    """
    return {_modality_of(path) for path in settings.target_images}
