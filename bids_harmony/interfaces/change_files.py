"""The change of a scan as files: made by the node that harmonizes, written beside the image."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bids_harmony.api.apply import Outcome
    from bids_harmony.bids.scan import Scan
    from bids_harmony.imaging.prepared import Prepared
    from bids_harmony.imaging.volume import Volume
    from bids_harmony.methods.tissue_form import TissueMap
    from bids_harmony.settings import Settings

__all__ = ["FIELDS", "make_change", "remove_change", "write_change"]

FIELDS = {
    "fieldout": "Smooth field by which the closed form divided the source, no unit, to 0.001",
    "fieldin": "Smooth field by which the closed form multiplied its result, no unit, to 0.001",
}
_FORMULA = (
    "harmonized = source + change. The closed form alone: source + ClosedFormShare * (fieldin * "
    "m(source / fieldout) - source), m through the points of the curves; what the change has "
    "besides is the network's, or a blur"
)
_COLUMNS = {
    "tissue": "gray matter, white matter, CSF, or brain for all voxels of the brain mask",
    "quantile": "Of the intensities of that tissue in the scan, 0 to 1",
    "source": "Intensity of the scan without the field that goes out, in its unit",
    "target": "Where the closed form maps it, before the field that comes in, in the same unit",
    "standard_error": "Of target, by what is known of both sites, relative to white matter, which "
    "has none by definition; n/a where that leaves it open, and for the brain",
}


def make_change(
    folder: Path,
    volume: Volume,
    image: Any,
    prepared: Prepared,
    outcome: Outcome,
    tissue_map: TissueMap | None,
    modality: str,
) -> dict[str, str]:
    """Make the files in a node's folder.

    Parameters
    ----------
    folder : Path
    volume : Volume
        The scan.
    image : nibabel image
        The harmonized scan as it is stored.
    prepared : Prepared
    outcome : Outcome
    tissue_map : TissueMap or None
        None where the method has no fields and curves.
    modality : str

    Returns
    -------
    dict of str to str
        Files by kind: ``change``, ``record``, and the two of `FIELDS` where there are any.
    """
    from bids_harmony.imaging.resampling import resample_from_grid
    from bids_harmony.imaging.volume import to_native, write_image
    from bids_harmony.methods.change_parts import change_parts

    files = {"change": folder / "change.nii.gz", "record": folder / "change.json"}
    # Of what is stored: rounding and clipping are in it, so that it undoes them, too.
    before, after = (np.asanyarray(own.dataobj, np.float64) for own in (volume.source, image))
    header = volume.source.header.copy()
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1, 0)
    change = np.nan_to_num(after - before).astype(np.float32)
    write_image(type(image)(change, image.affine, header), files["change"], like=volume)
    record: dict[str, Any] = {"code": _code(prepared, modality)}
    if tissue_map is not None:
        parts = change_parts(prepared, tissue_map, left=bool(outcome.left))
        record |= {
            "share": parts.share,
            "blur": [round(float(value), 6) for value in parts.blur],
            "curves": [asdict(point) for point in parts.curves],
        }
        for kind, log in zip(FIELDS, (parts.log_field_out, parts.log_field_in), strict=True):
            native = resample_from_grid(
                log, prepared.grid, prepared.world, volume.affine, volume.data.shape[:3]
            )
            # Steps of a thousandth, below what curves are known by, pack three times as well.
            field, _ = to_native(volume, np.exp(native).round(3), float_output=True)
            files[kind] = folder / f"{kind}.nii.gz"
            write_image(field, files[kind], like=volume)
    files["record"].write_text(json.dumps(record) + "\n")
    return {kind: str(path) for kind, path in files.items()}


def _code(prepared: Prepared, modality: str) -> list[float] | None:
    """The scan's code along the main directions of training, of the shipped model."""
    from bids_harmony.methods.profile_encoder import encoder_and_cells
    from bids_harmony.model.shipped import SHIPPED_MODEL
    from bids_harmony.sites.training_range import read_ranges, scan_code

    ranges = read_ranges(SHIPPED_MODEL)
    if modality not in ranges:
        return None
    encoder, _ = encoder_and_cells()
    code = scan_code(prepared.data, prepared.mask, prepared.grid.voxel_mm, encoder)
    return [float(f"{value:.6g}") for value in ranges[modality].components(code)]


