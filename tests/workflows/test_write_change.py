"""The change as files: enough to undo and redo harmonization with nibabel and numpy."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.run_records import Unit, read_runs
from bids_harmony.exceptions import ExitCode
from bids_harmony.reports.subject import subject_page
from bids_harmony.workflows.base import run_participant

PAGE = Path(__file__).resolve().parents[2] / "docs" / "change.md"
KINDS = ("change", "fieldout", "fieldin")


@pytest.fixture
def other_look(settings):
    """Sites A (01) and B (02), which shows another contrast; 02 has a slope of its own."""
    path = settings.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz"
    image = nib.load(path)
    data = np.asarray(image.dataobj, np.float32)
    bent = np.power(data / data.max(), 2.5) * data.max()
    stored = nib.Nifti1Image(bent, image.affine)
    stored.header.set_data_dtype(np.int16)
    nib.save(stored, path)
    return replace(
        settings, model_dir=None, modalities=("T1w",), keep_workdir="never",
        method="histogram-relative", write_change=True, voxel_mm=5.0,
    )  # fmt: skip


def run(settings):
    write_dataset_files(settings)
    log_dir = settings.output_dir / "logs" / "run"
    code = run_participant(settings, find_scans(settings).scans, log_dir=log_dir)
    states = json.loads((log_dir / "status.json").read_text())["scans"]
    return code, {label: state["state"] for label, state in states.items()}


def path_of(settings, label, kind, ending="nii.gz", target="B"):
    return settings.output_dir / f"sub-{label}/anat/sub-{label}_desc-{kind}{target}_T1w.{ending}"


def examples():
    """Those of images; the one of series follows."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[:2]


def told_by_page(settings, label, monkeypatch, tmp_path):
    """Run the text of the page on a person's files; gives its variables."""
    folder = tmp_path / f"files{label}"
    folder.mkdir()
    for path in (settings.output_dir / f"sub-{label}/anat").iterdir():
        name = path.name.replace(f"sub-{label}", "sub-01").replace("B_T1w", "COI_T1w")
        shutil.copy(path, folder / name)
    source = settings.bids_dir / f"sub-{label}/anat/sub-{label}_T1w.nii.gz"
    shutil.copy(source, folder / "sub-01_T1w.nii.gz")
    monkeypatch.chdir(folder)
    sidecar = json.loads(path_of(settings, label, "change", "json").read_text())
    told = {"share": sidecar["ClosedFormShare"]}
    for text in examples():
        exec(compile(text, str(PAGE), "exec"), told)
    return told


def test_the_example_of_the_page_undoes_and_redoes(other_look, monkeypatch, tmp_path):
    code, states = run(other_look)
    assert code == ExitCode.DONE and set(states.values()) == {"done"}
    for label in ("01", "02"):
        told = told_by_page(other_look, label, monkeypatch, tmp_path)
        source, harmonized = (told[name].get_fdata() for name in ("source", "harmonized"))
        # Within the unit in which both are stored: float32's own rounding, a thousandth of it.
        assert told["step"] > 0
        assert np.abs(told["redone"] - harmonized).max() < 1e-3 * told["step"]
        assert np.abs(told["undone"] - source).max() < 1e-3 * told["step"]
        changed = np.abs(harmonized - source)
        assert changed.max() > 10 * told["step"] if label == "01" else not changed.any()


def test_fields_and_curves_are_what_the_closed_form_did(other_look, monkeypatch, tmp_path):
    run(other_look)
    told = told_by_page(other_look, "01", monkeypatch, tmp_path)
    source, harmonized = (told[name].get_fdata() for name in ("source", "harmonized"))
    error = np.abs(told["closed"] - harmonized)[told["brain"]].mean()
    moved = np.abs(harmonized - source)[told["brain"]].mean()
    scale = np.percentile(source[told["brain"]], 99.5)
    # 0.010 of 0.216: the change travels between grids of 5 mm, where m is steep.
    assert moved > 0.1 * scale and error < 0.06 * moved
    # Neither field nor curve is there for nothing.
    x, curve = source, told["curve"]
    for out, into, m in ((1, told["into"], curve), (told["out"], 1, curve)):
        other = x + told["share"] * (into * np.interp(x / out, *m) - x)
        assert np.abs(other - harmonized)[told["brain"]].mean() > 1.2 * error


