"""Readers of what participants leave for pages and for the group."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from tests.hostile.parser import JSON_WORDS, Parser, as_json

__all__ = ["PARSERS"]


def _load_summary(path: Path) -> object:
    from bids_harmony.quality.summary import load_summary

    return load_summary(path)


@cache
def _summaries() -> list[bytes]:
    import tempfile

    from bids_harmony.quality.summary import ScanSummary, SeriesSummary, save_summary

    scan = ScanSummary(
        quantiles=np.zeros((2, 4, 101), np.float32),
        target_quantiles=np.zeros(3, np.float32),
        features=np.ones((4, 2), np.float32),
        head=np.zeros(2, np.float16),
        detail=np.zeros(2, np.float32),
        change=np.zeros((2, 2, 2), np.float16),
        voxel_mm=2.0,
    )
    series = SeriesSummary(
        ("fa",), np.zeros((2, 1, 64), np.float32), np.zeros((2, 1, 2), np.float32)
    )
    contents = []
    with tempfile.TemporaryDirectory() as folder:
        for summary in (scan, series):
            save_summary(Path(folder) / "a.npz", summary)
            contents.append((Path(folder) / "a.npz").read_bytes())
    return contents


def _link(path: Path, *place: str) -> Path:
    """The file under test where a run of the participant level would have left it."""
    link = path.parent.joinpath("out", *place)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    return path.parent / "out"


def _read_output(path: Path) -> object:
    """As far as the group's table."""
    from bids_harmony.group.measures import table_of
    from bids_harmony.group.outputs import find_outputs

    out = _link(path, "sub-1", "anat", path.name)
    (path.parent / "sub-1").mkdir(exist_ok=True)
    outputs, _ = find_outputs(out, path.parent)
    for output in outputs:
        for file in (output.source, output.mask, output.transform):
            assert file is None or file.absolute().is_relative_to(path.parent.absolute())
    table = table_of(outputs, {})
    assert all(isinstance(site, str) for site in table.get("site", ()))
    return table.to_csv(sep="\t")


_OUTPUT = {
    "Sources": [
        "bids:raw:sub-1/anat/sub-1_T1w.nii.gz",
        "bids::sub-1/anat/sub-1_desc-brain_mask.nii.gz",
        "bids::sub-1/anat/sub-1_from-T1w_to-MNI_xfm.txt",
    ],
    "HarmonizationMethod": "ihf",
    "HarmonizationTarget": "COI",
    "HarmonizationSource": {"Site": "GE"},
    "HarmonizationQuality": {"rmse_brain": 0.1, "same_site": False},
}


def _read_run(path: Path) -> object:
    from bids_harmony.bids.run_records import failed_scans, read_runs
    from bids_harmony.bids.scan_records import find_units

    out = _link(path, "logs", "R", path.name)
    if path.name != "status.json":
        (out / "logs" / "R" / "status.json").write_text(json.dumps(_STATUS))
    runs = read_runs(out)
    return [failed_scans(unit, runs) for unit in find_units(out, runs)]


_SETTINGS = b"""analysis_level = "participant"
bids_dir = "/data/raw"
output_dir = "/data/out"
target_site = "COI"
nprocs = 1
[provenance]
command = "bids_harmony /data/raw /data/out participant"
"""
_STATUS = {
    "run_id": "R",
    "started": "2026-01-01T00:00:00+00:00",
    "scans": {
        "sub-1_T1w": {"state": "done"},
        "sub-2_T1w": {"state": "failed", "exit_code": 65, "error": "DataError", "message": "m"},
    },
}


PARSERS: dict[str, Parser] = {
    "summary": Parser("a.npz", _load_summary, _summaries, ("<f4", "|O", "(2, 4, 101)", "fortran")),
    "output-sidecar": Parser(
        "sub-1_desc-harmonizedCOI_T1w.json",
        _read_output,
        lambda: as_json(_OUTPUT),
        (*_OUTPUT, *JSON_WORDS, "bids::", "../", '"site":'),
        optional=True,
    ),
    "run-status": Parser(
        "status.json", _read_run, lambda: as_json(_STATUS), JSON_WORDS, optional=True
    ),
    "run-settings": Parser(
        "settings.toml", _read_run, lambda: [_SETTINGS], ("nan", "a.a.a.a", "[["), optional=True
    ),
}
