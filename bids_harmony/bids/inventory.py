"""A look at the selected subjects' folders before they are indexed.

PyBIDS stops at the first sidecar that it cannot read and passes silently over folders that it may
not read. So the sidecars are read here, once and by the one reader of text, and are inherited from
here: a bad one costs the scans that it belongs to and nobody else's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_harmony.exceptions import (
    BidsHarmonyError,
    DataError,
    InputOutputError,
    MissingInput,
    NotBidsError,
)
from bids_harmony.io.names import file_stem
from bids_harmony.io.pointers import is_named, missing_content, subdataset_error
from bids_harmony.io.reading import read_json

__all__ = [
    "IMAGE_FOLDERS",
    "Inventory",
    "check_dataset",
    "inherited",
    "list_subjects",
    "read_json_object",
    "sidecar_applies",
    "take_inventory",
    "to_look_into",
]


#: Folders of a subject or session in which the images lie.
IMAGE_FOLDERS = ("anat", "dwi")


@dataclass(frozen=True)
class Inventory:
    """What the sidecars of some subjects say, and what is wrong in their folders.

    Attributes
    ----------
    sidecars : mapping of Path to error
        JSON files that cannot be used.
    folders : mapping of Path to error
        Folders that cannot be read.
    records : mapping of Path to mapping
        By folder the names of the JSON files that can be used, and their fields.
    """

    sidecars: dict[Path, BidsHarmonyError]
    folders: dict[Path, BidsHarmonyError]
    records: dict[Path, dict[str, dict[str, Any]]] = field(default_factory=dict)


def check_dataset(bids_dir: Path) -> dict[str, object]:
    """Check that a folder is a BIDS dataset and return its ``dataset_description.json``.

    Raises
    ------
    MissingInput
        When the folder is not there.
    NotBidsError
        When its ``dataset_description.json`` is not there.
    DataError
        When that file is not JSON.
    """
    if not os.path.lexists(bids_dir):
        raise MissingInput("The input folder does not exist", where=str(bids_dir))
    if not Path(bids_dir).is_dir():
        raise NotBidsError("The input is no folder", where=str(bids_dir))
    description = Path(bids_dir) / "dataset_description.json"
    if not os.path.lexists(description):
        raise NotBidsError(
            "The input folder is not a BIDS dataset",
            where=str(bids_dir),
            expected="a dataset_description.json in it",
            hint="See https://bids-standard.github.io for how to arrange images."
            if any(Path(bids_dir).iterdir())
            else f"The folder is empty. {subdataset_error(Path(bids_dir)).hint}",
        )
    return read_json_object(description)


def list_subjects(bids_dir: Path) -> list[str]:
    """Labels of the subjects that have a folder, sorted.

    Raises
    ------
    InputOutputError
        When the folder cannot be read.
    """
    try:
        with os.scandir(bids_dir) as entries:
            return sorted(
                e.name.removeprefix("sub-")
                for e in entries
                # A folder, or a link to one that is not here.
                if e.name.startswith("sub-") and (e.is_dir() or _leads_nowhere(e))
            )
    except OSError as error:
        raise _unreadable(Path(bids_dir), error) from error


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and "." not in entry.name and not os.path.exists(entry.path)


def take_inventory(
    bids_dir: Path, subjects: Iterable[str], modalities: Iterable[str]
) -> Inventory:
    """Look through the subjects' imaging folders for unusable sidecars and unreadable folders.

    Parameters
    ----------
    bids_dir : Path
    subjects : iterable of str
        Labels without prefix.
    modalities : iterable of str
        Suffixes whose sidecars matter.

    Raises
    ------
    DataError, MissingInput
        When a sidecar at the root of the dataset cannot be used: every scan inherits from it.
    """
    suffixes = tuple(modalities)
    records: dict[Path, dict[str, dict[str, Any]]] = {}
    for path in _sidecars(bids_dir, sorted(os.listdir(bids_dir)), suffixes):
        records.setdefault(path.parent, {})[path.name] = read_json_object(path)
    sidecars: dict[Path, BidsHarmonyError] = {}
    folders: dict[Path, BidsHarmonyError] = {}

    def note(error: OSError) -> None:
        folder = Path(error.filename)
        missing = isinstance(error, FileNotFoundError) and folder.is_symlink()
        folders[folder] = missing_content(folder) if missing else _unreadable(folder, error)

    nested = is_named(Path(bids_dir) / ".gitmodules")
    for subject in subjects:
        folder = Path(bids_dir) / f"sub-{subject}"
        if nested and folder.is_dir() and not os.listdir(folder):
            folders[folder] = subdataset_error(folder)
        for path in _subject_sidecars(bids_dir, subject, suffixes, note):
            try:
                records.setdefault(path.parent, {})[path.name] = read_json_object(path)
            except BidsHarmonyError as error:
                sidecars[path] = error
    return Inventory(sidecars, folders, records)


def inherited(image: Path, inventory: Inventory) -> dict[str, Any]:
    """The fields of all sidecars that an image inherits from; nearer ones win, null is absent.

    In one folder, the one that names more entities is the nearer.
    """
    fields: dict[str, Any] = {}
    for folder in reversed(image.parents):
        own = inventory.records.get(folder, {})
        for name in sorted(own, key=lambda name: (name.count("_"), name)):
            if sidecar_applies(folder / name, image):
                fields |= own[name]
    return {name: value for name, value in fields.items() if value is not None}


def read_json_object(path: str | os.PathLike[str]) -> dict[str, object]:
    """Read a JSON file that holds an object.

    Raises
    ------
    DataError
        On a syntax error (file and line are named), when it holds something else, or is larger
        than any sidecar.
    MissingInput
        When the file, or what its link points to, is not there.
    InputOutputError
        When it cannot be read.
    """
    record = read_json(path)
    if not isinstance(record, dict):
        raise DataError(
            "A JSON file holds no object",
            where=str(path),
            expected="{...}",
            got=type(record).__name__,
        )
    return record


def sidecar_applies(sidecar: Path, image: Path) -> bool:
    """Whether an image inherits from a sidecar: same suffix, no foreign entity, not below it."""
    *entities, suffix = file_stem(sidecar).split("_")
    *image_entities, image_suffix = file_stem(image).split("_")
    return (
        suffix == image_suffix
        and set(entities) <= set(image_entities)
        and sidecar.parent in image.parents
    )


def to_look_into(folder: str, names: Iterable[str]) -> list[str]:
    """Folders of a subject or session, as deep as BIDS goes: links may make a tree endless."""
    if folder in IMAGE_FOLDERS:
        return []
    sessions = folder.startswith("sub-")
    return sorted(n for n in names if n in IMAGE_FOLDERS or (sessions and n.startswith("ses-")))


def _subject_sidecars(
    bids_dir: Path, subject: str, suffixes: tuple[str, ...], note: Callable[[OSError], None]
) -> Iterator[Path]:
    for folder, names, files in os.walk(
        Path(bids_dir) / f"sub-{subject}", onerror=note, followlinks=True
    ):
        names[:] = to_look_into(os.path.basename(folder), names)
        yield from _sidecars(folder, files, suffixes)


def _sidecars(
    folder: str | Path, files: Iterable[str], suffixes: tuple[str, ...]
) -> Iterator[Path]:
    for name in sorted(files):
        hidden = name.startswith(".")  # "._sub-01_T1w.json" of macOS is no JSON
        if name.endswith(".json") and not hidden and file_stem(name).split("_")[-1] in suffixes:
            yield Path(folder) / name


def _unreadable(folder: Path, error: OSError) -> InputOutputError:
    return InputOutputError(
        "A folder cannot be read",
        where=str(folder),
        got=error.strerror or str(error),
        hint="Check its permissions (ls -ld), or leave the subject out with --participant-label.",
    )
