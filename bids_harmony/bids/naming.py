"""Names of derivatives: the one place that knows how a file is called.

Source entities keep the order and spelling of the source's file name; what we add comes after
them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from bids_harmony.exceptions import UsageError
from bids_harmony.io.names import file_stem
from bids_harmony.sites.names import clean_name

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan

__all__ = [
    "bids_uri",
    "change_paths",
    "harmonized_description",
    "harmonized_path",
    "map_path",
    "mask_path",
    "person_mask_path",
    "raw_layout_path",
    "raw_layout_root",
    "report_path",
    "scans_table_path",
    "sidecar_path",
    "source_entities",
    "summary_path",
    "table_paths",
    "target_label",
    "transform_path",
]

# Entities that BIDS puts after "space".
_AFTER_SPACE = (
    "split-",
    "recording-",
    "chunk-",
    "atlas-",
    "seg-",
    "scale-",
    "res-",
    "den-",
    "label-",
    "desc-",
)


def source_entities(path: str | Path) -> str:
    """Entities as written, without suffix: ``sub-01_ses-A`` of ``sub-01_ses-A_T1w.nii.gz``."""
    return file_stem(path).rpartition("_")[0]


def target_label(site: str) -> str:
    """A site as a BIDS label: letters and digits only.

    Raises
    ------
    UsageError
        When nothing is left.

    Examples
    --------
    >>> target_label("site COI"), target_label("Philips-Achieva-1.5T"), target_label("Zürich")
    ('COI', 'PhilipsAchieva1p5T', 'Zurich')
    """
    plain = unicodedata.normalize("NFKD", clean_name(site))
    # "1.5T" and "15T" must stay apart.
    plain = re.sub(r"(?<=\d)\.(?=\d)", "p", plain)
    label = re.sub(r"[^0-9a-zA-Z]", "", plain)
    if not label:
        raise UsageError(
            "The site's name holds no letter or digit that a file name could carry",
            got=repr(site),
            hint="Give it a name in the letters A to Z with --site-map, and ask for that.",
        )
    return label


def harmonized_description(target: str) -> str:
    """The ``desc`` label of an image harmonized to a site, e.g. ``harmonizedCOI``."""
    return f"harmonized{target_label(target)}"


def harmonized_path(
    output_dir: Path, scan: Scan, target: str, *, space: str | None = None
) -> Path:
    """Where the harmonized image goes; ``space`` names a template grid, None is the scan's own."""
    return _derivative(
        output_dir, scan, f"desc-{harmonized_description(target)}_{scan.modality}.nii.gz", space
    )


def raw_layout_root(output_dir: Path, target: str) -> Path:
    """Root of the dataset that has the harmonized images under the names of their sources.

    Below ``derivatives``, where validators and PyBIDS look for nested datasets only when told to;
    names of raw files do not tell the target, so each target has a dataset of its own.
    """
    return Path(output_dir) / "derivatives" / harmonized_description(target)


def raw_layout_path(output_dir: Path, scan: Scan, target: str, bids_dir: Path) -> Path:
    """Where the harmonized image goes under its source's name; it is always compressed."""
    folder = Path(os.path.abspath(scan.path)).relative_to(os.path.abspath(bids_dir)).parent
    return raw_layout_root(output_dir, target) / folder / f"{file_stem(scan.path)}.nii.gz"


def mask_path(output_dir: Path, scan: Scan) -> Path:
    """Where the brain mask goes.

    BIDS gives a mask no entity for the image it was drawn on, and images of one session on
    different grids would take the same name; so masks of anything but T1w carry the modality in
    their ``desc``. That of a diffusion series lies in another folder and needs none.
    """
    kind = "" if scan.modality in ("T1w", "dwi") else scan.modality
    return _derivative(output_dir, scan, f"desc-brain{kind}_mask.nii.gz", None)


def person_mask_path(output_dir: Path, scan: Scan, *, space: str) -> Path:
    """Where the brain mask goes that sessions of a person share, on the grid of a template."""
    kind = "" if scan.modality == "T1w" else scan.modality
    name = f"sub-{scan.subject}_space-{space}_desc-brain{kind}_mask.nii.gz"
    return Path(output_dir) / f"sub-{scan.subject}" / "anat" / name


def map_path(output_dir: Path, scan: Scan, parameter: str, *, target: str | None = None) -> Path:
    """Where a map of a diffusion model goes, fitted to the source or to a harmonized series.

    Names are those of a draft (BIDS extension proposal 16).

    Parameters
    ----------
    output_dir : Path
    scan : Scan
        The source series.
    parameter : str
        A key of `diffusion.maps.MAPS`.
    target : str, optional
        Site that the series was harmonized to; None for the source.
    """
    from bids_harmony.diffusion.maps import MAPS

    label = "source" if target is None else harmonized_description(target)
    ending = f"model-{MAPS[parameter].model}_param-{parameter}_desc-{label}_dwimap.nii.gz"
    return _derivative(output_dir, scan, ending, None)


