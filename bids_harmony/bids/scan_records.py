"""What runs left on disk about one participant or session, read for its page.

Nothing but the output folder is read: sidecars, figures and ``logs``. So a page can be made again
at any time, on another machine and without the raw data.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_harmony.bids.naming import scans_table_path, sidecar_path
from bids_harmony.bids.run_records import RunRecord, Unit, unit_of
from bids_harmony.io.names import file_stem
from bids_harmony.io.reading import object_or_empty
from bids_harmony.sites.names import same_site

__all__ = [
    "ScanRecord",
    "file_of",
    "find_units",
    "part",
    "read_descriptions",
    "read_scans",
    "sources_of",
]

# The source may have had a description of its own, which stands before ours.
_OUR_NAME = re.compile(r"_desc-[0-9a-zA-Z]*harmonized[0-9a-zA-Z]*_(?!dwimap)", re.IGNORECASE)
# With the resolution of a template.
_SPACE = re.compile(r"_space-([0-9a-zA-Z+]+(?:_res-[0-9]+)?)")
#: Fields that every harmonized image has in its sidecar, and nothing else.
_OURS = {"HarmonizationMethod", "HarmonizationTarget"}


@dataclass(frozen=True)
class ScanRecord:
    """One harmonized image.

    Attributes
    ----------
    label : str
        Of the source: ``sub-01_T1w``.
    image : Path
        On the scan's own grid.
    sidecar, mask, transform : mapping
        Contents of the JSON files of the image, its brain mask and its transform.
    pictures : mapping
        By kind (``before``, ``after``, ...) those in ``figures``; ``figure`` is the whole.
    others : tuple of Path
        The same image on other grids.
    run : RunRecord, optional
        The newest run that made it.
    """

    label: str
    image: Path
    sidecar: Mapping[str, Any]
    mask: Mapping[str, Any] = field(default_factory=dict)
    transform: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)
    others: tuple[Path, ...] = ()
    run: RunRecord | None = None

    @property
    def modality(self) -> str:
        """Suffix of the image, such as T1w."""
        return file_stem(self.image).rpartition("_")[2]

    @property
    def source(self) -> Mapping[str, Any]:
        """What the sidecar says of where the scan comes from."""
        return part(self.sidecar, "HarmonizationSource")

    @property
    def same_site(self) -> bool:
        """Whether the scan comes from the target site."""
        return part(self.sidecar, "HarmonizationQuality").get("same_site") is True


def part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field of a JSON file that should be an object; empty where it is not."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def find_units(
    output_dir: Path,
    runs: Iterable[RunRecord],
    subjects: Collection[str] = (),
    sessions: Collection[str] = (),
) -> list[Unit]:
    """Participants and sessions of which there is anything to show, sorted.

    Parameters
    ----------
    output_dir : Path
    runs : iterable of RunRecord
    subjects, sessions : collection of str
        Labels without prefix; empty means all.
    """
    folders = [f"sub-{label}" for label in subjects] or ["sub-*"]
    sidecars = [
        path for folder in folders for path in Path(output_dir).glob(f"{folder}/**/*.json")
    ]
    labels = [path.name for path in sidecars if _OUR_NAME.search(path.name)]
    labels += [label for run in runs for label in run.scans]
    units = {unit for label in labels if (unit := unit_of(label)) is not None}
    return sorted(
        (
            unit
            for unit in units
            if (not subjects or unit.subject in subjects)
            and (not sessions or unit.session in sessions)
        ),
        key=lambda unit: (unit.subject, unit.session or ""),
    )


def read_scans(output_dir: Path, unit: Unit, runs: Iterable[RunRecord]) -> list[ScanRecord]:
    """Harmonized images of a unit, sorted by name."""
    output_dir, runs = Path(output_dir), list(runs)
    folder = output_dir / f"sub-{unit.subject}" / (f"ses-{unit.session}" if unit.session else "")
    figures = output_dir / f"sub-{unit.subject}" / "figures"
    images: dict[Path, dict[str, Any]] = {}
    for path in sorted(folder.glob(f"*/{unit.label}_*.json")):
        record = object_or_empty(path)
        if _OURS <= set(record) and _OUR_NAME.search(path.name):
            images[path] = record
    # A copy on another grid has another "space" than its source, which may have one, too.
    plain = {path: _without_space(path) for path in images}
    own = {plain[path]: path for path, record in images.items() if _in_own_space(path, record)}
    scans = []
    for path, record in images.items():
        if own.get(plain[path], path) != path:
            continue
        sources = sources_of(record)
        label = _label_of_source(path, record)
        mask = next((uri for uri in sources[1:] if "_mask." in uri), None)
        xfm = next((uri for uri in sources[1:] if "_xfm." in uri), None)
        scans.append(
            ScanRecord(
                label,
                path.with_name(f"{file_stem(path)}.nii.gz"),
                record,
                _beside(output_dir, mask),
                _beside(output_dir, xfm),
                _pictures(figures, file_stem(path)),
                tuple(
                    other.with_name(f"{file_stem(other)}.nii.gz")
                    for other in images
                    if own.get(plain[other]) == path != other
                ),
                _made_by(label, str(record["HarmonizationTarget"]), runs),
            )
        )
    return scans


def sources_of(sidecar: Mapping[str, Any]) -> list[str]:
    """BIDS URIs of what an image was made from, the scan first."""
    sources = sidecar.get("Sources")
    return [str(uri) for uri in sources] if isinstance(sources, list) else []


def file_of(uri: str, folder: Path) -> Path | None:
    """File of a BIDS URI in the dataset it speaks of; None where it leads out of it."""
    name = Path(uri.removeprefix("bids:").partition(":")[2])
    return None if name.is_absolute() or ".." in name.parts else folder / name


def _made_by(label: str, target: str, runs: list[RunRecord]) -> RunRecord | None:
    """The newest run that made the image. One that was killed before it could say so is stood for
    by one that found the image made with the same settings."""
    for state in ("done", "skipped"):
        for run in reversed(runs):
            asked, status = run.settings.get("target_site"), run.scans.get(label, {})
            if (
                status.get("state") == state
                and not status.get("error")
                and (not asked or same_site(str(asked), target))
            ):
                return run
    return None


def read_descriptions(output_dir: Path, unit: Unit) -> dict[str, Any]:
    """Descriptions of the columns of the unit's ``scans.tsv``."""
    table = scans_table_path(output_dir, unit.subject, unit.session)
    return object_or_empty(table.with_suffix(".json"))


