"""One question to PyBIDS: the images of some subjects with their inherited metadata."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_harmony.bids.filters import selected_sessions, to_query
from bids_harmony.bids.inventory import IMAGE_FOLDERS, Inventory, check_dataset
from bids_harmony.exceptions import BidsHarmonyError, DataError, NotBidsError, UsageError
from bids_harmony.settings import Settings

__all__ = ["Found", "query_images"]

logger = logging.getLogger(__name__)

Found = tuple[Path, dict[str, str], dict[str, Any]]

# Reconstructions that are no magnitude image.
_NOT_MAGNITUDE = ("phase", "real", "imag")
# In a derivative: resampled to a template, which is not the person's own anatomy any more.
_TEMPLATES = ("MNI",)


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
        Its sidecars and folders are kept from PyBIDS.

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
    from bids.exceptions import BIDSConflictingValuesError, BIDSValidationError

    try:
        return _query_pybids(settings, subjects, modalities, inventory), {}
    except BidsHarmonyError:
        raise
    except Exception as error:
        # PyBIDS raises whatever its database or a sidecar's odd field brings; nothing narrower
        # catches it. That of an invalid description is the parent class of one about a sidecar.
        if isinstance(error, BIDSValidationError) and not isinstance(
            error, BIDSConflictingValuesError
        ):
            raise NotBidsError(
                "The dataset description is not valid",
                where=str(settings.bids_dir),
                got=" ".join(str(error).split()),
                hint="Complete dataset_description.json, or use --skip-bids-validation.",
            ) from error
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


def _query_pybids(
    settings: Settings, subjects: Sequence[str], modalities: Sequence[str], inventory: Inventory
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
        *(
            re.compile(f"^{re.escape('/' + p.relative_to(root).as_posix())}$")
            for p in (*inventory.sidecars, *inventory.folders)
        ),
    ]
    validate = not settings.skip_bids_validation
    # The names of derivatives (``space``, ``desc``) are none that BIDS allows in raw datasets.
    derivative = check_dataset(root).get("DatasetType") == "derivative"
    indexer = BIDSLayoutIndexer(
        validate=validate and not derivative,
        ignore=ignore,
        suffix=list(modalities),
        extension=[".nii", ".nii.gz", ".json"],
    )
    # The database stays in memory: nothing is ever written into the input.
    layout = BIDSLayout(root, validate=validate, indexer=indexer, derivatives=False)
    found = []
    for modality in modalities:
        filters = dict(settings.bids_filters.get(modality, {}))
        sessions = selected_sessions(settings.session_labels, filters, where=modality)
        filters.pop("session", None)
        if sessions != "*or absent":
            filters["session"] = sessions
        named = filters.pop("subject", None)
        allowed = (
            list(subjects)
            if named in (None, "*")
            else [s for s in subjects if s in _labels(named)]
        )
        if not allowed:
            continue
        unknown = set(filters) - set(layout.get_entities())
        if unknown:
            raise UsageError(
                "The filter file names an entity that the dataset does not have",
                where=modality,
                got=", ".join(sorted(unknown)),
            )
        files = layout.get(
            suffix=modality,
            extension=[".nii", ".nii.gz"],
            subject=allowed,
            **{name: to_query(value) for name, value in filters.items()},
        )
        for file in files:
            entities = {
                name: str(value) for name, value in file.get_entities(metadata=False).items()
            }
            if entities.get("part") in _NOT_MAGNITUDE:
                continue
            if not entities.get("space", "").startswith(_TEMPLATES):
                found.append((Path(file.path), entities, dict(file.get_metadata())))
    return found


def _labels(value: Any) -> list[str]:
    return [
        str(v).removeprefix("sub-")
        for v in (value if isinstance(value, list | tuple) else [value])
    ]