def change_paths(image: Path) -> dict[str, Path]:
    """Where the change of a harmonized image goes: beside it, by what it shows.

    ``change``, ``fieldout`` and ``fieldin`` are images, ``curves`` is a table. Of diffusion series
    ``change`` are maps of factors, and ``orders`` is a table.
    """
    paths = {}
    series = file_stem(image).endswith("_dwi")
    for kind in ("change", "orders") if series else ("change", "fieldout", "fieldin", "curves"):
        stem = re.sub(
            r"harmonized(?=[0-9a-zA-Z]*_[^_]+$)",
            lambda m, kind=kind: kind.capitalize() if m[0].istitle() else kind,  # type: ignore[misc]
            file_stem(image),
            count=1,
            flags=re.IGNORECASE,
        )
        # Maps are no series: tables of gradients do not belong to them.
        ending = "map.nii.gz" if series and kind == "change" else ".nii.gz"
        paths[kind] = image.with_name(stem + (".tsv" if kind in ("curves", "orders") else ending))
    return paths


def transform_path(output_dir: Path, scan: Scan, *, to: str) -> Path:
    """Where the transform from the scan to a template (or to another modality) goes."""
    return _derivative(output_dir, scan, f"from-{scan.modality}_to-{to}_mode-image_xfm.txt", None)


def sidecar_path(path: Path) -> Path:
    """The JSON file beside an image, a transform or a table."""
    return path.with_name(file_stem(path) + ".json")


def table_paths(image: Path) -> tuple[Path, Path]:
    """Where b-values and directions of a diffusion series go: beside it, named alike."""
    bval, bvec = (image.with_name(f"{file_stem(image)}.{kind}") for kind in ("bval", "bvec"))
    return bval, bvec


def summary_path(image: Path) -> Path:
    """Where the summary of a harmonized image goes: ``sub-X/summaries/``, named as the image."""
    unit = image.parent.parent
    subject = unit.parent if unit.name.startswith("ses-") else unit
    return subject / "summaries" / f"{file_stem(image)}.npz"


def scans_table_path(output_dir: Path, subject: str, session: str | None) -> Path:
    """``sub-X[_ses-Y]_scans.tsv`` in the folder of its session or subject."""
    return _unit_folder(output_dir, subject, session) / f"{_unit(subject, session)}_scans.tsv"


def report_path(
    output_dir: Path, subject: str, session: str | None, *, level: str = "root"
) -> Path:
    """``sub-X[_ses-Y].html`` at the root of the derivative, or in the subject's or session's
    folder."""
    folder = Path(output_dir)
    if level != "root":
        folder = _unit_folder(folder, subject, session if level == "session" else None)
    return folder / f"{_unit(subject, session)}.html"


def bids_uri(path: Path, root: Path, dataset: str = "raw") -> str:
    """A BIDS URI such as ``bids:raw:sub-01/anat/sub-01_T1w.nii.gz``.

    An empty dataset name means "the dataset that this is written in". Symbolic links are not
    followed: the name is what BIDS knows.

    Raises
    ------
    ValueError
        When the file does not lie under the root.
    """
    relative = Path(os.path.abspath(path)).relative_to(os.path.abspath(root))
    return f"bids:{dataset}:{relative.as_posix()}"


def _derivative(output_dir: Path, scan: Scan, ending: str, space: str | None) -> Path:
    parts = source_entities(scan.path).split("_")
    # A name has one ``desc`` and one ``space``: ours take the place of a preprocessed source's.
    described = next((p.removeprefix("desc-") for p in parts if p.startswith("desc-")), "")
    if described == "preproc" or "desc-" in ending:
        parts = [part for part in parts if not part.startswith("desc-")]
        if described not in ("", "preproc"):
            # Two series that only ``desc`` tells apart stay apart.
            ending = re.sub(r"desc-(\w)", lambda m: f"desc-{described}{m[1].upper()}", ending)
    if space:
        parts = [part for part in parts if not part.startswith("space-")]
        late = (i for i, part in enumerate(parts) if part.startswith(_AFTER_SPACE))
        parts.insert(next(late, len(parts)), f"space-{space}")
    datatype = scan.entities.get("datatype", "anat")
    return (
        _unit_folder(output_dir, scan.subject, scan.session)
        / datatype
        / "_".join([*parts, ending])
    )


def _unit(subject: str, session: str | None) -> str:
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")


def _unit_folder(output_dir: Path, subject: str, session: str | None) -> Path:
    folder = Path(output_dir) / f"sub-{subject}"
    return folder / f"ses-{session}" if session else folder