def test_what_is_written(other_look):
    run(other_look)
    source = nib.load(other_look.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz")
    for kind in KINDS:
        image = nib.load(path_of(other_look, "01", kind))
        assert image.shape == source.shape and np.array_equal(image.affine, source.affine)
        assert image.get_data_dtype() == np.float32
        sidecar = json.loads(path_of(other_look, "01", kind, "json").read_text())
        assert sidecar["Sources"] == [
            "bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
            "bids::sub-01/anat/sub-01_desc-harmonizedB_T1w.nii.gz",
        ]
        assert sidecar["Description"]
    field = nib.load(path_of(other_look, "01", "fieldout")).get_fdata()
    assert 0.3 < field.min() and field.max() < 3
    # The target's own scan: nothing went out or came in.
    for kind in ("fieldout", "fieldin"):
        assert (nib.load(path_of(other_look, "02", kind)).get_fdata() == 1).all()
    with path_of(other_look, "01", "curves", "tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert list(rows[0]) == ["tissue", "quantile", "source", "target", "standard_error"]
    assert {row["tissue"] for row in rows} == {"gray matter", "white matter", "CSF", "brain"}
    assert {row["standard_error"] for row in rows if row["tissue"] == "brain"} == {"n/a"}
    columns = json.loads(path_of(other_look, "01", "curves", "json").read_text())
    assert list(columns) == list(rows[0])
    with (other_look.output_dir / "codes_T1w.tsv").open() as stream:
        codes = list(csv.DictReader(stream, delimiter="\t"))
    assert [row["participant_id"] for row in codes] == ["sub-01", "sub-02"]
    assert [row["site"] for row in codes] == ["A", "B"]
    numbers = [[float(row[f"code_{i:02d}"]) for i in range(1, 13)] for row in codes]
    assert np.isfinite(numbers).all() and not np.allclose(*numbers)
    described = (other_look.output_dir / "descriptions.tsv").read_text()
    for kind in (*KINDS, "curves"):
        assert f"desc-{kind}B\t" in described
    out = other_look.output_dir
    page = subject_page(out, Unit("01", None), read_runs(out), out)
    assert 'href="sub-01/anat/sub-01_desc-changeB_T1w.nii.gz"' in page


def test_it_can_be_asked_for_later_and_leaves_the_image_as_it_is(other_look):
    without = replace(other_look, write_change=False)
    run(without)
    image = path_of(other_look, "01", "harmonized")
    before = image.read_bytes()
    assert not path_of(other_look, "01", "change").exists()
    assert set(run(other_look)[1].values()) == {"done"}
    assert image.read_bytes() == before and path_of(other_look, "01", "change").exists()
    # All is there: nothing to do, with and without the option.
    assert set(run(other_look)[1].values()) == {"skipped"}
    assert set(run(without)[1].values()) == {"skipped"}
    path_of(other_look, "01", "change", "json").unlink()
    assert run(other_look)[1] == {"sub-01_T1w": "done", "sub-02_T1w": "skipped"}


def test_the_change_of_an_image_that_is_gone_does_not_stay(other_look):
    run(other_look)
    other = replace(other_look, write_change=False, skull_strip=True)
    run(other)
    assert not path_of(other_look, "01", "change").exists()
    assert not path_of(other_look, "01", "curves", "tsv").exists()


def test_a_method_without_fields_writes_its_change_alone(other_look, monkeypatch, tmp_path):
    run(replace(other_look, method="histogram"))
    assert path_of(other_look, "01", "change").exists()
    for kind in ("fieldout", "fieldin"):
        assert not path_of(other_look, "01", kind).exists()
    assert not path_of(other_look, "01", "curves", "tsv").exists()
    sidecar = json.loads(path_of(other_look, "01", "change", "json").read_text())
    assert "ClosedFormShare" not in sidecar
