"""Which scans show a site, and whether they are still those that its profile was made of."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.bids.gradient_tables import gradient_tables
from bids_harmony.bids.people_filter import columns_told, who_fits
from bids_harmony.bids.scan import SiteEvidence
from bids_harmony.diffusion.gradient_files import read_gradients
from bids_harmony.exceptions import BidsHarmonyError, MissingInput, SiteError, UsageError
from bids_harmony.io.header_check import check_header
from bids_harmony.io.pointers import check_content, is_named
from bids_harmony.sites.names import MEAN_SITE, same_site
from bids_harmony.workflows.precomputed import file_sha256

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.diffusion.gradients import Gradients
    from bids_harmony.settings import Settings

__all__ = [
    "ProfileKey",
    "are_given",
    "balanced",
    "check_scan",
    "choose_scans",
    "choose_sound",
    "few_sites",
    "gradients_of",
    "image_digests",
    "left_by_filter",
    "reference_images",
    "same_images",
    "target_modalities",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProfileKey:
    """What a profile is wanted of."""

    site: str
    modality: str


def are_given(key: ProfileKey, settings: Settings) -> bool:
    """Whether a user named images that stand for the site (``--target-image``)."""
    return bool(settings.target_images) and same_site(key.site, str(settings.target_site))


def reference_images(
    key: ProfileKey, settings: Settings, everyone: Sequence[Scan]
) -> tuple[Scan, ...]:
    """Choose the scans that stand for a site: those that were named for it, or its own.

    Parameters
    ----------
    key : ProfileKey
    settings : Settings
        ``bank_scans`` and ``profile_filter``, and ``target_images``, which stand for the target
        where they are given.
    everyone : sequence of Scan
        All scans of the dataset.

    Returns
    -------
    tuple of Scan
        Empty where the site has no scan of the modality.
    """
    if are_given(key, settings):
        return tuple(_given_scan(path, key) for path in _given(settings, key.modality))
    return choose_scans(balanced(_own(key, settings, everyone), settings), settings.bank_scans)


def left_by_filter(
    key: ProfileKey, settings: Settings, everyone: Sequence[Scan]
) -> SiteError | None:
    """The error where ``--profile-filter`` leaves none of those who were scanned at a site.

    Parameters
    ----------
    key, settings, everyone
        As for `reference_images`.
    """
    query, own = settings.profile_filter, _of_site(key, everyone)
    if not (query and own) or are_given(key, settings) or _own(key, settings, everyone):
        return None
    people = len({scan.subject for scan in own})
    columns = columns_told(settings.bids_dir, [(scan.subject, scan.session) for scan in own])
    return SiteError(
        f"--profile-filter leaves nobody who shows the {key.modality} images of {key.site}",
        where=query,
        expected=f"somebody of {people} {'person' if people == 1 else 'people'} there to fit",
        got="nobody",
        hint=f"The columns are {columns}. Ask for more people, or leave this site's scans out.",
    )


def few_sites(modality: str, sites: Sequence[str]) -> SiteError:
    """The error where there are too few sites to have a mean."""
    return SiteError(
        f"The mean of all sites needs {modality} scans of two sites",
        where=f"--target-site {MEAN_SITE}",
        expected="two sites or more with usable scans",
        got=", ".join(sites) or "none",
        hint="Look at the sites with --dry-run; --site-map says which scan is of which.",
    )


def _of_site(key: ProfileKey, everyone: Sequence[Scan]) -> list[Scan]:
    return [s for s in everyone if s.modality == key.modality and same_site(s.site.site, key.site)]


def _own(key: ProfileKey, settings: Settings, everyone: Sequence[Scan]) -> list[Scan]:
    """A site's scans of those people who are to show it."""
    own = _of_site(key, everyone)
    if not (settings.profile_filter and own):
        return own
    units = [(scan.subject, scan.session) for scan in own]
    fits = who_fits(settings.bids_dir, settings.profile_filter, units)
    return [scan for scan, taken in zip(own, fits, strict=True) if taken]


def check_scan(scan: Scan, settings: Settings) -> Gradients | None:
    """Read the header of a scan, and the tables of a series.

    Returns
    -------
    Gradients or None
        Of a series.

    Raises
    ------
    MissingInput, InputOutputError, DataError
        What whoever reads all of it will say.
    """
    shape = check_header(scan.path, series=scan.gradients is not None)
    if scan.gradients is None:
        return None
    return read_gradients(*scan.gradients, shape[3], b0_threshold=settings.b0_threshold)


