"""The harmonized images once more, as a raw dataset: for apps that know raw names only.

fMRIPrep, QSIPrep and the FreeSurfer app look for ``sub-01_T1w.nii.gz``, not for
``sub-01_desc-harmonizedCOI_T1w.nii.gz``. Here each image has its source's name, all metadata that
the source inherited, its b-values and directions, and its rows of the tables.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.carried import acquisition_fields, holds_in_json, may_be_carried
from bids_harmony.bids.dataset_files import (
    BIDS_VERSION,
    generated_by,
    source_datasets,
    source_link,
)
from bids_harmony.bids.derivative import (
    LOCK,
    link_file,
    merge_table,
    write_bytes,
    write_json,
    write_text,
)
from bids_harmony.bids.inventory import check_dataset, read_json_object
from bids_harmony.bids.naming import (
    bids_uri,
    harmonized_path,
    raw_layout_path,
    raw_layout_root,
    sidecar_path,
    table_paths,
)
from bids_harmony.bids.table import read_tsv, scans_tables, sessions_tables
from bids_harmony.exceptions import UsageError
from bids_harmony.io.pointers import is_named
from bids_harmony.io.reading import MOST_TEXT, read_bytes
from bids_harmony.settings import Settings

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan

__all__ = ["check_raw_layout", "raw_sidecar", "write_raw_layout"]

logger = logging.getLogger(__name__)

# Of the sidecar in the derivative; `Sources` leads there to the rest.
_TOLD = ("SkullStripped", "HarmonizationMethod", "HarmonizationTarget", "HarmonizationSource")
# To other raw files, which have the same names here.
_LINKED = ("B0FieldIdentifier", "B0FieldSource", "IntendedFor")
# Of the source's description, what is as true of the harmonized images. Its DOI is not.
_DESCRIPTION_KEPT = (
    "License", "Authors", "Acknowledgements", "HowToAcknowledge", "Funding", "EthicsApprovals",
    "ReferencesAndLinks",
)  # fmt: skip

_README = """\
# Harmonized brain images under the names of their sources

**These images are not as they were acquired.** bids_harmony {version} made the scans of the
dataset "{name}" look as if site {target} had made them. Folders, names and metadata are those of
the source, so that programs which read raw BIDS datasets (fMRIPrep, QSIPrep, FreeSurfer) take this
one as it is.

`HarmonizationTarget`, `HarmonizationMethod` and `HarmonizationSource` in each sidecar tell what
was done; all other fields describe the acquisition, as `Manufacturer` does. `Sources` names the
source and the same image in the derivative, whose sidecar has model, seed and quality numbers.
Scans that could not be harmonized are missing, and so is what never is (`func`, `fmap`).