def write_change(
    files: dict[str, str], image: Path, scan: Scan, settings: Settings, *, resume_hash: str,
    skull_stripped: bool,
) -> None:  # fmt: skip
    """Copy the files of `make_change` beside the harmonized image, and add the code to its table.

    Parameters
    ----------
    files : dict of str to str
    image : Path
        Where the harmonized image goes.
    scan : Scan
    settings : Settings
    resume_hash : str
        Of the harmonized image, for the sidecars.
    skull_stripped : bool
        Whether that image is.
    """
    from bids_harmony.bids.derivative import write_bytes, write_json, write_text
    from bids_harmony.bids.naming import bids_uri, change_paths, sidecar_path
    from bids_harmony.bids.sidecar import derived_sidecar

    record = json.loads(Path(files["record"]).read_text())
    paths = change_paths(image)
    sources = [bids_uri(image, settings.output_dir, "")]

    def describe(kind: str, told: dict[str, Any]) -> None:
        sidecar = derived_sidecar(
            scan, settings.bids_dir, resume_hash=resume_hash, sources=sources, extra=told
        )
        write_json(sidecar_path(paths[kind]), sidecar)

    _add_code(record["code"], image, scan, settings)
    stripped = {"SkullStripped": skull_stripped}
    if "curves" in record:
        for kind, text in FIELDS.items():
            write_bytes(paths[kind], Path(files[kind]).read_bytes())
            describe(kind, {"Description": text, **stripped})
        write_text(paths["curves"], _table(record["curves"]))
        columns = {name: {"Description": text} for name, text in _COLUMNS.items()}
        write_json(sidecar_path(paths["curves"]), columns)
    write_bytes(paths["change"], Path(files["change"]).read_bytes())
    told = {
        "Description": "Harmonized image less its source, in the unit of the source",
        **stripped,
        "Formula": _FORMULA,
    }
    if "curves" in record:
        told |= {"ClosedFormShare": record["share"], "AddedBlurVariance": record["blur"]}
    # Last: it says that all of them are there.
    describe("change", told)


def remove_change(image: Path) -> None:
    """Remove what an earlier run left: it does not belong to the image that is made now."""
    from bids_harmony.bids.naming import change_paths, sidecar_path

    for path in change_paths(image).values():
        for file in (sidecar_path(path), path):
            file.unlink(missing_ok=True)


def _table(points: list[dict[str, Any]]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.8g}" if np.isfinite(value) else "n/a"
        return str(value)

    rows = ["\t".join(_COLUMNS), *("\t".join(cell(p[n]) for n in _COLUMNS) for p in points)]
    return "\n".join(rows) + "\n"


def _add_code(code: list[float] | None, image: Path, scan: Scan, settings: Settings) -> None:
    """One row of a table for all scans of a modality: covariates for whoever models scanners."""
    from bids_harmony.bids.derivative import LOCK, merge_table, write_json

    if code is None:
        return
    table = settings.output_dir / f"codes_{scan.modality}.tsv"
    row: dict[str, Any] = {
        "source_file": scan.path.relative_to(settings.bids_dir).as_posix(),
        "participant_id": f"sub-{scan.subject}",
        "session_id": f"ses-{scan.session}" if scan.session else None,
        "site": scan.site.site,
    }
    row |= {f"code_{number:02d}": value for number, value in enumerate(code, 1)}
    merge_table(table, [row], key="source_file", lock=settings.output_dir / LOCK)
    described = {
        "source_file": "The scan, relative to the root of its dataset",
        "participant_id": "Whose scan it is",
        "session_id": "Of which session",
        "site": "Where it was acquired",
    } | {
        f"code_{number:02d}": "Standard score of the scan's code, before harmonization, along "
        f"main direction {number} of the shipped model's training scans"
        for number in range(1, len(code) + 1)
    }
    write_json(
        table.with_suffix(".json"), {n: {"Description": text} for n, text in described.items()}
    )
