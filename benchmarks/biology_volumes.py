"""Volumes and cortical contrast of the biology benchmark by a segmentation that is not ours.

N4 and Atropos of ANTs with the template's tissue maps as priors, as in its cortical-thickness
pipeline (Avants et al. 2011, Neuroinformatics 9:381; Tustison et al. 2014, NeuroImage 99:166).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from biology_apply import for_each_person, part_folder
from biology_people import Person, read_person
from scipy.ndimage import find_objects

from bids_harmony.imaging.linear import deterministic_ants
from bids_harmony.imaging.reference import reference_tissues
from bids_harmony.io.atomic import write_atomically

__all__ = ["MODALITY", "segment_parts", "segmented_rows"]

Array = np.ndarray

#: Volumes are taken from T1w images, as studies do.
MODALITY = "T1w"
_SETTINGS: dict[str, Any] = {
    "n4": {"shrink_factor": 3, "convergence": {"iters": [20, 20, 10], "tol": 1e-6}},
    "atropos": {"m": "[0.1,1x1x1]", "c": "[5,0]", "priorweight": 0.1},
}
#: Order of Atropos's classes; ours is grey matter, white matter, CSF.
_ORDER = (2, 0, 1)


def segment_parts(folder: Path, label: str, names: Sequence[str], workers: int) -> None:
    """Segment the kept images of a method, person by person, where it is not done."""
    tasks = [(folder, label, name) for name in names if not _done(folder, label, name)]
    for_each_person(_segment, tasks, workers, f"volumes {label}")


def segmented_rows(folder: Path, label: str) -> list[dict[str, Any]]:
    """Kept volumes of a method, one row a scan."""
    files = sorted(part_folder(folder, label).glob("volumes-*.json"))
    return [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]


def _key(folder: Path, label: str, name: str) -> str | None:
    about = part_folder(folder, label) / f"{MODALITY}-{name}.json"
    if not about.is_file():
        return None
    made = json.loads(about.read_text(encoding="utf-8"))["key"]
    return hashlib.sha256(f"{made} {json.dumps(_SETTINGS)}".encode()).hexdigest()[:16]


def _file(folder: Path, label: str, name: str) -> Path:
    return part_folder(folder, label) / f"volumes-{name}.json"


def _done(folder: Path, label: str, name: str) -> bool:
    key, file = _key(folder, label, name), _file(folder, label, name)
    # Nothing to segment is done, too.
    return key is None or (file.is_file() and json.loads(file.read_text())["key"] == key)


def _segment(task: tuple[Path, str, str]) -> None:
    folder, label, name = task
    person = read_person(folder, name)
    rows = []
    with np.load(part_folder(folder, label) / f"{MODALITY}-{name}.npz") as kept:
        for site in kept.files:
            data = person.volume(kept[site].astype(np.float32))
            rows.append({"person": name, "site": site, **volumes(person, data)})
    record = {"key": _key(folder, label, name), "rows": rows}
    write_atomically(_file(folder, label, name), (json.dumps(record) + "\n").encode())


@cache
def _priors(person_grid: Any) -> Array:
    return reference_tissues(person_grid)


def volumes(person: Person, data: Array) -> dict[str, float]:
    """Segment one image.

    Returns
    -------
    dict
        ``grey_ml``, ``white_ml``, ``csf_ml``; ``contrast``: log of the mean of the image in the
        grey class over that in the white one.
    """
    ants = deterministic_ants()
    step = person.grid.voxel_mm
    # What lies round the brain takes time and no part.
    (box,) = find_objects(person.mask.astype(np.int8))

    def image(values: Array) -> Any:
        part = np.ascontiguousarray(values[box], dtype=np.float32)
        return ants.from_numpy(part, spacing=(step,) * 3)

    priors = _priors(person.grid)
    mask = image(person.mask)
    even = ants.n4_bias_field_correction(image(data), mask=mask, **_SETTINGS["n4"])
    found = ants.atropos(
        a=even, x=mask, i=[image(priors[k]) for k in _ORDER], **_SETTINGS["atropos"]
    )
    shares = [p.numpy() for p in found["probabilityimages"]]
    csf, grey, white = (float(s.sum(dtype=np.float64)) * step**3 / 1000 for s in shares)
    labels, flat = found["segmentation"].numpy(), even.numpy()
    contrast = float(np.log(flat[labels == 2].mean() / flat[labels == 3].mean()))
    return {"grey_ml": grey, "white_ml": white, "csf_ml": csf, "contrast": contrast}
