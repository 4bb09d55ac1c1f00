"""Masks and transforms that are there already: an earlier run's, or given ``--derivatives``."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.dataset import Problem, ScanSelection
from bids_harmony.bids.derivative import HASH_FIELD, resume_hash
from bids_harmony.bids.naming import mask_path, sidecar_path, source_entities, transform_path
from bids_harmony.bids.scan import Scan
from bids_harmony.exceptions import BidsHarmonyError, InputOutputError
from bids_harmony.imaging.reference import REFERENCE
from bids_harmony.io.names import file_stem
from bids_harmony.io.pointers import check_content, is_named, missing_content
from bids_harmony.io.reading import object_or_empty
from bids_harmony.revisions import revisions_of
from bids_harmony.settings.spaces import ANATOMY
from bids_harmony.workflows.anat import Precomputed, masked_by_itself
from bids_harmony.workflows.given import allowed, closest, find_given, shown_file, steps_to
from bids_harmony.workflows.spaces import files_of

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = [
    "anatomy_hash",
    "file_sha256",
    "find_precomputed",
    "given_mask",
    "harmonization_hash",
    "leave_out_without_masks",
    "steps_of_mask",
]

logger = logging.getLogger(__name__)


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes; a process reads a file once, until its size or time changes.

    Raises
    ------
    MissingInput, InputOutputError
        When the file is not there or cannot be read.
    """
    try:
        state = path.stat()
        return _bytes_sha256(path, state.st_size, state.st_mtime_ns)
    except FileNotFoundError as error:
        raise missing_content(path) from error
    except OSError as error:
        raise InputOutputError("A file cannot be read", where=str(path), got=str(error)) from error


