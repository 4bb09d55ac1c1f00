"""One question to PyBIDS: the images of some subjects, with what they inherit from sidecars."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_harmony.bids.filters import fits, selected_sessions
from bids_harmony.bids.inventory import IMAGE_FOLDERS, Inventory, check_dataset, inherited
from bids_harmony.exceptions import BidsHarmonyError, DataError, NotBidsError, UsageError
from bids_harmony.settings import Settings

__all__ = ["Found", "query_images"]

logger = logging.getLogger(__name__)

Found = tuple[Path, dict[str, str], dict[str, Any]]

# Reconstructions that are no magnitude image.
_NOT_MAGNITUDE = ("phase", "real", "imag")
# Values of ``space`` that are the person's own anatomy. Any other names a template (TemplateFlow
# has some thirty, with cohorts, and anybody may have one more) or a surface.
_OWN_SPACES = ("acpc", "individual", "orig", "t1w")
_NEEDED = ("Name", "BIDSVersion")


def query_images(
    settings: Settings, subjects: Sequence[str], modalities: Sequence[str], inventory: Inventory
) -> tuple[list[Found], dict[Path, BidsHarmonyError]]:
    """Ask PyBIDS; when it stumbles over one subject, ask for each alone and leave that one out.

    Parameters
    ----------
    settings : Settings
        Filters, session labels, whether names are validated.
    subjects, modalities : sequence of str
    inventory : Inventory
        Tells what images inherit; its folders are kept from PyBIDS.

    Returns
    -------
    found : list of (path, entities, metadata)
        Magnitude images; entities as text, metadata after BIDS inheritance.
    failed : dict
        Folder of each subject that PyBIDS cannot index, and why.

    Raises
    ------
    NotBidsError
        When the dataset description is not valid.
    UsageError, NothingSelected
        On filters that name unknown entities, or sessions that the labels exclude.
    """
    if not subjects:
        return [], {}
    derivative = _check_description(settings)
    try:
        return _query_pybids(settings, subjects, modalities, inventory, derivative), {}
    except BidsHarmonyError:
        raise
    except Exception as error:
        # PyBIDS raises whatever its database brings; nothing narrower catches it.
        if len(subjects) == 1:
            path = settings.bids_dir / f"sub-{subjects[0]}"
            logger.debug("PyBIDS failed on %s", path, exc_info=error)
            reason = DataError(
                "PyBIDS cannot index this subject",
                where=str(path),
                got=f"{type(error).__name__}: {error}",
            )
            return [], {path: reason}
    found: list[Found] = []
    failed: dict[Path, BidsHarmonyError] = {}
    for subject in subjects:
        alone, reasons = query_images(settings, [subject], modalities, inventory)
        found += alone
        failed |= reasons
    return found, failed


def _check_description(settings: Settings) -> bool:
    """Whether the dataset is a derivative; its description must be valid unless told otherwise."""
    description = check_dataset(settings.bids_dir)
    lacking = [name for name in _NEEDED if name not in description]
    if lacking and not settings.skip_bids_validation:
        raise NotBidsError(
            "The dataset description is not valid",
            where=str(settings.bids_dir / "dataset_description.json"),
            expected=f"the fields {' and '.join(_NEEDED)}",
            got=f"no {' and no '.join(lacking)}",
            hint="Complete dataset_description.json, or use --skip-bids-validation.",
        )
    return description.get("DatasetType") == "derivative"


def _query_pybids(
    settings: Settings,
    subjects: Sequence[str],
    modalities: Sequence[str],
    inventory: Inventory,
    derivative: bool,
) -> list[Found]:
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    root = settings.bids_dir
    wanted = "|".join(map(re.escape, subjects))
    ignore = [
        re.compile(rf"^/sub-(?!(?:{wanted})(?:/|_|$))"),
        # Of the root only its files and the subjects; of a subject only sessions and the folders
        # that hold images.
        re.compile(r"^/(?!sub-)(?:[^/.]+$|[^/]+/)"),
        re.compile(
            rf"^/sub-[^/]+(?:/ses-[^/]+)?/(?!ses-|(?:{'|'.join(IMAGE_FOLDERS)})(?:/|$))"
            r"[^/._]+(?:/|$)"
        ),
        # No deeper than BIDS goes: links to a folder above make a tree without an end.
        re.compile(r"^/sub-[^/]+/ses-[^/]+/ses-"),
        re.compile(rf"^/sub-[^/]+(?:/ses-[^/]+)?/(?:{'|'.join(IMAGE_FOLDERS)})/[^/._]+$"),
        re.compile(rf"^/sub-[^/]+(?:/ses-[^/]+)?/(?:{'|'.join(IMAGE_FOLDERS)})/[^/]+/"),
        # Whatever is hidden is none of BIDS: macOS leaves a file ``._NAME`` beside each other.
        re.compile(r"/\."),
        # Files that are never asked for; each would cost as much time as an image.
        re.compile(r"\.(?:json|tsv|bvals?|bvecs?|txt|html)$"),
        *(
            re.compile(f"^{re.escape('/' + p.relative_to(root).as_posix())}(?:/|$)")
            for p in inventory.folders
        ),
    ]
    # The names of derivatives (``space``, ``desc``) are none that BIDS allows in raw datasets.
    indexer = BIDSLayoutIndexer(
        validate=not settings.skip_bids_validation and not derivative,
        index_metadata=False,
        ignore=ignore,
    )
    # The database stays in memory: nothing is ever written into the input. The description was
    # checked; PyBIDS would stumble over a byte order mark in it.
    layout = BIDSLayout(
        root, validate=False, indexer=indexer, derivatives=False, config=["bids", "derivatives"]
    )
    entities = [name for config in layout.config.values() for name in config.entities]
    found: list[Found] = []
    for modality in modalities:
        filters = dict(settings.bids_filters.get(modality, {}))
        sessions = selected_sessions(settings.session_labels, filters, where=modality)
        filters.pop("session", None)
        if sessions != "*or absent":
            filters["session"] = sessions
        files = layout.get(suffix=modality, extension=[".nii", ".nii.gz"], subject=list(subjects))
        present = [_described(Path(file.path), file, inventory) for file in files]
        names = set(entities).union(*(metadata for *_, metadata in present))
        if unknown := set(filters) - names:
            raise UsageError(
                "The filter file names an entity that the dataset does not have",
                where=modality,
                got=", ".join(sorted(unknown)),
            )
        found += [
            (path, labels, metadata)
            for path, labels, metadata in present
            if labels.get("part") not in _NOT_MAGNITUDE
            and labels.get("space", "T1w").casefold() in _OWN_SPACES
            and fits(filters, {**metadata, **labels})
        ]
    return found


def _described(path: Path, file: Any, inventory: Inventory) -> Found:
    entities = {name: str(value) for name, value in file.get_entities(metadata=False).items()}
    return path, entities, inherited(path, inventory)