def _pictures(figures: Path, stem: str) -> dict[str, Path]:
    if stem.endswith("_dwi"):
        # Whatever there is of a series: signal, maps, distributions.
        entities = stem.partition("_desc-")[0]
        return {p.stem: p for p in sorted(figures.glob(f"{entities}_desc-*_dwi*.png"))}
    found = {p.stem.removeprefix(f"{stem}_"): p for p in sorted(figures.glob(f"{stem}_*.png"))}
    whole = figures / f"{stem}.png"
    return found | ({"figure": whole} if whole.is_file() else {})


def _beside(output_dir: Path, uri: str | None) -> dict[str, Any]:
    """Sidecar of a file of this derivative, named by its BIDS URI."""
    if not uri or not uri.startswith("bids::"):
        return {}
    file = file_of(uri, output_dir)
    return object_or_empty(sidecar_path(file)) if file else {}


def _label_of_source(path: Path, record: Mapping[str, Any]) -> str:
    sources = sources_of(record)
    return file_stem(sources[0].rpartition("/")[2]) if sources else file_stem(path)


def _in_own_space(path: Path, record: Mapping[str, Any]) -> bool:
    of_source = _SPACE.search(_label_of_source(path, record))
    here = _SPACE.search(path.name)
    return (here and here[1]) == (of_source and of_source[1])


def _without_space(path: Path) -> Path:
    return path.with_name(_SPACE.sub("", path.name))