Images may share their content with those of the derivative (hard links): do not edit them here.
"""


def check_raw_layout(settings: Settings) -> None:
    """Check that the input has raw names to go back to, where ``--output-layout raw`` is asked.

    Raises
    ------
    UsageError
        When the input is itself a derivative.
    NotBidsError, DataError
        See `inventory.check_dataset`.
    """
    if settings.output_layout != "raw":
        return
    if check_dataset(settings.bids_dir).get("DatasetType") == "derivative":
        raise UsageError(
            "A derivative cannot be laid out as a raw dataset",
            where="--output-layout",
            expected="a raw dataset as input",
            got=f"DatasetType derivative in {settings.bids_dir / 'dataset_description.json'}",
            hint="Leave the option out; the images are those with desc-harmonized.",
        )


def write_raw_layout(settings: Settings, scans: Sequence[Scan], target: str) -> Path:
    """Write or complete the raw dataset of a target site from what lies in the derivative.

    Every file is written atomically and only when it changes, so that any number of jobs may call
    this at once, and again.

    Parameters
    ----------
    settings : Settings
    scans : sequence of Scan
        Sources whose harmonized images are in the derivative.
    target : str
        Site to which they were harmonized.

    Returns
    -------
    Path
        Root of the dataset.
    """
    root = raw_layout_root(settings.output_dir, target)
    _write_dataset_files(settings, root, target)
    for scan in scans:
        image = harmonized_path(settings.output_dir, scan, target)
        copy = raw_layout_path(settings.output_dir, scan, target, settings.bids_dir)
        link_file(image, copy)
        if scan.gradients:
            for source, table in zip(scan.gradients, table_paths(copy), strict=True):
                _copy(source, table)
        made = read_json_object(sidecar_path(image))
        sources = [
            bids_uri(scan.path, settings.bids_dir),
            bids_uri(image, settings.output_dir, "harmonized"),
        ]
        write_json(sidecar_path(copy), raw_sidecar(scan.metadata, made, sources))
    _copy_tables(settings, root, scans, target)
    return root


def raw_sidecar(
    acquired: Mapping[str, Any], made: Mapping[str, Any], sources: Sequence[str]
) -> dict[str, Any]:
    """The sidecar of a harmonized image under its source's name.

    Parameters
    ----------
    acquired : mapping
        Metadata of the source after inheritance; what tells how it was acquired is kept, also what
        refers to other raw files (``B0FieldSource``, ``IntendedFor``), for these have the same
        names here.
    made : mapping
        Sidecar of the harmonized image in the derivative.
    sources : sequence of str
        BIDS URIs of the source and of the image in the derivative.
    """
    told = {field: made[field] for field in _TOLD if field in made}
    linked = {k: acquired[k] for k in _LINKED if k in acquired and holds_in_json(acquired[k])}
    return {**acquisition_fields(acquired), **linked, **told, "Sources": list(sources)}


def _write_dataset_files(settings: Settings, root: Path, target: str) -> None:
    from bids_harmony import __version__

    source = check_dataset(settings.bids_dir)
    name = str(source.get("Name", settings.bids_dir.name))
    link = source_link(settings.bids_dir, root)
    kept = {field: value for field, value in source.items() if holds_in_json(value)}
    before = kept.get("GeneratedBy")
    record: dict[str, Any] = {
        "Name": f"{name}, images harmonized to {target} by bids_harmony",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        **{field: kept[field] for field in _DESCRIPTION_KEPT if kept.get(field)},
        "GeneratedBy": [*(before if isinstance(before, list) else []), generated_by()],
        **source_datasets(kept),
        "DatasetLinks": {
            "raw": link,
            "harmonized": Path(os.path.relpath(settings.output_dir, root)).as_posix(),
        },
    }
    write_json(root / "dataset_description.json", record)
    readme = _README.format(version=__version__, name=name, target=target)
    write_text(root / "README.md", readme)


def _copy_tables(settings: Settings, root: Path, scans: Sequence[Scan], target: str) -> None:
    """Rows of the source's tables that speak of these scans; rows of other jobs stay."""
    bids_dir = settings.bids_dir
    # Texts of columns for all tables of a kind.
    for name, key in (("sessions.json", "session_id"), ("scans.json", "filename")):
        _copy_texts(bids_dir / name, root / name, key)
    subjects = sorted({scan.subject for scan in scans})
    people = {f"sub-{subject}": f"sub-{subject}" for subject in subjects}
    _copy_rows(
        bids_dir / "participants.tsv",
        root / "participants.tsv",
        people,
        "participant_id",
        settings.output_dir / LOCK,
    )
    for subject in subjects:
        own = [scan for scan in scans if scan.subject == subject]
        sessions = {f"ses-{scan.session}": f"ses-{scan.session}" for scan in own if scan.session}
        folder = bids_dir / f"sub-{subject}"
        for table in sessions_tables(folder):
            _copy_rows(
                table,
                root / table.relative_to(bids_dir),
                sessions,
                "session_id",
                settings.output_dir / LOCK,
            )
        for table in scans_tables(folder):
            copy = root / table.relative_to(bids_dir)
            images = {
                scan.path.relative_to(table.parent).as_posix(): raw_layout_path(
                    settings.output_dir, scan, target, bids_dir
                )
                .relative_to(copy.parent)
                .as_posix()
                for scan in own
                if table.parent in scan.path.parents
            }
            _copy_rows(table, copy, images, "filename", settings.output_dir / LOCK)


def _copy_rows(table: Path, copy: Path, wanted: Mapping[str, str], key: str, lock: Path) -> None:
    """Rows whose key is wanted, under the name that it has in the copy, and the columns' texts."""
    if not is_named(table):
        return
    found = [row for row in read_tsv(table) if row.get(key) in wanted]
    if not found:
        return
    if left_out := [name for name in found[0] if not may_be_carried(name, key)]:
        # Who scanned when, names, dates of birth: nobody can foresee what a column tells.
        logger.info("%s: columns that are not copied: %s", table, ", ".join(left_out))
    rows = [
        {name: cell for name, cell in row.items() if may_be_carried(name, key)}
        | {key: wanted[row[key]]}
        for row in found
    ]
    merge_table(copy, rows, key=key, lock=lock)
    _copy_texts(table.with_suffix(".json"), copy.with_suffix(".json"), key)


def _copy_texts(source: Path, copy: Path, key: str) -> None:
    """What is said of those columns that are copied."""
    if not is_named(source):
        return
    texts = read_json_object(source)
    if kept := {n: t for n, t in texts.items() if may_be_carried(n, key) and holds_in_json(t)}:
        write_json(copy, kept)


def _copy(source: Path, copy: Path) -> None:
    write_bytes(copy, read_bytes(source, most=MOST_TEXT))
