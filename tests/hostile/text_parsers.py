"""Readers of a dataset's and a user's JSON, TSV, TOML and YAML."""

from __future__ import annotations

import json
import math
from pathlib import Path

from tests.hostile.parser import JSON_WORDS, Parser, as_json

__all__ = ["PARSERS"]


_SIDECAR = {
    "Manufacturer": "SIEMENS",
    "ManufacturersModelName": "MAGNETOM Prisma_fit",
    "MagneticFieldStrength": 2.89,
    "InstitutionName": "COI",
    "EchoTime": 0.003,
    "ImageType": ["ORIGINAL", "PRIMARY"],
}


def _read_sidecar(path: Path) -> object:
    """As far as the output's sidecar, without asking PyBIDS."""
    from bids_harmony.bids.census import Image
    from bids_harmony.bids.derivative import write_json
    from bids_harmony.bids.inventory import read_json_object
    from bids_harmony.bids.naming import harmonized_path
    from bids_harmony.bids.raw_layout import raw_sidecar
    from bids_harmony.bids.scan import Scan
    from bids_harmony.bids.sidecar import harmonized_sidecar
    from bids_harmony.bids.site import resolve_sites
    from bids_harmony.bids.site_tables import SiteTables
    from bids_harmony.exceptions import SiteError, UsageError

    metadata = read_json_object(path)
    image, out = path.with_name("sub-1_T1w.nii.gz"), path.parent / "out"
    try:
        images = {image.name: Image("1", None, metadata)}
        site = resolve_sites(images, SiteTables()).of(image.name)
    except SiteError:
        return None
    scan = Scan(image, {"subject": "1", "datatype": "anat"}, "T1w", metadata, site)
    record = harmonized_sidecar(
        scan, path.parent, target=site.site, method="ihf", resume_hash="0", skull_stripped=False
    )
    write_json(path.with_name("written.json"), record)
    write_json(path.with_name("raw.json"), raw_sidecar(metadata, record, ["bids:raw:x"]))
    try:
        target = harmonized_path(out, scan, site.site)
    except UsageError:
        return None
    assert target.parent == out / "sub-1" / "anat" and ".." not in target.parts
    return json.loads(path.with_name("written.json").read_text(encoding="utf-8"))


def _read_table(path: Path) -> object:
    from bids_harmony.bids.table import read_tsv

    return read_tsv(path)


def _read_people(path: Path) -> object:
    """As far as the group's table, and the rows of the raw layout."""
    from bids_harmony.bids.derivative import merge_table
    from bids_harmony.bids.scan_records import ScanRecord
    from bids_harmony.bids.table import read_tsv
    from bids_harmony.group.covariates import read_covariates
    from bids_harmony.group.measures import table_of
    from bids_harmony.group.outputs import Output

    outputs = [
        Output(
            ScanRecord(f"sub-{name}_T1w", path.with_name(f"sub-{name}_T1w.nii.gz"), {}),
            name, "", "GE", "COI", None, None, None, None,
        )
        for name in ("01", "02")
    ]  # fmt: skip
    covariates = read_covariates(path.parent, outputs)
    assert not {math.inf, -math.inf} & {value for own in covariates.values() for value in own}
    table_of(outputs, covariates).to_csv(sep="\t")
    rows = [row for row in read_tsv(path) if row.get("participant_id") in ("sub-01", "sub-02")]
    copy = path.with_name("copy.tsv")
    copy.unlink(missing_ok=True)
    if rows:
        merge_table(copy, rows, key="participant_id")
        assert {row["participant_id"] for row in read_tsv(copy)} <= {"sub-01", "sub-02"}
    return rows


def _read_description(path: Path) -> object:
    """As far as that of the raw layout."""
    from bids_harmony.bids.raw_layout import write_raw_layout
    from bids_harmony.settings import Settings

    settings = Settings(path.parent, path.parent / "out", "participant", target_site="COI")
    root = write_raw_layout(settings, (), "COI")
    return json.loads((root / path.name).read_text(encoding="utf-8"))


_DESCRIPTION = {
    "Name": "cohort",
    "BIDSVersion": "1.9.0",
    "Authors": ["A"],
    "DatasetDOI": "doi:10.1/x",
    "GeneratedBy": [{"Name": "dcm2bids"}],
}


def _read_site_map(path: Path) -> object:
    from bids_harmony.bids.site_tables import read_site_map

    return read_site_map(path)


def _read_filters(path: Path) -> object:
    from bids_harmony.bids.filters import read_filter_file

    return read_filter_file(path)


def _read_config(path: Path) -> object:
    from bids_harmony.exceptions import UsageError
    from bids_harmony.settings import Settings, read_settings_file

    record = read_settings_file(path)
    for name in ("bids_dir", "output_dir", "work_dir"):
        record[name] = path.parent
    try:
        return Settings.from_dict({**record, "analysis_level": "group"}).to_toml()
    except UsageError:
        # A value out of range: it may come from the command line too, and names its option.
        return None


_CONFIG = b"""target_site = "COI"
participant_labels = ["01", "02"]
voxel_mm = 2.0
nprocs = 1
omp_nthreads = 1
memory_mb = 4000
bids_filters = '{"T1w": {"acquisition": null}}'
device = "cpu"
[derivatives]
fits = "/data/fits"
[training]
grid = 4
twin_learning_rate = 1e-4
"""


def _read_plugin_file(path: Path) -> object:
    from bids_harmony.workflows.plugin_file import read_plugin_file

    return read_plugin_file(path)


PARSERS: dict[str, Parser] = {
    "sidecar": Parser(
        "sub-1_T1w.json", _read_sidecar, lambda: as_json(_SIDECAR), (*_SIDECAR, *JSON_WORDS)
    ),
    "tsv": Parser(
        "participants.tsv", _read_table, lambda: [b"participant_id\tsite\nsub-01\tCOI\n"]
    ),
    "people": Parser(
        "participants.tsv",
        _read_people,
        lambda: [b"participant_id\tage\tsex\nsub-01\t40\tF\nsub-02\t50\tM\n"],
        ("nan", "inf", "1e999", "n/a", "age"),
    ),
    "dataset-description": Parser(
        "dataset_description.json",
        _read_description,
        lambda: as_json(_DESCRIPTION),
        (*_DESCRIPTION, *JSON_WORDS),
    ),
    "site-map": Parser(
        "sites.tsv",
        _read_site_map,
        lambda: [b"participant_id\tsession_id\tsite\nsub-01\tses-1\tCOI\n"],
    ),
    "filters": Parser(
        "filter.json",
        _read_filters,
        lambda: as_json({"t1w": {"session": "01", "acquisition": None}, "t2w": {"run": [1, 2]}}),
        JSON_WORDS,
    ),
    "config": Parser(
        "settings.toml",
        _read_config,
        lambda: [_CONFIG],
        ("nan", "inf", "1979-05-27", "0x", '"""', "[[", "training", "provenance"),
    ),
    "plugin": Parser(
        "plugin.yml",
        _read_plugin_file,
        lambda: [b"plugin: MultiProc\nplugin_args:\n  n_procs: 2\n  memory_gb: 4.5\n"],
        ("&a", "*a", "!!python/object", "<<:", "2020-99-99", ".nan", "? "),
    ),
}