@lru_cache(maxsize=4096)
def _bytes_sha256(path: Path, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def anatomy_hash(scan: Scan, settings: Settings, *, t1w: Scan | None = None) -> str:
    """sha256 of all that mask and transform of a scan depend on.

    Parameters
    ----------
    scan : Scan
    settings : Settings
    t1w : Scan, optional
        T1w of the same person, through which the scan goes to the reference.
    """
    return resume_hash(_anatomy_parts(scan, settings, t1w))


def harmonization_hash(
    scan: Scan, settings: Settings, *, target_site: str, model_sha256: str, t1w: Scan | None = None
) -> str:
    """sha256 of all that a harmonized image and its sidecar depend on.

    Processors, threads, batch size and device are left out: they must not change the result.
    """
    given = find_given(scan, settings)
    maps = list(given.tissues.values()) if given is not None else []
    files = () if scan.gradients else files_of(scan, t1w, settings)
    return resume_hash(
        {
            "anatomy": _anatomy_parts(scan, settings, t1w),
            "revision": revisions_of("profile", "harmonization"),
            "metadata": dict(scan.metadata),
            "site": repr(scan.site),
            "target": target_site,
            "method": settings.method,
            "model": model_sha256,
            "n4": settings.n4,
            "skull_strip": settings.skull_strip,
            "output_spaces": sorted(settings.output_spaces),
            "precision": settings.precision,
            **({"tissues": [file_sha256(path) for path in maps]} if maps else {}),
            **({"templates": [file_sha256(path) for path in files]} if files else {}),
            **({"keep_header": True} if settings.keep_header_extensions else {}),
            **({"profile_filter": settings.profile_filter} if settings.profile_filter else {}),
            **(_series_parts(settings) if scan.gradients else {}),
        }
    )


def _series_parts(settings: Settings) -> dict[str, Any]:
    return {
        "diffusion": revisions_of("diffusion"),
        "dwi_mode": settings.dwi_mode,
        "dwi_fits": sorted(settings.dwi_fits),
        "tensor_method": settings.tensor_method,
    }


def _anatomy_parts(scan: Scan, settings: Settings, t1w: Scan | None) -> dict[str, Any]:
    mask = given_mask(scan, settings)
    steps = steps_of_mask(mask, scan, settings) if mask else ()
    parts: dict[str, Any] = {
        "revision": revisions_of("anatomy"),
        "image": file_sha256(scan.path),
        "mask": file_sha256(mask) if mask else None,
        **({"mask_steps": [file_sha256(p) for p in steps]} if steps else {}),
        "t1w": _anatomy_parts(t1w, settings, None) if t1w else None,
        "seed": settings.random_seed,
        "sloppy": settings.sloppy,
    }
    if not (mask or t1w or scan.together or scan.gradients or scan.modality == ANATOMY):
        # A T1w is always masked so, and the template's mask stands in no hash of earlier runs.
        if masked_by_itself(scan, settings, with_t1w=False):
            parts["brain"] = settings.mask_without_t1w
    if scan.together:
        parts["together"] = sorted(_member_parts(member, settings) for member in scan.together)
    elif (given := find_given(scan, settings)) is not None:
        # Nothing stands in the hash of who has none.
        if given.reference is not None:
            parts["transform"] = [file_sha256(p) for p in (*given.to_anatomy, given.reference)]
    if scan.gradients:
        parts["tables"] = [file_sha256(table) for table in scan.gradients]
        parts["b0_threshold"] = settings.b0_threshold
    return parts


def _member_parts(scan: Scan, settings: Settings) -> list[str]:
    """What a scan brings into the space that it shares; nothing of one that cannot be read."""
    try:
        mask = given_mask(scan, settings, warn=False)
        steps = steps_of_mask(mask, scan, settings) if mask else ()
        files = [scan.path, *([mask] if mask else []), *steps]
        return [file_sha256(path) for path in files]
    except BidsHarmonyError:
        # Its own graph says so.
        return []


def find_precomputed(scan: Scan, settings: Settings, wanted: str) -> Precomputed:
    """Mask and transform of a scan that need not be made again.

    Those of an earlier run count if they were made from the same (`anatomy_hash`); a mask given
    with ``--derivatives`` counts as it is.

    Parameters
    ----------
    scan : Scan
    settings : Settings
    wanted : str
        `anatomy_hash` of the scan.

    Returns
    -------
    Precomputed
    """
    mask = mask_path(settings.output_dir, scan)
    xfm = transform_path(settings.output_dir, scan, to=REFERENCE)
    records = [object_or_empty(sidecar_path(path)) for path in (mask, xfm)]
    if (
        mask.is_file()
        and xfm.is_file()
        and all(record.get(HASH_FIELD) == wanted for record in records)
    ):
        logger.info(
            "%s: brain mask and transform are there already (made for the profile of its site, or "
            "by an earlier run): %s",
            scan.label, mask,
        )  # fmt: skip
        return Precomputed(mask, str(records[0].get("MaskKind", "given")), xfm, written=True)
    mask_given, given = given_mask(scan, settings), find_given(scan, settings)
    reused = []
    mask_from = ""
    to_anatomy: tuple[Path, ...] = ()
    if mask_given is not None and (home := _home(mask_given, settings)):
        name, folder = home
        mask_from = f"{name}: {mask_given.relative_to(folder).as_posix()}"
        reused.append(f"mask from {mask_from}")
        to_anatomy = steps_of_mask(mask_given, scan, settings)
    elif mask_given is not None:
        reused.append(f"mask of the dataset itself: {mask_given}")
    if given is not None and given.reference is not None and scan.together:
        logger.info(
            "%s: the transform of %s is not used: with --longitudinal sessions share a space that "
            "is found here",
            scan.label, given.name,
        )  # fmt: skip
    elif given is not None and given.reference is not None:
        reused.append(f"transform from {shown_file(given, given.reference)}")
    if given is not None and given.tissues:
        reused.append(f"tissue maps from {given.name}")
    if reused:
        logger.info("%s: reused: %s", scan.label, "; ".join(reused))
    return Precomputed(mask_given, mask_from=mask_from, mask_to_anatomy=to_anatomy, given=given)


def _home(mask: Path, settings: Settings) -> tuple[str, Path] | None:
    """Name and folder of the derivatives that a mask comes from."""
    inside = [(n, f) for n, f in settings.derivatives.items() if mask.is_relative_to(f)]
    return max(inside, key=lambda pair: len(pair[1].parts), default=None)


def steps_of_mask(mask: Path, scan: Scan, settings: Settings) -> tuple[Path, ...]:
    """Transforms from a T1w to the space of its given mask."""
    home = _home(mask, settings)
    if home is None or scan.modality != "T1w":
        return ()
    space = "ACPC" if "_space-ACPC_" in mask.name else "T1w"
    return steps_to(home[1], scan, settings, space) or ()


def leave_out_without_masks(settings: Settings, selection: ScanSelection) -> ScanSelection:
    """Make a problem of every scan whose given mask, transforms or maps were not fetched."""
    scans, problems = [], list(selection.problems)
    for scan in selection.scans:
        try:
            mask, given = given_mask(scan, settings, warn=False), find_given(scan, settings)
            for path in [*([mask] if mask else []), *(given.files if given else [])]:
                check_content(path)
            scans.append(scan)
        except BidsHarmonyError as error:
            problems.append(Problem(scan.label, scan.path, error))
    return replace(selection, scans=tuple(scans), problems=tuple(problems))


def given_mask(scan: Scan, settings: Settings, *, warn: bool = True) -> Path | None:
    """Brain mask of a scan in the folders of ``--derivatives``, or None; the closest name wins.

    An input that is a derivative itself (preprocessed series) may have the mask beside the scan. A
    mask belongs to a scan if its entities are among the scan's: pipelines that average repeated
    scans drop ``run``, and a mask in another ``space`` lies elsewhere.
    """
    folders = {"": settings.bids_dir, **settings.derivatives}
    for name, folder in folders.items():
        exact = mask_path(folder, scan)
        if is_named(exact) and (not name or allowed(exact, settings, "mask")):
            return exact
        if scan.modality not in ("T1w", "dwi"):
            continue
        found = max(
            (p for p in _brain_masks(folder, scan) if not name or allowed(p, settings, "mask")),
            key=lambda p: (len(source_entities(p)), str(p)),
            default=None,
        )
        if found is None and scan.modality == "T1w" and "space" not in scan.entities and name:
            found = _acpc_mask(folder, scan, settings)
        if found is not None:
            return found
        if name and warn:
            logger.warning(
                "%s: no brain mask in the derivatives %s (%s)", scan.label, name, folder
            )
    return None


def _acpc_mask(folder: Path, scan: Scan, settings: Settings) -> Path | None:
    """QSIPrep's mask of a T1w, where the way to its space is known."""
    if steps_to(folder, scan, settings, "ACPC") is None:
        return None
    kinds = (".nii.gz", ".nii")
    return closest(folder, scan, settings, "space-ACPC_desc-brain_mask", kinds, "mask")


def _brain_masks(folder: Path, scan: Scan) -> Iterator[Path]:
    own = set(source_entities(scan.path).split("_")) | {"desc-brain"}
    subject = folder / f"sub-{scan.subject}"
    kind = "dwi" if scan.modality == "dwi" else "anat"
    places = [subject / kind]
    if scan.session:
        places.append(subject / f"ses-{scan.session}" / kind)
    for place in places:
        for path in place.glob(f"sub-{scan.subject}*_desc-brain_mask.nii*"):
            if set(file_stem(path).split("_")[:-1]) <= own:
                yield path