def choose_sound(
    key: ProfileKey,
    settings: Settings,
    everyone: Sequence[Scan],
    *,
    check: Callable[[Scan, Settings], object] = check_scan,
    quiet: bool = False,
) -> tuple[Scan, ...]:
    """As `reference_images`, but scans that cannot be used are chosen only where all are such.

    What is left out is told with its reason.

    Parameters
    ----------
    key, settings, everyone
        As for `reference_images`.
    check : callable
        As `check_scan`.
    quiet : bool
        Say nothing of what is left out.
    """
    if are_given(key, settings):
        return reference_images(key, settings, everyone)

    def is_sound(scan: Scan) -> bool:
        try:
            check(scan, settings)
        except BidsHarmonyError as error:
            if not quiet:
                logger.warning("Not among the scans that show a site: %s", error)
            return False
        return True

    own = _own(key, settings, everyone)
    sound = [scan for scan in own if is_sound(scan)] or own
    return choose_scans(balanced(sound, settings), settings.bank_scans)


def balanced(scans: Sequence[Scan], settings: Settings) -> list[Scan]:
    """Order scans so that the first ones of any number are of people of all kinds.

    People are laid out by their covariates and taken from the layout in the order of van der
    Corput's sequence, as even as any first part of it can be.

    Parameters
    ----------
    scans : sequence of Scan
    settings : Settings
        With the dataset and its `covariates`.
    """
    from bids_harmony.bids.covariates import covariate_columns

    ordered = sorted(scans, key=lambda s: str(s.path))
    units = [(scan.subject, scan.session) for scan in ordered]
    columns = covariate_columns(settings.bids_dir, units, settings.covariates)
    if not columns:
        return ordered
    # Words and columns of few values first: within each of their groups numbers run up.
    layout = sorted(columns, key=lambda name: (len(set(columns[name])), name))
    keys = [tuple(_or_last(columns[name][i]) for name in layout) for i in range(len(ordered))]
    places = sorted(range(len(ordered)), key=lambda i: (keys[i], i))
    bits = max(len(places) - 1, 1).bit_length()
    turned = sorted(range(len(places)), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))
    return [ordered[places[i]] for i in turned]


def _or_last(value: float) -> float:
    return value if value == value else float("inf")


def choose_scans(scans: Iterable[Scan], count: int) -> tuple[Scan, ...]:
    """Choose at most `count` scans in their order, of as many people as there are."""
    ordered = list(scans)
    # Another person tells more than another session: first one scan of each, then their second.
    seen: Counter[str] = Counter()
    order = []
    for number, scan in enumerate(ordered):
        order.append((seen[scan.subject], number))
        seen[scan.subject] += 1
    return tuple(ordered[number] for _, number in sorted(order)[:count])


def image_digests(paths: Iterable[Path], settings: Settings) -> dict[str, str]:
    """sha256 of images, by their path below the dataset; of other images by the whole path."""
    return {_place(path, settings): file_sha256(path) for path in paths}


def same_images(
    digests: Mapping[str, str], key: ProfileKey, settings: Settings, *, given: bool
) -> bool:
    """Whether images are still what they were.

    Parameters
    ----------
    digests : mapping
        `image_digests` of then.
    key : ProfileKey
    settings : Settings
    given : bool
        Whether they were given for the site, and not its own. Images that are given must be just
        those of then. A site's own are not chosen again, which would ask the whole dataset.
    """
    if given != are_given(key, settings):
        return False
    if given:
        return dict(digests) == image_digests(_given(settings, key.modality), settings)
    try:
        return all(file_sha256(settings.bids_dir / p) == then for p, then in digests.items())
    except MissingInput:
        return False


def target_modalities(settings: Settings) -> set[str]:
    """Modalities of the images that stand for the target.

    Raises
    ------
    UsageError, MissingInput
        A name tells no modality, or a file is not there.
    """
    return {_modality_of(path) for path in settings.target_images}


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
    if not is_named(path):
        raise MissingInput("The target image does not exist", where=f"--target-image {path}")
    check_content(path)
    if suffix == "dwi":
        gradient_tables(path, path.parent)
    return suffix


def _given_scan(path: Path, key: ProfileKey) -> Scan:
    from bids_harmony.bids.scan import Scan

    evidence = SiteEvidence(key.site, "--target-image")
    entities = {"subject": f"target {path.name}", "suffix": key.modality}
    gradients = gradient_tables(path, path.parent) if key.modality == "dwi" else None
    return Scan(path, entities, key.modality, {}, evidence, gradients)


def _place(path: Path, settings: Settings) -> str:
    if path.is_relative_to(settings.bids_dir):
        return path.relative_to(settings.bids_dir).as_posix()
    return str(path)


def gradients_of(scan: Scan, settings: Settings) -> Gradients:
    """The series' gradients, from its tables and the header of its image."""
    import nibabel as nib

    from bids_harmony.diffusion.series import open_series

    try:
        shape = nib.load(scan.path).shape  # type: ignore[attr-defined]
    except (OSError, ValueError, nib.filebasedimages.ImageFileError):
        shape = ()
    # What else is wrong with an image is told by whoever reads all of it.
    n_volumes = shape[3] if len(shape) == 4 else open_series(scan.path).shape[3]
    bval, bvec = scan.gradients or (scan.path, scan.path)
    return read_gradients(bval, bvec, n_volumes, b0_threshold=settings.b0_threshold)
