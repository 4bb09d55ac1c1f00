"""What folders of ``--derivatives`` have of a person's T1w: transforms and tissue maps.

fMRIPrep, sMRIPrep and QSIPrep put a person's T1w into an anatomical space of their own (``T1w``,
in newer QSIPrep ``ACPC``), to which ``from-orig_to-T1w`` (``from-anat_to-ACPC``) leads; from there
``from-T1w_to-<template>`` leads to a template.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.filters import fits
from bids_harmony.bids.naming import source_entities
from bids_harmony.imaging.reference import REFERENCE
from bids_harmony.io.names import file_stem
from bids_harmony.settings.spaces import TEMPLATES

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.settings import Settings

__all__ = ["Given", "allowed", "closest", "copied_files", "find_given", "shown_file", "steps_to"]

# Anatomical spaces, and the steps that lead to each from the scan; without the last one of those
# to ACPC nothing is known of that space.
_SPACES = {"T1w": (("orig", "T1w"),), "ACPC": (("orig", "anat"), ("anat", "ACPC"))}
# Ours first: it leads to the very reference. ICBM's 2009c and 2009a stand in one space, to within
# what a linear transform can tell; MNI152NLin6Asym is 1.4 mm away and serves output spaces only.
_TO_REFERENCE = (REFERENCE, "MNI152NLin2009cAsym")
_TISSUES = ("GM", "WM", "CSF")
_XFM_KINDS = (".h5", ".txt", ".tfm", ".mat")
_LONG_NAMES = {
    "sub": "subject", "ses": "session", "acq": "acquisition", "rec": "reconstruction",
    "dir": "direction", "ce": "ceagent", "desc": "desc", "trc": "tracer",
}  # fmt: skip


@dataclass(frozen=True)
class Given:
    """What one folder has of a T1w.

    Attributes
    ----------
    name : str
        As ``-d NAME=PATH`` calls the folder.
    folder : Path
    to_anatomy : tuple of Path
        Transforms from the scan to the folder's anatomical space, one after the other; none where
        they are one.
    transforms : mapping of template to Path
        From the anatomical space.
    tissues : mapping
        Probability maps of GM, WM and CSF in the anatomical space: all three or none.
    """

    name: str
    folder: Path
    to_anatomy: tuple[Path, ...] = ()
    transforms: Mapping[str, Path] = field(default_factory=dict)
    tissues: Mapping[str, Path] = field(default_factory=dict)

    @property
    def reference(self) -> Path | None:
        """The transform that can stand for that to the reference."""
        return next((self.transforms[t] for t in _TO_REFERENCE if t in self.transforms), None)

    @property
    def files(self) -> list[Path]:
        """Every file."""
        return [*self.to_anatomy, *self.transforms.values(), *self.tissues.values()]


def find_given(scan: Scan, settings: Settings) -> Given | None:
    """Transforms and tissue maps of a T1w, from the first folder that has a transform or maps.

    A file belongs to the scan if its entities are among the scan's, as with masks; of several the
    one that shares most. ``--deriv-filter-file`` may leave some out.

    Parameters
    ----------
    scan : Scan
    settings : Settings

    Returns
    -------
    Given or None
        None for other contrasts, which go through the T1w.
    """
    if scan.modality != "T1w":
        return None
    for name, folder in settings.derivatives.items():
        if _is_preprocessed(scan) and not _same_folder(folder, settings.bids_dir):
            # Of an image that a pipeline moved only that pipeline knows where it lies.
            continue
        for space in _SPACES:
            steps = steps_to(folder, scan, settings, space)
            if steps is None:
                continue
            transforms = {
                to: found
                for to in (REFERENCE, *TEMPLATES)
                if (found := _transform(folder, scan, settings, space, to))
            }
            tissues = _tissues(folder, scan, settings, space)
            if transforms or tissues:
                return Given(name, folder, steps, transforms, tissues)
    return None


def steps_to(folder: Path, scan: Scan, settings: Settings, space: str) -> tuple[Path, ...] | None:
    """Linear transforms from a scan to an anatomical space of a folder; None where there is none
    to ACPC, which lies elsewhere than the scan. A preprocessed scan is in one space alone."""
    if _is_preprocessed(scan):
        return () if scan.entities.get("space", "T1w") == space else None
    steps = [_transform(folder, scan, settings, *step) for step in _SPACES[space]]
    if space == "ACPC" and steps[-1] is None:
        return None
    return tuple(path for path in steps if path is not None and path.suffix != ".h5")


def _is_preprocessed(scan: Scan) -> bool:
    """Whether a scan lies in an anatomical space already, as fMRIPrep's and QSIPrep's images."""
    return "space" in scan.entities or "desc-preproc" in source_entities(scan.path).split("_")


def _same_folder(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def shown_file(given: Given, path: Path) -> str:
    """A file as sidecars and logs name it: without the folders of this machine."""
    return f"{given.name}: {path.relative_to(given.folder).as_posix()}"


def copied_files(given: Given | None, settings: Settings) -> list[tuple[str, str]]:
    """With ``--copy-derivatives`` what was reused, and where in the output it goes: under its own
    name, with its sidecar."""
    if given is None or not settings.copy_derivatives:
        return []
    files = [
        file
        for path in given.files
        for file in (path, path.with_name(f"{file_stem(path)}.json"))
        if file.is_file()
    ]
    return [
        (str(file), str(settings.output_dir / file.relative_to(given.folder))) for file in files
    ]


def closest(
    folder: Path, scan: Scan, settings: Settings, ending: str, kinds: tuple[str, ...], what: str
) -> Path | None:
    """The file of a name's ending that shares most entities with the scan, and has no other.

    Parameters
    ----------
    folder : Path
        Of a derivative dataset.
    scan : Scan
    settings : Settings
    ending : str
        From the first entity that the scan does not have, such as ``desc-brain_mask``.
    kinds : tuple of str
        Extensions.
    what : {"mask", "transform", "tissues"}
        Whose filters count.
    """
    own = set(source_entities(scan.path).split("_")) | set(ending.split("_")[:-1])
    found = [
        path
        for path in _candidates(folder, scan, ending)
        if path.name.endswith(kinds)
        and set(file_stem(path).split("_")[:-1]) <= own
        and allowed(path, settings, what)
    ]
    return max(found, key=lambda p: (len(source_entities(p)), str(p)), default=None)


def allowed(path: Path, settings: Settings, what: str) -> bool:
    """Whether ``--deriv-filter-file`` lets a file of that kind be used."""
    filters = settings.derivative_filters.get(what, {})
    return not filters or fits(filters, _entities(path))


def _entities(path: Path) -> dict[str, Any]:
    """Entities of a name under their short and their PyBIDS names, and its suffix."""
    *parts, suffix = file_stem(path).split("_")
    pairs = dict(part.split("-", 1) for part in parts if "-" in part)
    long = {_LONG_NAMES[key]: value for key, value in pairs.items() if key in _LONG_NAMES}
    return pairs | long | {"suffix": suffix}


def _candidates(folder: Path, scan: Scan, ending: str) -> Iterator[Path]:
    kind = "dwi" if scan.modality == "dwi" else "anat"
    subject = folder / f"sub-{scan.subject}"
    places = [subject / kind]
    if scan.session:
        places.append(subject / f"ses-{scan.session}" / kind)
    for place in places:
        yield from place.glob(f"sub-{scan.subject}*_{ending}.*")


def _transform(folder: Path, scan: Scan, settings: Settings, start: str, to: str) -> Path | None:
    ending = f"from-{start}_to-{to}_mode-image_xfm"
    return closest(folder, scan, settings, ending, _XFM_KINDS, "transform")


def _tissues(folder: Path, scan: Scan, settings: Settings, space: str) -> dict[str, Path]:
    prefix = "" if space == "T1w" else f"space-{space}_"
    found = {
        tissue: path
        for tissue in _TISSUES
        if (
            path := closest(
                folder, scan, settings, f"{prefix}label-{tissue}_probseg", (".nii.gz", ".nii"),
                "tissues",
            )
        )
    }  # fmt: skip
    return found if len(found) == len(_TISSUES) else {}
